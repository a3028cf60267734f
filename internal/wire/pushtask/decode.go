package pushtask

import (
	"errors"
	"slices"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

var (
	errTruncated = errors.New("pushtask: the message is malformed")
	errText      = errors.New("pushtask: text is not UTF-8")
)

// field is one field of a message: a number or bytes, by its wire type.
type field struct {
	tag    uint64 // number and wire type, as on the wire
	number uint64
	data   []byte
}

// The wire types, as they stand in a tag beside the number of the field.
const (
	varint = uint64(protowire.VarintType)
	bytes  = uint64(protowire.BytesType)
)

// consume hands the fields of a message to read, which tells whether it knows them. Those that it does not know are left
// to the generated code.
func consume(b []byte, m proto.Message, read func(f field) (known bool, err error)) error {
	var rest []byte
	for len(b) > 0 {
		number, wireType, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errTruncated
		}
		f := field{tag: protowire.EncodeTag(number, wireType)}
		size := 0
		switch wireType {
		case protowire.VarintType:
			f.number, size = protowire.ConsumeVarint(b[n:])
		case protowire.BytesType:
			f.data, size = protowire.ConsumeBytes(b[n:])
			f.data = slices.Clip(f.data)
		default:
			size = protowire.ConsumeFieldValue(number, wireType, b[n:])
		}
		if size < 0 {
			return errTruncated
		}
		known, err := read(f)
		if err != nil {
			return err
		}
		if !known {
			rest = append(rest, b[:n+size]...)
		}
		b = b[n+size:]
	}
	if rest == nil {
		return nil
	}
	return proto.UnmarshalOptions{Merge: true}.Unmarshal(rest, m)
}

// text is a string that lies in the message.
func text(into *string, data []byte) error {
	if !utf8.Valid(data) {
		return errText
	}
	*into = unsafe.String(unsafe.SliceData(data), len(data)) // nobody writes to the message
	return nil
}

// request is everything that a call of a method with up to two arguments decodes into.
type request struct {
	spec       corepb.TaskSpec
	descriptor corepb.FunctionDescriptor
	oneof      corepb.FunctionDescriptor_PythonFunctionDescriptor
	python     corepb.PythonFunctionDescriptor
	caller     corepb.Address
	actorTask  corepb.ActorTaskSpec
	args       [4]corepb.TaskArg
	argList    [4]*corepb.TaskArg
}

func unmarshalRequest(b []byte, m *corepb.PushTaskRequest) error {
	r := &request{}
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 1<<3 | bytes:
			m.IntendedWorkerId = f.data
		case 2<<3 | bytes:
			m.TaskSpec = &r.spec
			return true, r.unmarshalSpec(f.data)
		case 3<<3 | varint:
			m.SequenceNumber = int64(f.number)
		case 4<<3 | varint:
			m.ClientProcessedUpTo = int64(f.number)
		default:
			return false, nil
		}
		return true, nil
	})
}

func (r *request) unmarshalSpec(b []byte) error {
	m := &r.spec
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 1<<3 | varint:
			m.Type = corepb.TaskType(f.number)
		case 2<<3 | bytes:
			return true, text(&m.Name, f.data)
		case 3<<3 | varint:
			m.Language = corepb.Language(f.number)
		case 4<<3 | bytes:
			m.FunctionDescriptor = &r.descriptor
			return true, r.unmarshalDescriptor(f.data)
		case 5<<3 | bytes:
			m.JobId = f.data
		case 6<<3 | bytes:
			m.TaskId = f.data
		case 7<<3 | bytes:
			m.ParentTaskId = f.data
		case 9<<3 | bytes:
			m.CallerId = f.data
		case 10<<3 | bytes:
			m.CallerAddress = &r.caller
			return true, unmarshalAddress(f.data, &r.caller)
		case 11<<3 | bytes:
			var arg *corepb.TaskArg
			if m.Args == nil {
				m.Args = r.argList[:0]
			}
			if n := len(m.Args); n < len(r.args) {
				arg = &r.args[n]
			} else {
				arg = &corepb.TaskArg{}
			}
			m.Args = append(m.Args, arg)
			return true, unmarshalArg(f.data, arg)
		case 12<<3 | varint:
			m.NumReturns = f.number
		case 16<<3 | bytes:
			m.ActorTaskSpec = &r.actorTask
			return true, unmarshalActorTask(f.data, &r.actorTask)
		case 24<<3 | bytes:
			return true, text(&m.ConcurrencyGroupName, f.data)
		case 29<<3 | varint:
			m.AttemptNumber = int32(f.number)
		case 38<<3 | varint:
			m.GeneratorBackpressureNumObjects = int64(f.number)
		case 39<<3 | varint:
			m.EnableTaskEvents = f.number != 0
		default:
			return false, nil
		}
		return true, nil
	})
}

func (r *request) unmarshalDescriptor(b []byte) error {
	return consume(b, &r.descriptor, func(f field) (bool, error) {
		if f.tag != 2<<3|bytes {
			return false, nil
		}
		r.oneof.PythonFunctionDescriptor = &r.python
		r.descriptor.FunctionDescriptor = &r.oneof
		m := &r.python
		return true, consume(f.data, m, func(f field) (bool, error) {
			switch f.tag {
			case 1<<3 | bytes:
				return true, text(&m.ModuleName, f.data)
			case 2<<3 | bytes:
				return true, text(&m.ClassName, f.data)
			case 3<<3 | bytes:
				return true, text(&m.FunctionName, f.data)
			case 4<<3 | bytes:
				return true, text(&m.FunctionHash, f.data)
			}
			return false, nil
		})
	})
}

func unmarshalAddress(b []byte, m *corepb.Address) error {
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 1<<3 | bytes:
			m.NodeId = f.data
		case 2<<3 | bytes:
			return true, text(&m.IpAddress, f.data)
		case 3<<3 | varint:
			m.Port = int32(f.number)
		case 4<<3 | bytes:
			m.WorkerId = f.data
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalArg(b []byte, m *corepb.TaskArg) error {
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 2<<3 | bytes:
			m.Data = f.data
		case 3<<3 | bytes:
			m.Metadata = f.data
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalActorTask(b []byte, m *corepb.ActorTaskSpec) error {
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 2<<3 | bytes:
			m.ActorId = f.data
		case 4<<3 | bytes:
			m.ActorCreationDummyObjectId = f.data
		case 5<<3 | varint:
			m.ConcurrencyGroupSequenceNumber = f.number
		default:
			return false, nil
		}
		return true, nil
	})
}

// reply is everything that one result decodes into.
type reply struct {
	object corepb.ReturnObject
	list   [1]*corepb.ReturnObject
}

func unmarshalReply(b []byte, m *corepb.PushTaskReply) error {
	r := &reply{}
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 1<<3 | bytes:
			object := &r.object
			if m.ReturnObjects == nil {
				m.ReturnObjects = r.list[:0]
			} else {
				object = &corepb.ReturnObject{}
			}
			m.ReturnObjects = append(m.ReturnObjects, object)
			return true, unmarshalObject(f.data, object)
		case 3<<3 | varint:
			m.WorkerExiting = f.number != 0
		case 5<<3 | varint:
			m.IsRetryableError = f.number != 0
		case 6<<3 | varint:
			m.IsApplicationError = f.number != 0
		case 7<<3 | varint:
			m.WasCancelledBeforeRunning = f.number != 0
		case 8<<3 | bytes:
			return true, text(&m.ActorReprName, f.data)
		case 9<<3 | bytes:
			return true, text(&m.TaskExecutionError, f.data)
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalObject(b []byte, m *corepb.ReturnObject) error {
	return consume(b, m, func(f field) (bool, error) {
		switch f.tag {
		case 1<<3 | bytes:
			m.ObjectId = f.data
		case 2<<3 | varint:
			m.InPlasma = f.number != 0
		case 3<<3 | bytes:
			m.Data = f.data
		case 4<<3 | bytes:
			m.Metadata = f.data
		case 6<<3 | varint:
			m.Size = int64(f.number)
		default:
			return false, nil
		}
		return true, nil
	})
}
