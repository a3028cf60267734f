package pickle

import "fmt"

// opcode is one instruction of the pickle machine, named as in CPython's pickletools.
type opcode byte

const highestProtocol = 5

const (
	opMark       opcode = '('
	opStop       opcode = '.'
	opPop        opcode = '0'
	opPopMark    opcode = '1'
	opDup        opcode = '2'
	opProto      opcode = 0x80
	opFrame      opcode = 0x95
	opNone       opcode = 'N'
	opNewTrue    opcode = 0x88
	opNewFalse   opcode = 0x89
	opInt        opcode = 'I'
	opBinInt     opcode = 'J'
	opBinInt1    opcode = 'K'
	opBinInt2    opcode = 'M'
	opLong       opcode = 'L'
	opLong1      opcode = 0x8a
	opLong4      opcode = 0x8b
	opFloat      opcode = 'F'
	opBinFloat   opcode = 'G'
	opString     opcode = 'S'
	opBinString  opcode = 'T'
	opShortBinS  opcode = 'U'
	opUnicode    opcode = 'V'
	opBinUni     opcode = 'X'
	opShortUni   opcode = 0x8c
	opBinUni8    opcode = 0x8d
	opBinBytes   opcode = 'B'
	opShortBytes opcode = 'C'
	opBinBytes8  opcode = 0x8e
	opByteArray8 opcode = 0x96
	opNextBuffer opcode = 0x97
	opROBuffer   opcode = 0x98
	opEmptyTuple opcode = ')'
	opTuple      opcode = 't'
	opTuple1     opcode = 0x85
	opTuple2     opcode = 0x86
	opTuple3     opcode = 0x87
	opEmptyList  opcode = ']'
	opList       opcode = 'l'
	opAppend     opcode = 'a'
	opAppends    opcode = 'e'
	opEmptyDict  opcode = '}'
	opDict       opcode = 'd'
	opSetItem    opcode = 's'
	opSetItems   opcode = 'u'
	opEmptySet   opcode = 0x8f
	opAddItems   opcode = 0x90
	opFrozenSet  opcode = 0x91
	opGlobal     opcode = 'c'
	opStackGlob  opcode = 0x93
	opReduce     opcode = 'R'
	opNewObj     opcode = 0x81
	opNewObjEx   opcode = 0x92
	opInst       opcode = 'i'
	opObj        opcode = 'o'
	opBuild      opcode = 'b'
	opExt1       opcode = 0x82
	opExt2       opcode = 0x83
	opExt4       opcode = 0x84
	opPersID     opcode = 'P'
	opBinPersID  opcode = 'Q'
	opGet        opcode = 'g'
	opBinGet     opcode = 'h'
	opLongBinGet opcode = 'j'
	opPut        opcode = 'p'
	opBinPut     opcode = 'q'
	opLongBinPut opcode = 'r'
	opMemoize    opcode = 0x94
)

var opcodeNames = map[opcode]string{
	opMark: "MARK", opStop: "STOP", opPop: "POP", opPopMark: "POP_MARK", opDup: "DUP", opProto: "PROTO", opFrame: "FRAME",
	opNone: "NONE", opNewTrue: "NEWTRUE", opNewFalse: "NEWFALSE",
	opInt: "INT", opBinInt: "BININT", opBinInt1: "BININT1", opBinInt2: "BININT2",
	opLong: "LONG", opLong1: "LONG1", opLong4: "LONG4", opFloat: "FLOAT", opBinFloat: "BINFLOAT",
	opString: "STRING", opBinString: "BINSTRING", opShortBinS: "SHORT_BINSTRING",
	opUnicode: "UNICODE", opBinUni: "BINUNICODE", opShortUni: "SHORT_BINUNICODE", opBinUni8: "BINUNICODE8",
	opBinBytes: "BINBYTES", opShortBytes: "SHORT_BINBYTES", opBinBytes8: "BINBYTES8", opByteArray8: "BYTEARRAY8",
	opNextBuffer: "NEXT_BUFFER", opROBuffer: "READONLY_BUFFER",
	opEmptyTuple: "EMPTY_TUPLE", opTuple: "TUPLE", opTuple1: "TUPLE1", opTuple2: "TUPLE2", opTuple3: "TUPLE3",
	opEmptyList: "EMPTY_LIST", opList: "LIST", opAppend: "APPEND", opAppends: "APPENDS",
	opEmptyDict: "EMPTY_DICT", opDict: "DICT", opSetItem: "SETITEM", opSetItems: "SETITEMS",
	opEmptySet: "EMPTY_SET", opAddItems: "ADDITEMS", opFrozenSet: "FROZENSET",
	opGlobal: "GLOBAL", opStackGlob: "STACK_GLOBAL", opReduce: "REDUCE", opNewObj: "NEWOBJ", opNewObjEx: "NEWOBJ_EX",
	opInst: "INST", opObj: "OBJ", opBuild: "BUILD", opExt1: "EXT1", opExt2: "EXT2", opExt4: "EXT4",
	opPersID: "PERSID", opBinPersID: "BINPERSID",
	opGet: "GET", opBinGet: "BINGET", opLongBinGet: "LONG_BINGET",
	opPut: "PUT", opBinPut: "BINPUT", opLongBinPut: "LONG_BINPUT", opMemoize: "MEMOIZE",
}

func (op opcode) String() string {
	if name, ok := opcodeNames[op]; ok {
		return name
	}
	return fmt.Sprintf("opcode 0x%02x", byte(op))
}
