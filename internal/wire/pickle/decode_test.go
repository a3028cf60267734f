package pickle_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// Pickles by hand, in forms that CPython reads but does not write any more. Both must read the same.
var byHand = map[string]string{
	"raw unicode":          "VA\\u0041\\U0001f600\\\\u0041\\\\\\u0041\\x\xe9\\\n.",
	"raw unicode pair":     "V\\ud83d\\ude00\n.",
	"py2 str":              "S'it\\'s \\n\\t\\\\ \\x41 \"'\n.",
	"py2 str double":       "S\"it's\"\n.",
	"py2 binstring":        "T\x03\x00\x00\x00abc.",
	"py2 short binstring":  "U\x03abc.",
	"int booleans":         "(lp0\nI01\naI00\naI7\na.",
	"int as long":          "I123456789012345678901234567890\n.",
	"long with suffix":     "L-5L\n.",
	"long without suffix":  "L5\n.",
	"floats":               "(F1.5\nF-inf\nFnan\nF1e-999\nt.",
	"long1 empty":          "\x80\x02\x8a\x00.",
	"long1 padded":         "\x80\x02\x8a\x0a\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00.",
	"long1 minus one":      "\x80\x02\x8a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff.",
	"long4 of eight":       "\x80\x02\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80.",
	"pop of a mark":        "K\x01(0.",
	"pop":                  "K\x01K\x020.",
	"pop mark":             "K\x01(K\x02K\x031.",
	"dup":                  "K\x012\x86.",
	"dict":                 "(K\x01K\x02K\x03K\x04d.",
	"setitem twice":        "}K\x01K\x02sK\x03K\x04s.",
	"sparse memo":          "K\x07r\xff\xff\x00\x000j\xff\xff\x00\x00.",
	"memo from one":        "K\x07q\x01K\x08q\x02h\x01\x87.",
	"memoize after put":    "(K\x07q\x05\x94K\x08\x94h\x05h\x01h\x02t.",
	"memoize over put":     "K\x07q\x01\x94K\x08\x94h\x01\x87.",
	"memo text index":      "K\x07p12\n0g12\n.",
	"memo backwards":       "(K\x07q\x01q\x00q\x01K\x08\x94h\x01h\x02t.",
	"frame":                "\x80\x05\x95\x03\x00\x00\x00\x00\x00\x00\x00K\x07.",
	"no proto":             "N.",
	"proto in the middle":  "K\x01\x80\x03.",
	"appends nothing":      "](e.",
	"setitems nothing":     "}(u.",
	"additems nothing":     "\x8f(\x90.",
	"binunicode8":          "\x8d\x02\x00\x00\x00\x00\x00\x00\x00ab.",
	"binbytes8":            "\x8e\x02\x00\x00\x00\x00\x00\x00\x00ab.",
	"global of protocol 0": "cbuiltins\nlen\n.",
	"obj":                  "(cfractions\nFraction\nK\x01K\x02o.",
	"inst":                 "(K\x01K\x02ifractions\nFraction\n.",
}

func TestUnmarshalReadsByHand(t *testing.T) {
	o := oracle.Start(t)
	for name, data := range byHand {
		t.Run(name, func(t *testing.T) {
			v, err := pickle.Unmarshal([]byte(data), pickle.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var answer struct{ Canon any }
			o.Ask(t, map[string]any{
				"ask": "load", "pickle": base64.StdEncoding.EncodeToString([]byte(data)), "sloppy": true,
			}, &answer)
			got, want := asJSON(canon(v)), asJSON(answer.Canon)
			if name == "obj" || name == "inst" {
				// CPython calls the class; here the call stays a call.
				again, err := pickle.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				got = load(t, o, again, false)
			}
			if got != want {
				t.Errorf("read %s\nwant %s", got, want)
			}
		})
	}
}

var malformed = map[string]struct {
	data   string
	offset int
	opcode string
	is     error
	says   string
}{
	"empty":                   {"", 0, "", pickle.ErrSyntax, "ends without STOP"},
	"no stop":                 {"N", 1, "", pickle.ErrSyntax, "ends without STOP"},
	"stop alone":              {".", 0, "STOP", pickle.ErrSyntax, "0 values"},
	"two values":              {"NN.", 2, "STOP", pickle.ErrSyntax, "2 values"},
	"open mark":               {"(N.", 2, "STOP", pickle.ErrSyntax, "1 marks"},
	"trailing":                {"N.x", 1, "STOP", pickle.ErrSyntax, "1 bytes behind"},
	"unknown opcode":          {"N\xff.", 1, "opcode 0xff", pickle.ErrSyntax, "unknown opcode"},
	"protocol 6":              {"\x80\x06N.", 0, "PROTO", pickle.ErrUnsupported, "protocol 6"},
	"next buffer":             {"\x97.", 0, "NEXT_BUFFER", pickle.ErrUnsupported, "buffer outside"},
	"readonly buffer":         {"N\x98.", 1, "READONLY_BUFFER", pickle.ErrSyntax, "a <nil>"},
	"ext1":                    {"\x82\x01.", 0, "EXT1", pickle.ErrUnsupported, "extension registry"},
	"ext2":                    {"\x83\x01\x00.", 0, "EXT2", pickle.ErrUnsupported, "extension registry"},
	"ext4":                    {"\x84\x01\x00\x00\x00.", 0, "EXT4", pickle.ErrUnsupported, "extension registry"},
	"frame too long":          {"\x95\x09\x00\x00\x00\x00\x00\x00\x00N.", 0, "FRAME", pickle.ErrSyntax, "wants 9 bytes, 2"},
	"bytes too long":          {"B\xff\xff\xff\xffx.", 0, "BINBYTES", pickle.ErrSyntax, "wants 4294967295 bytes, 2"},
	"bytes8 far too long":     {"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", 0, "BINBYTES8", pickle.ErrSyntax, "wants 18446744073709551615"},
	"bytearray too long":      {"\x96\xff\xff\xff\xff\xff\xff\xff\x7fx.", 0, "BYTEARRAY8", pickle.ErrSyntax, "wants"},
	"str too long":            {"X\xff\xff\xff\x7fx.", 0, "BINUNICODE", pickle.ErrSyntax, "wants"},
	"str8 too long":           {"\x8d\xff\xff\xff\xff\xff\xff\xff\xffx.", 0, "BINUNICODE8", pickle.ErrSyntax, "wants"},
	"long4 too long":          {"\x8b\xff\xff\xff\x7fx.", 0, "LONG4", pickle.ErrSyntax, "wants"},
	"long4 negative":          {"\x8b\xff\xff\xff\xffx.", 0, "LONG4", pickle.ErrSyntax, "negative"},
	"short int":               {"J\x01\x02", 0, "BININT", pickle.ErrSyntax, "wants 4 bytes, 2"},
	"short float":             {"G\x01", 0, "BINFLOAT", pickle.ErrSyntax, "wants 8 bytes, 1"},
	"bad utf-8":               {"\x8c\x02a\xff.", 0, "SHORT_BINUNICODE", pickle.ErrSyntax, "byte 1"},
	"py2 str not ascii":       {"U\x01\xe9.", 0, "SHORT_BINSTRING", pickle.ErrUnsupported, "not ASCII"},
	"py2 text not ascii":      {"S'\\xe9'\n.", 0, "STRING", pickle.ErrUnsupported, "not ASCII"},
	"py2 text unquoted":       {"Sabc\n.", 0, "STRING", pickle.ErrSyntax, "not quoted"},
	"py2 text one quote":      {"S'\n.", 0, "STRING", pickle.ErrSyntax, "not quoted"},
	"py2 text escape":         {"S'\\q'\n.", 0, "STRING", pickle.ErrUnsupported, "escape"},
	"unicode escape":          {"V\\u12\n.", 0, "UNICODE", pickle.ErrSyntax, "escape"},
	"unicode escape too big":  {"V\\U00110000\n.", 0, "UNICODE", pickle.ErrSyntax, "escape"},
	"line without end":        {"I12", 0, "INT", pickle.ErrSyntax, "without an end"},
	"no integer":              {"Iabc\n.", 0, "INT", pickle.ErrSyntax, "no integer"},
	"empty integer":           {"L\n.", 0, "LONG", pickle.ErrSyntax, "no integer"},
	"endless integer":         {"L" + strings.Repeat("9", 5000) + "L\n.", 0, "LONG", pickle.ErrLimit, "digits"},
	"no float":                {"Fabc\n.", 0, "FLOAT", pickle.ErrSyntax, "no float"},
	"float out of range":      {"F1e999\n.", 0, "FLOAT", pickle.ErrSyntax, "no float"},
	"bad memo index":          {"Np-1\n.", 1, "PUT", pickle.ErrSyntax, "memo index"},
	"no memo entry":           {"h\x05.", 0, "BINGET", pickle.ErrSyntax, "no memo entry 5"},
	"memoize nothing":         {"\x94.", 0, "MEMOIZE", pickle.ErrSyntax, "no value"},
	"pop nothing":             {"0.", 0, "POP", pickle.ErrSyntax, "no value"},
	"dup nothing":             {"2.", 0, "DUP", pickle.ErrSyntax, "no value"},
	"dup of a mark":           {"N(2.", 2, "DUP", pickle.ErrSyntax, "no value"},
	"tuple through a mark":    {"N(N\x86.", 3, "TUPLE2", pickle.ErrSyntax, "2 values wanted, 1"},
	"tuple without mark":      {"Nt.", 1, "TUPLE", pickle.ErrSyntax, "no mark"},
	"append to nothing":       {"Na.", 1, "APPEND", pickle.ErrSyntax, "no value"},
	"append to a tuple":       {")Na.", 2, "APPEND", pickle.ErrSyntax, "pickle.Tuple"},
	"appends to a dict":       {"}(Ne.", 3, "APPENDS", pickle.ErrSyntax, "*pickle.Dict"},
	"appends to a set":        {"\x8f(Ne.", 3, "APPENDS", pickle.ErrSyntax, "*pickle.Set"},
	"additems to a list":      {"](N\x90.", 3, "ADDITEMS", pickle.ErrSyntax, "*pickle.List"},
	"additems to a frozenset": {"(\x91(N\x90.", 4, "ADDITEMS", pickle.ErrSyntax, "*pickle.Set"},
	"setitem on a list":       {"]NNs.", 3, "SETITEM", pickle.ErrSyntax, "*pickle.List"},
	"odd dict":                {"(Nd.", 2, "DICT", pickle.ErrSyntax, "pair up"},
	"odd setitems":            {"}(Nu.", 3, "SETITEMS", pickle.ErrSyntax, "pair up"},
	"stack global of ints":    {"K\x01K\x02\x93.", 4, "STACK_GLOBAL", pickle.ErrSyntax, "not strings"},
	"global without a name":   {"cos\n\n.", 0, "GLOBAL", pickle.ErrSyntax, "without"},
	"reduce without tuple":    {"cos\nsystem\n]R.", 12, "REDUCE", pickle.ErrSyntax, "not a tuple"},
	"newobj without tuple":    {"cos\nsystem\nN\x81.", 12, "NEWOBJ", pickle.ErrSyntax, "not a tuple"},
	"newobj_ex without dict":  {"cos\nsystem\n)N\x92.", 13, "NEWOBJ_EX", pickle.ErrSyntax, "not a dict"},
	"build on a list":         {"]Nb.", 2, "BUILD", pickle.ErrSyntax, "*pickle.List"},
	"build twice":             {"cos\nsystem\n)RK\x01bK\x02b.", 18, "BUILD", pickle.ErrUnsupported, "two states"},
	"obj without class":       {"(o.", 1, "OBJ", pickle.ErrSyntax, "no class"},
	"persid without hook":     {"Pabc\n.", 0, "PERSID", pickle.ErrUnsupported, "Options.Persistent"},
	"binpersid without hook":  {"NQ.", 1, "BINPERSID", pickle.ErrUnsupported, "Options.Persistent"},
}

func TestUnmarshalRefusesMalformedInput(t *testing.T) {
	for name, c := range malformed {
		t.Run(name, func(t *testing.T) {
			v, err := pickle.Unmarshal([]byte(c.data), pickle.Options{})
			if err == nil {
				t.Fatalf("read %v", v)
			}
			var e *pickle.DecodeError
			if !errors.As(err, &e) {
				t.Fatalf("a %T: %v", err, err)
			}
			if e.Offset != c.offset || e.Opcode != c.opcode {
				t.Errorf("%s at %d, want %s at %d: %v", e.Opcode, e.Offset, c.opcode, c.offset, err)
			}
			if !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
		})
	}
}

// Every byte of a pickle is needed.
func TestUnmarshalRefusesTruncatedInput(t *testing.T) {
	for name, c := range written {
		data, err := pickle.Marshal(c.value)
		if err != nil {
			t.Fatal(err)
		}
		step := 1 + len(data)/500
		for n := 0; n < len(data); n += step {
			_, err := pickle.Unmarshal(data[:n], pickle.Options{Persistent: func(id any) (any, error) { return id, nil }})
			if !errors.Is(err, pickle.ErrSyntax) {
				t.Fatalf("%s, %d of %d bytes: %v", name, n, len(data), err)
			}
		}
	}
}

func TestUnmarshalBuildsObjectsWithoutCalling(t *testing.T) {
	// os.system("false"), then list items, dict items and state.
	data := "cos\nsystem\n(\x8c\x05falset R(K\x01K\x02e(\x8c\x01kNu}\x8c\x01aK\x03sb."
	data = strings.ReplaceAll(data, " ", "")
	v, err := pickle.Unmarshal([]byte(data), pickle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &pickle.Object{
		Class: global("os", "system"), Args: pickle.Tuple{"false"}, State: dict("a", int64(3)),
		Items: []any{int64(1), int64(2)}, Entries: items("k", nil),
	}
	if got, want := asJSON(canon(v)), asJSON(canon(want)); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestUnmarshalPersistent(t *testing.T) {
	boom := errors.New("no such ref")
	hook := func(id any) (any, error) {
		switch id {
		case "text":
			return 1, nil
		case int64(7):
			return 2, nil
		case "nil list":
			return (*pickle.List)(nil), nil
		}
		return nil, boom
	}
	v, err := pickle.Unmarshal([]byte("(Ptext\nK\x07Qt."), pickle.Options{Persistent: hook})
	if fmt.Sprint(v, err) != "[1 2] <nil>" {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err := pickle.Unmarshal([]byte("NQ."), pickle.Options{Persistent: hook}); !errors.Is(err, boom) {
		t.Errorf("the hook's error is lost: %v", err)
	}
	if _, err := pickle.Unmarshal([]byte("Pnil list\nNa."), pickle.Options{Persistent: hook}); !errors.Is(err, pickle.ErrUnsupported) {
		t.Errorf("a nil list of the hook: %v", err)
	}
	if _, err := pickle.Unmarshal([]byte("P\xe9\n."), pickle.Options{Persistent: hook}); !errors.Is(err, pickle.ErrSyntax) {
		t.Errorf("an id in a line that is not ASCII: %v", err)
	}
	// What a hook is handed may be walked: it must be finite.
	if _, err := pickle.Unmarshal([]byte("]q\x00h\x00aQ."), pickle.Options{Persistent: hook}); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("an id that holds itself: %v", err)
	}
}

func TestUnmarshalAliasesBytes(t *testing.T) {
	data := []byte("C\x03abcC\x03def\x86.")
	v, err := pickle.Unmarshal(data, pickle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := v.(pickle.Tuple)[0].([]byte)
	_ = append(first, "XXXXX"...)
	if !bytes.Equal(data, []byte("C\x03abcC\x03def\x86.")) {
		t.Errorf("appending to a part changed the input: %q", data)
	}
	data[2] = 'A'
	if string(first) != "Abc" {
		t.Errorf("documented as an alias, but %q", first)
	}
}

func TestDictGet(t *testing.T) {
	d := dict("a", 1, int64(2), "int key", "a", 3)
	if v, ok := d.Get("a"); v != 3 || !ok {
		t.Errorf("a = %v, %t; the last value counts", v, ok)
	}
	if v, ok := d.Get("b"); v != nil || ok {
		t.Errorf("b = %v, %t", v, ok)
	}
	if v, ok := (*pickle.Dict)(nil).Get("a"); v != nil || ok {
		t.Errorf("nil dict: %v, %t", v, ok)
	}
}

// Buffers that a pickle left out are put in where it asks for them, and are not copied.
func TestUnmarshalTakesBuffers(t *testing.T) {
	one, two := []byte("one"), []byte("two")
	v, err := pickle.Unmarshal([]byte("(\x97\x97\x98l."), pickle.Options{Buffers: [][]byte{one, two}})
	if err != nil {
		t.Fatal(err)
	}
	items := v.(*pickle.List).Items
	writable, ok1 := items[0].(*pickle.ByteArray)
	fixed, ok2 := items[1].([]byte)
	if !ok1 || !ok2 || &writable.Data[0] != &one[0] || &fixed[0] != &two[0] {
		t.Errorf("%#v", items)
	}
	if _, err := pickle.Unmarshal([]byte("(\x97\x97\x98l."), pickle.Options{Buffers: [][]byte{one}}); !errors.Is(err, pickle.ErrUnsupported) {
		t.Errorf("a buffer too few: %v", err)
	}
}
