package ray

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/xlang"
)

// The error types (ray.rpc.ErrorType) that a worker answers with; one stands as decimal text in the metadata of a result
// that is an error.
const (
	errorTaskExecution = 3
	errorTaskCancelled = 5
)

// positional marks an argument without a name; every argument travels as such a pair.
var positional = &corepb.TaskArg{Data: []byte("__RAY_DUMMY__"), Metadata: []byte(xlang.MetadataRaw)}

// argOverhead is what an argument costs on the wire besides its bytes, at most, in bytes: its pair, lengths and tags.
// requestOverhead is the same for the rest of a request but for the method's name.
const argOverhead, requestOverhead = 64, 64 << 10

// arguments has room for one or two of a call, which most calls have, in one piece.
type arguments struct {
	pairs  [4]*corepb.TaskArg
	values [2]corepb.TaskArg
}

// encodeArgs returns the arguments as they travel, and their size in bytes.
func encodeArgs(args []any, limit int) (_ []*corepb.TaskArg, size int64, _ error) {
	args, kwargs := splitKwargs(args)
	if len(args)+len(kwargs) == 0 {
		return nil, 0, nil
	}
	room := &arguments{}
	out := room.pairs[:0]
	add := func(name *corepb.TaskArg, v any, step func() string) error {
		data, metadata, err := xlang.Encode(v)
		if err != nil {
			return fmt.Errorf("%w in a direct call: %w", ErrUnsupportedValue, govalue.Within("args"+step(), err))
		}
		size += int64(len(data)+len(name.GetData())) + argOverhead
		if most := int64(min(limit, DefaultDirectMessage-requestOverhead)); size > most {
			return fmt.Errorf("%w: args%s: the arguments up to it have %d bytes; the limit is %d", ErrUnsupportedValue, step(), size, most)
		}
		var value *corepb.TaskArg
		if n := len(out) / 2; n < len(room.values) {
			value = &room.values[n]
		} else {
			value = &corepb.TaskArg{}
		}
		value.Data, value.Metadata = data, metadata
		out = append(out, name, value)
		return nil
	}
	for i, v := range args {
		if err := add(positional, v, func() string { return govalue.At(i) }); err != nil {
			return nil, 0, err
		}
	}
	if len(kwargs) == 0 {
		return out, size, nil
	}
	for _, key := range slices.Sorted(maps.Keys(kwargs)) {
		if !isIdentifier(key) {
			return nil, 0, fmt.Errorf("%w: keyword %q is not a Python name", ErrUnsupportedValue, key)
		}
		name, err := xlang.EncodeXLang(key)
		if err == nil {
			err = add(&corepb.TaskArg{Data: name, Metadata: []byte(xlang.MetadataXLang)}, kwargs[key], func() string { return "[" + strconv.Quote(key) + "]" })
		}
		if err != nil {
			return nil, 0, err
		}
	}
	return out, size, nil
}

// decodeReply returns the result. kept says why one that is in the object store could not be freed there.
func decodeReply(target callee, reply *corepb.PushTaskReply, kept error) (any, error) {
	if reply.GetWasCancelledBeforeRunning() {
		return nil, &CallError{Target: target.String(), Sent: SentNo, Err: SystemError{Class: "TaskCancelledError", Message: "before it ran"}.typed()}
	}
	if len(reply.GetReturnObjects()) != 1 {
		return nil, &CallError{Target: target.String(), Sent: SentYes, Err: fmt.Errorf("ray: %d results came instead of one", len(reply.GetReturnObjects()))}
	}
	result := reply.GetReturnObjects()[0]
	if result.GetInPlasma() {
		fate := "it was dropped"
		if kept != nil {
			fate = fmt.Sprintf("it stays in the object store (%v)", kept)
		}
		return nil, &CallError{Target: target.String(), Sent: SentYes, Err: fmt.Errorf("%w: the result of %d bytes is above the actor's inline limit, and %s; raise RAY_max_direct_call_object_size in the actor's environment",
			ErrUnsupportedValue, result.GetSize(), fate)}
	}
	if kind, ok := errorType(result.GetMetadata()); ok {
		return nil, decodeFailure(target.String(), kind, result.GetData())
	}
	if reply.GetIsApplicationError() {
		return nil, &TaskError{Class: "Exception", Function: target.String(), Message: reply.GetTaskExecutionError()}
	}
	v, err := xlang.Decode(result.GetData(), result.GetMetadata())
	if err != nil {
		return nil, &CallError{Target: target.String(), Sent: SentYes, Err: fmt.Errorf("%w: result: %w", ErrUnsupportedValue, err)}
	}
	return v, nil
}

// errorType reads metadata that is a decimal number, as no encoding's name is.
func errorType(metadata []byte) (kind int, ok bool) {
	if len(metadata) == 0 || metadata[0] < '0' || metadata[0] > '9' {
		return 0, false
	}
	kind, err := strconv.Atoi(string(metadata))
	return kind, err == nil
}

// decodeFailure turns the error object that stands in place of a result into an error. The executing process sends an
// exception; what Ray itself says is another message, which only its owner makes by itself, or hands on.
func decodeFailure(target string, kind int, data []byte) error {
	var raw []byte
	if v, err := xlang.Decode(data, []byte(xlang.MetadataXLang)); err == nil {
		raw, _ = v.([]byte)
	}
	var exception corepb.RayException
	if err := proto.Unmarshal(raw, &exception); err != nil {
		exception.Reset()
	}
	if raised := decodePickledError(exception.GetSerializedException()); raised != nil {
		if kind == errorTaskExecution {
			return raised
		}
		if call, ok := errors.AsType[*CallError](raised); ok {
			return &CallError{Target: target, Sent: sentOfType(kind), Err: call.Err}
		}
		if errors.Is(raised, ErrTaskCancelled) { // what it waited for was
			return raised
		}
	}
	if kind == errorTaskExecution {
		return &TaskError{Class: "Exception", Function: target, Message: exception.GetFormattedExceptionString()}
	}
	var info corepb.RayErrorInfo
	if err := proto.Unmarshal(raw, &info); err != nil {
		info.Reset()
	}
	if err := systemErrorOf(kind, &info); err != nil {
		return &CallError{Target: target, Sent: sentOfType(kind), Err: err}
	}
	return &CallError{Target: target, Sent: SentMaybe, Err: fmt.Errorf("ray: error type %d: %s", kind, exception.GetFormattedExceptionString())}
}

// sentOfType says whether a call ran that was answered with an error of that type. A worker that answers a cancelled one like
// that had begun it; see decodeReply for the others.
func sentOfType(kind int) Sent {
	if kind == errorTaskCancelled {
		return SentYes
	}
	return conditionOf(errorTypes[kind]).sent
}
