package pushtask

import (
	"errors"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/field"
)

var errText = errors.New("pushtask: text is not UTF-8")

// consume hands the fields of a message to read, which tells whether it knows them. Those that it does not know are left
// to the generated code.
func consume(b []byte, m proto.Message, read func(f field.Field) (known bool, err error)) error {
	var rest []byte
	err := field.Each(b, func(f field.Field, whole []byte) error {
		known, err := read(f)
		if !known {
			rest = append(rest, whole...)
		}
		return err
	})
	if err != nil || rest == nil {
		return err
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
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 1<<3 | field.Bytes:
			m.IntendedWorkerId = f.Data
		case 2<<3 | field.Bytes:
			m.TaskSpec = &r.spec
			return true, r.unmarshalSpec(f.Data)
		case 3<<3 | field.Varint:
			m.SequenceNumber = int64(f.Number)
		case 4<<3 | field.Varint:
			m.ClientProcessedUpTo = int64(f.Number)
		default:
			return false, nil
		}
		return true, nil
	})
}

func (r *request) unmarshalSpec(b []byte) error {
	m := &r.spec
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 1<<3 | field.Varint:
			m.Type = corepb.TaskType(f.Number)
		case 2<<3 | field.Bytes:
			return true, text(&m.Name, f.Data)
		case 3<<3 | field.Varint:
			m.Language = corepb.Language(f.Number)
		case 4<<3 | field.Bytes:
			m.FunctionDescriptor = &r.descriptor
			return true, r.unmarshalDescriptor(f.Data)
		case 5<<3 | field.Bytes:
			m.JobId = f.Data
		case 6<<3 | field.Bytes:
			m.TaskId = f.Data
		case 7<<3 | field.Bytes:
			m.ParentTaskId = f.Data
		case 9<<3 | field.Bytes:
			m.CallerId = f.Data
		case 10<<3 | field.Bytes:
			m.CallerAddress = &r.caller
			return true, unmarshalAddress(f.Data, &r.caller)
		case 11<<3 | field.Bytes:
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
			return true, unmarshalArg(f.Data, arg)
		case 12<<3 | field.Varint:
			m.NumReturns = f.Number
		case 16<<3 | field.Bytes:
			m.ActorTaskSpec = &r.actorTask
			return true, unmarshalActorTask(f.Data, &r.actorTask)
		case 24<<3 | field.Bytes:
			return true, text(&m.ConcurrencyGroupName, f.Data)
		case 29<<3 | field.Varint:
			m.AttemptNumber = int32(f.Number)
		case 38<<3 | field.Varint:
			m.GeneratorBackpressureNumObjects = int64(f.Number)
		case 39<<3 | field.Varint:
			m.EnableTaskEvents = f.Number != 0
		default:
			return false, nil
		}
		return true, nil
	})
}

func (r *request) unmarshalDescriptor(b []byte) error {
	return consume(b, &r.descriptor, func(f field.Field) (bool, error) {
		if f.Tag != 2<<3|field.Bytes {
			return false, nil
		}
		r.oneof.PythonFunctionDescriptor = &r.python
		r.descriptor.FunctionDescriptor = &r.oneof
		m := &r.python
		return true, consume(f.Data, m, func(f field.Field) (bool, error) {
			switch f.Tag {
			case 1<<3 | field.Bytes:
				return true, text(&m.ModuleName, f.Data)
			case 2<<3 | field.Bytes:
				return true, text(&m.ClassName, f.Data)
			case 3<<3 | field.Bytes:
				return true, text(&m.FunctionName, f.Data)
			case 4<<3 | field.Bytes:
				return true, text(&m.FunctionHash, f.Data)
			}
			return false, nil
		})
	})
}

func unmarshalAddress(b []byte, m *corepb.Address) error {
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 1<<3 | field.Bytes:
			m.NodeId = f.Data
		case 2<<3 | field.Bytes:
			return true, text(&m.IpAddress, f.Data)
		case 3<<3 | field.Varint:
			m.Port = int32(f.Number)
		case 4<<3 | field.Bytes:
			m.WorkerId = f.Data
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalArg(b []byte, m *corepb.TaskArg) error {
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 2<<3 | field.Bytes:
			m.Data = f.Data
		case 3<<3 | field.Bytes:
			m.Metadata = f.Data
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalActorTask(b []byte, m *corepb.ActorTaskSpec) error {
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 2<<3 | field.Bytes:
			m.ActorId = f.Data
		case 4<<3 | field.Bytes:
			m.ActorCreationDummyObjectId = f.Data
		case 5<<3 | field.Varint:
			m.ConcurrencyGroupSequenceNumber = f.Number
		default:
			return false, nil
		}
		return true, nil
	})
}

// result is everything that one result decodes into.
type result struct {
	object corepb.ReturnObject
	list   [1]*corepb.ReturnObject
}

func unmarshalReply(b []byte, m *corepb.PushTaskReply, r *result) error {
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 1<<3 | field.Bytes:
			object := &r.object
			if m.ReturnObjects == nil {
				m.ReturnObjects = r.list[:0]
			} else {
				object = &corepb.ReturnObject{}
			}
			m.ReturnObjects = append(m.ReturnObjects, object)
			return true, unmarshalObject(f.Data, object)
		case 3<<3 | field.Varint:
			m.WorkerExiting = f.Number != 0
		case 5<<3 | field.Varint:
			m.IsRetryableError = f.Number != 0
		case 6<<3 | field.Varint:
			m.IsApplicationError = f.Number != 0
		case 7<<3 | field.Varint:
			m.WasCancelledBeforeRunning = f.Number != 0
		case 8<<3 | field.Bytes:
			return true, text(&m.ActorReprName, f.Data)
		case 9<<3 | field.Bytes:
			return true, text(&m.TaskExecutionError, f.Data)
		default:
			return false, nil
		}
		return true, nil
	})
}

func unmarshalObject(b []byte, m *corepb.ReturnObject) error {
	return consume(b, m, func(f field.Field) (bool, error) {
		switch f.Tag {
		case 1<<3 | field.Bytes:
			m.ObjectId = f.Data
		case 2<<3 | field.Varint:
			m.InPlasma = f.Number != 0
		case 3<<3 | field.Bytes:
			m.Data = f.Data
		case 4<<3 | field.Bytes:
			m.Metadata = f.Data
		case 6<<3 | field.Varint:
			m.Size = int64(f.Number)
		default:
			return false, nil
		}
		return true, nil
	})
}
