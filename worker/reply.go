package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/xlang"
)

// Ray marks a result as an error by metadata that is the decimal number of an ErrorType.
var (
	metadataException = []byte("3") // TASK_EXECUTION_EXCEPTION
	metadataCancelled = []byte("5") // TASK_CANCELLED
)

const (
	// maxErrorText bounds what an error says, in bytes: a stack of a deep recursion is longer than anyone reads.
	maxErrorText = 64 << 10
	// minErrorText is left of it when it is to be sent very often.
	minErrorText = 256
	// maxReturns bounds the return values that a caller may ask for.
	maxReturns = 10_000
)

// value is one encoded result.
type value struct{ data, metadata []byte }

// encodeResults makes n return values of what a method returned.
func encodeResults(result any, n uint64) ([]value, error) {
	switch n {
	case 0:
		return nil, nil
	case 1:
		v, err := encodeResult(result)
		return []value{v}, err
	}
	items, ok := result.([]any)
	if !ok || uint64(len(items)) != n {
		return nil, fmt.Errorf("the caller wants %d return values, and the method returned %s", n, describe(result))
	}
	values := make([]value, n)
	for i, item := range items {
		v, err := encodeResult(item)
		if err != nil {
			return nil, fmt.Errorf("%w (return value %d)", err, i)
		}
		values[i] = v
	}
	return values, nil
}

func encodeResult(result any) (value, error) {
	data, metadata, err := xlang.Encode(result)
	if err != nil {
		return value{}, fmt.Errorf("a result of type %T cannot be sent to the caller: %w", result, err)
	}
	if len(data) > MaxValue {
		return value{}, tooLarge("the result", len(data))
	}
	return value{data, metadata}, nil
}

func describe(result any) string {
	if items, ok := result.([]any); ok {
		return fmt.Sprintf("a []any of %d", len(items))
	}
	return fmt.Sprintf("a %T: a []any of that length is needed", result)
}

// reply puts values under the ids under which the caller expects them.
func reply(spec *corepb.TaskSpec, values []value) *corepb.PushTaskReply {
	one := &struct { // what most replies are, in one piece
		reply  corepb.PushTaskReply
		list   [1]*corepb.ReturnObject
		object corepb.ReturnObject
		id     [taskIDSize + 4]byte
	}{}
	r := &one.reply
	if r.ReturnObjects = one.list[:]; len(values) != 1 {
		r.ReturnObjects = make([]*corepb.ReturnObject, len(values))
	}
	for i, v := range values {
		o, id := &one.object, one.id[:0]
		if i > 0 {
			o, id = &corepb.ReturnObject{}, nil
		}
		o.ObjectId = binary.LittleEndian.AppendUint32(append(id, spec.GetTaskId()...), uint32(i+1))
		o.Data, o.Metadata, o.Size = v.data, v.metadata, int64(len(v.data))
		r.ReturnObjects[i] = o
	}
	return r
}

// errorReply answers every expected return value with the error: a caller may ask for any of them alone.
func errorReply(spec *corepb.TaskSpec, failure value, text string) *corepb.PushTaskReply {
	values := make([]value, spec.GetNumReturns())
	for i := range values {
		values[i] = failure
	}
	r := reply(spec, values)
	r.IsApplicationError = true
	r.TaskExecutionError = text
	return r
}

// raiser is what Python shows as the origin of an exception.
type raiser struct {
	function string // "Class.method"
	pid      int
	ip       string
}

// exception is what a caller in Python raises for a Go error: a RayTaskError with a RuntimeError as its cause, pickled
// as Python pickles its own. (An exception of another language than Python does not survive the way through Ray Client.)
func (r raiser) exception(text string) pickle.Call {
	return pickle.Call{
		Func: pickle.Global{Module: "ray.exceptions", Name: "RayTaskError"},
		Args: pickle.Tuple{
			r.function,
			// Ray replaces this line by the method, the pid and the address of the process.
			"Traceback (most recent call last):\n" + text,
			pickle.Call{Func: pickle.Global{Module: "builtins", Name: "RuntimeError"}, Args: pickle.Tuple{text}},
			"ray::" + r.function, r.pid, r.ip,
		},
	}
}

func rayException(exception pickle.Call, text string) ([]byte, error) {
	pickled, err := pickle.Marshal(exception)
	if err != nil {
		return nil, fmt.Errorf("pickle the exception: %w", err)
	}
	return proto.Marshal(&corepb.RayException{
		Language: corepb.Language_PYTHON, SerializedException: pickled, FormattedExceptionString: text,
	})
}

// methodError encodes the error of a method.
func (r raiser) methodError(text string) (value, error) {
	serialized, err := rayException(r.exception(text), text)
	if err != nil {
		return value{}, err
	}
	data, err := xlang.EncodeXLang(serialized)
	return value{data, metadataException}, err
}

// constructorError encodes what the raylet passes to everyone who calls an actor whose constructor failed.
func (r raiser) constructorError(text string) ([]byte, error) {
	return rayException(pickle.Call{
		Func: pickle.Global{Module: "ray.exceptions", Name: "ActorDiedError"},
		Args: pickle.Tuple{r.exception(text)},
	}, text)
}

// cancelledError encodes the end of a method that was asked to stop: a RayErrorInfo with its error_message (field 5).
func cancelledError(text string) (value, error) {
	info := protowire.AppendString(protowire.AppendTag(nil, 5, protowire.BytesType), text)
	data, err := xlang.EncodeXLang(info)
	return value{data, metadataCancelled}, err
}

// errorText makes the text of an error fit for protobuf and for people, and for being sent n times.
func errorText(err error, n uint64) string {
	text := err.Error()
	if limit := max(maxErrorText/max(n, 1), minErrorText); uint64(len(text)) > limit {
		text = text[:limit] + "\n... (cut)"
	}
	if text = strings.ToValidUTF8(text, "?"); text == "" {
		return fmt.Sprintf("an error of type %T without a text", err)
	}
	return text
}

var errGoexit = errors.New("the method called runtime.Goexit, so it has no result; return an error instead")

// guarded runs f on a goroutine of its own and turns whatever happens to that goroutine into an error. Only where f
// ends the whole process, as os.Exit and a panic on another goroutine do, there is no answer.
func guarded[T any](f func() (T, error)) (result T, err error) {
	done := make(chan struct{})
	err = errGoexit // stands when f neither returns nor panics
	go func() {
		defer close(done)
		result, err = recovered(f)
	}()
	<-done
	return result, err
}

// recovered turns a panic of f into an error.
func recovered[T any](f func() (T, error)) (result T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n\n%s", r, debug.Stack())
		}
	}()
	return f()
}
