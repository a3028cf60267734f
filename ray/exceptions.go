package ray

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
)

// rayErrors is the module of Ray's own exceptions. A get that fails answers with one of them as an ordinary value, so that
// the class decides; a task that returns an exception of another module returns a value.
const rayErrors = "ray.exceptions"

// colours matches the terminal colours that Ray writes into its texts.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// exception is a decoded Python exception.
type exception struct {
	module, class string
	args          pickle.Tuple
	state         *pickle.Dict
}

// asException reads v as an instance of some class.
func asException(v any) (exception, bool) {
	object, ok := v.(*pickle.Object)
	if !ok {
		return exception{}, false
	}
	e := exception{args: object.Args}
	e.state, _ = object.State.(*pickle.Dict)
	switch class := object.Class.(type) {
	case pickle.Global:
		e.module, e.class = class.Module, class.Name
	case *pickle.Object:
		e.class = pyvalue.ClassName(class)
	default:
		return exception{}, false
	}
	return e, e.class != ""
}

// exceptionOf returns the error that v stands for as the result of a call, nil if it is a value.
func exceptionOf(target string, v any) error {
	e, ok := asException(v)
	if !ok || e.module != rayErrors && !strings.HasPrefix(e.class, "RayTaskError(") {
		return nil
	}
	switch {
	case e.class == "RayTaskError":
		return e.taskError(target, 0)
	case e.isSystem():
		return &CallError{Target: target, Sent: conditionOf(e.class).sent, Err: e.system()}
	}
	return e.remote(target, 0)
}

// ownCancellation turns the failure of a task with the cancellation of that same task into the latter: Ray reports a task
// that was cancelled while it ran as one that raised TaskCancelledError. object is the id of the task's result, which
// begins with that of the task.
func ownCancellation(target string, err error, object string) error {
	task, ok := errors.AsType[*TaskError](err)
	if !ok {
		return err
	}
	if own, ok := errors.AsType[*TaskCancelledError](task.Cause); ok && own.TaskID != "" && strings.HasPrefix(hex.EncodeToString([]byte(object)), own.TaskID) {
		return &CallError{Target: target, Sent: conditionOf(own.Class).sent, Err: own}
	}
	return err
}

// maxCauses bounds how many failures behind a failure are told.
const maxCauses = 8

// remote is e as the error of the call that raised it; depth counts the failures before it.
func (e exception) remote(target string, depth int) *TaskError {
	// RayTaskError(ValueError) is made on the fly as a subclass of both, with the ValueError as its argument.
	if strings.HasPrefix(e.class, "RayTaskError(") && len(e.args) == 1 && depth < maxCauses {
		if cause, ok := asException(e.args[0]); ok {
			return cause.remote(target, depth+1)
		}
	}
	class := e.class
	if i := strings.LastIndexByte(class, '.'); i >= 0 {
		class = class[i+1:]
	}
	return &TaskError{Class: class, Function: target, Message: e.text()}
}

// taskError reads a RayTaskError: by its attributes, or by the arguments of its constructor
// (function_name, traceback_str, cause, proctitle, pid, ip).
func (e exception) taskError(target string, depth int) *TaskError {
	field := func(name string, position int) any {
		if v, ok := e.state.Get(name); ok {
			return v
		}
		if position < len(e.args) {
			return e.args[position]
		}
		return nil
	}
	out := &TaskError{Class: "Exception", Function: target}
	if name, ok := field("function_name", 0).(string); ok && name != "" {
		out.Function = name
	}
	trace, _ := field("traceback_str", 1).(string)
	out.Traceback = colours.ReplaceAllString(trace, "")
	if pid, ok := field("pid", 4).(int64); ok {
		out.PID = int(pid)
	}
	out.IP, _ = field("ip", 5).(string)
	cause, ok := asException(field("cause", 2))
	switch {
	case ok && cause.module == rayErrors && cause.class == "RayTaskError" && depth < maxCauses:
		inner := cause.taskError(target, depth+1)
		out.Class, out.Message, out.Cause = inner.Class, inner.Message, inner
	case ok && cause.isSystem():
		out.Class, out.Message = cause.class, cause.text()
		out.Cause = cause.system()
	case ok:
		remote := cause.remote(target, depth)
		out.Class, out.Message = remote.Class, remote.Message
	default:
		if class, text, ok := strings.Cut(lastLine(out.Traceback), ": "); ok {
			out.Class, out.Message = class[strings.LastIndexByte(class, '.')+1:], text
		}
	}
	return out
}

// text is what Python's str would give, as far as it can be known from outside.
func (e exception) text() string {
	for _, name := range []string{"error_msg", "error_message", "message", "client_exc", "_original_stack_trace"} {
		if v, ok := e.state.Get(name); ok {
			if s, ok := v.(string); ok {
				return colours.ReplaceAllString(s, "")
			}
		}
	}
	if id := e.cancelledTask(); id != "" {
		return fmt.Sprintf("Task: TaskID(%s) was cancelled.", id)
	}
	switch {
	case len(e.args) == 0:
		return ""
	case len(e.args) == 1 && e.class != "KeyError":
		if s, ok := e.args[0].(string); ok {
			return s
		}
		return repr(e.args[0])
	case len(e.args) == 1:
		return repr(e.args[0])
	}
	if members := lengthOf(e.args[1]); members >= 0 && len(e.args) == 2 && strings.HasSuffix(e.class, "ExceptionGroup") {
		return fmt.Sprintf("%v (%d sub-exceptions)", e.args[0], members)
	}
	// SyntaxError(text, (filename, line, ...))
	if where, ok := e.args[1].(pickle.Tuple); ok && len(where) > 1 && e.module == "builtins" {
		if line, ok := where[1].(int64); ok {
			return fmt.Sprintf("%v (%v, line %d)", e.args[0], where[0], line)
		}
	}
	// OSError(errno, strerror[, filename])
	if number, ok := e.args[0].(int64); ok && e.module == "builtins" {
		if text, ok := e.args[1].(string); ok {
			if len(e.args) > 2 && e.args[2] != nil {
				return fmt.Sprintf("[Errno %d] %s: %s", number, text, repr(e.args[2]))
			}
			return fmt.Sprintf("[Errno %d] %s", number, text)
		}
	}
	return repr(e.args)
}

// lengthOf is the number of elements of a list or tuple, -1 of all else.
func lengthOf(v any) int {
	switch x := v.(type) {
	case *pickle.List:
		return len(x.Items)
	case pickle.Tuple:
		return len(x)
	}
	return -1
}

// repr is about what Python's repr would give, for values that occur in exceptions.
func repr(v any) string {
	switch x := v.(type) {
	case nil:
		return "None"
	case bool:
		if x {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(x, 10)
	case *big.Int:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case string:
		return "'" + strings.ReplaceAll(x, "'", `\'`) + "'"
	case []byte:
		return fmt.Sprintf("%d bytes", len(x))
	case pickle.Tuple:
		parts := make([]string, 0, min(len(x), 10))
		for _, item := range x[:min(len(x), 10)] {
			if _, nested := item.(pickle.Tuple); nested {
				parts = append(parts, "(...)")
				continue
			}
			parts = append(parts, repr(item))
		}
		if len(x) > 10 {
			parts = append(parts, "...")
		}
		return "(" + strings.Join(parts, ", ") + ")"
	case *pickle.Object:
		if e, ok := asException(x); ok {
			return e.class + "(...)"
		}
	case *pickle.List:
		return "[...]"
	case *pickle.Dict, *pickle.Set:
		return "{...}"
	case pickle.Global:
		return x.Name
	}
	return "..."
}

// failureOf reads a pickled exception, Ray's or any other, as the error of the call that it refused. It returns nil if
// data is none.
func failureOf(target string, data []byte) error {
	if v, _, err := load(data); err == nil {
		if failure := exceptionOf(target, v); failure != nil {
			return failure
		}
		if e, ok := asException(v); ok {
			return e.remote(target, 0)
		}
	}
	return nil
}

// refusalOf is failureOf for answers that say that the request failed: an exception that cannot be read is an error too.
func refusalOf(target string, data []byte) error {
	if err := failureOf(target, data); err != nil {
		return err
	}
	return &TaskError{Class: "Exception", Function: target, Message: fmt.Sprintf("an exception of %d bytes that cannot be read", len(data))}
}

// decodePickledError reads a pickled exception of the cluster; nil if data is none.
func decodePickledError(data []byte) error { return failureOf("the called code", data) }

// asNotFound turns what Ray says about an unknown name into ErrActorNotFound.
func asNotFound(err error, name, namespace string) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && remote.Class == "ValueError" && strings.Contains(remote.Message, "Failed to look up actor") {
		return &CallError{Target: remote.Function, Sent: SentYes, Err: &ActorNotFoundError{Name: name, Namespace: namespace}}
	}
	return err
}

// asExists tells which name is taken. What Ray before 2.54 says about it becomes ErrActorExists; later ones have a class for it.
func asExists(err error, name, namespace string) error {
	if taken, ok := errors.AsType[*ActorExistsError](err); ok {
		taken.Name, taken.Namespace = name, namespace
		return err
	}
	remote, ok := errors.AsType[*TaskError](err)
	if ok && remote.Class == "ValueError" && strings.HasPrefix(remote.Message, fmt.Sprintf("The name %s (namespace=%s) is already taken", name, namespace)) {
		said := SystemError{Class: "ActorAlreadyExistsError", Message: remote.Message}
		return &CallError{Target: remote.Function, Sent: SentNo, Err: &ActorExistsError{said, name, namespace}}
	}
	return err
}

// asStream turns what Ray's server says after it started a generator into ErrNoStreaming: it has a generator of refs then,
// where it expects refs. The generator may run.
func asStream(err error) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && remote.Class == "AttributeError" && strings.Contains(remote.Message, "ObjectRefGenerator' object has no attribute") {
		return &CallError{Target: remote.Function, Sent: SentMaybe, Err: fmt.Errorf("%w: it is a generator; submit it with DynamicReturns", ErrNoStreaming)}
	}
	return err
}

// asNoFunction turns what Ray says about a function or class that is not written in Python into ErrUnsupportedValue.
func asNoFunction(err error) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && strings.HasPrefix(remote.Message, "Attempting to register ") && strings.Contains(remote.Message, " that isn't a ") {
		return &CallError{Target: remote.Function, Sent: SentNo, Err: fmt.Errorf(
			"%w: Ray runs only functions and classes that are written in Python; call it from one, such as one in Function.Source", ErrUnsupportedValue)}
	}
	return err
}

// asUndefined tells that the source of fn does not define its name, of which Python says no more than the name.
func asUndefined(err error, fn Function) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && fn.Source != "" && remote.Class == "KeyError" && remote.Message == repr(fn.Name) {
		remote.Message = "the source does not define " + fn.Name
	}
	return err
}

// asUngrouped turns a failure of Ray's without a word into what it means: methods of the class are in concurrency groups that
// the actor was not given.
func asUngrouped(err error, class string) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && remote.Class == "AssertionError" && remote.Message == "" {
		return &CallError{Target: remote.Function, Sent: SentNo, Err: fmt.Errorf(
			"%w: concurrency groups: a method of %s is in one that ActorOptions.ConcurrencyGroups does not have", ErrInvalidOption, class)}
	}
	return err
}

// asNoSuchMethod turns what Ray says about an unknown method into ErrNoSuchMethod. The handle refuses the name, so that
// the actor does not see the call.
func asNoSuchMethod(err error, method string) error {
	remote, ok := errors.AsType[*TaskError](err)
	if ok && remote.Class == "AttributeError" && strings.Contains(remote.Message, "has no attribute '"+method+"'") {
		return &CallError{Target: remote.Function, Sent: SentNo, Err: &NoSuchMethodError{Method: method}}
	}
	return err
}
