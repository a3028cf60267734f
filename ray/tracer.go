package ray

import (
	"context"
	"errors"
	"maps"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// Tracer is told of every remote operation, for measurements and traces. Config and DirectOptions take one. Its methods are
// called from the goroutines of the callers and have to be quick; they must not use the session.
type Tracer interface {
	// TraceCallStart is called before an operation. The context that it returns is the operation's, and is handed to
	// TraceCallEnd.
	TraceCallStart(ctx context.Context, call TracedCall) context.Context
	// TraceCallEnd is called when the caller is about to have the outcome; err is what the caller gets.
	TraceCallEnd(ctx context.Context, err error)
}

// TraceCarrier is what a Tracer may implement, so that an actor that is called learns which trace the call belongs to.
type TraceCarrier interface {
	// TraceContext returns the W3C headers traceparent and tracestate of a context that TraceCallStart returned; "" where
	// there is none. They are sent along with the call of an actor, which a Python actor ignores and worker.Tracer hears of:
	// as metadata of a direct call, and as labels of a task that goes through a session to Ray 2.60; not to other versions. What
	// is no printable ASCII or longer than 1 KiB is left out.
	TraceContext(ctx context.Context) (traceparent, tracestate string)
}

// TraceReceiver is what a Tracer may implement, so that the caller of a Go actor learns which span the method had.
type TraceReceiver interface {
	// TraceCallResponse is called before TraceCallEnd, with the W3C header traceresponse that came with the answer of a
	// direct call, unchecked: the ids of the trace and the span of the method, as worker.TraceResponder gave them. It is not
	// called where none came: from a Python actor or one that does not trace, through a session, and when the call ended
	// without an answer, as a stream does that is left early or ends with an error after items.
	TraceCallResponse(ctx context.Context, traceresponse string)
}

// traceHeaders returns the headers of a direct call that tell of its trace.
func traceHeaders(ctx context.Context, t Tracer) []hpack.HeaderField {
	parent, state := traceContext(ctx, t)
	if parent == "" {
		return nil
	}
	headers := []hpack.HeaderField{{Name: "traceparent", Value: parent}}
	if state != "" {
		headers = append(headers, hpack.HeaderField{Name: "tracestate", Value: state})
	}
	return headers
}

// traceContext returns what can be sent of the trace; without a parent there is nothing.
func traceContext(ctx context.Context, t Tracer) (parent, state string) {
	carrier, ok := t.(TraceCarrier)
	if !ok {
		return "", ""
	}
	parent, state = carrier.TraceContext(ctx)
	if parent == "" || !isHeader(parent) {
		return "", ""
	}
	if !isHeader(state) {
		state = ""
	}
	return parent, state
}

// label adds the trace to a call of an actor through the session: as labels of Ray's task, which no actor sees unless it looks
// for them. Ray's own tracing has a keyword argument for it, which Ray refuses to take from a client.
func (s *Session) label(ctx context.Context, r *request) error {
	task := r.msg.GetTask()
	if !tested[s.info.RayVersion].labels || task == nil || task.GetType() != raypb.ClientTask_METHOD {
		return nil
	}
	parent, state := traceContext(ctx, s.cfg.Tracer)
	if parent == "" {
		return nil
	}
	labels := map[string]any{"traceparent": parent}
	if state != "" {
		labels["tracestate"] = state
	}
	kwargs := map[string]any{"_labels": labels}
	maps.Copy(kwargs, r.options)
	data, err := marshal(kwargs)
	if err != nil {
		return err
	}
	task.Options = &raypb.TaskOptions{PickledOptions: data}
	return nil
}

// heard hands over what came back with the answer to a direct call.
func (x *exchange) heard(ctx context.Context, t Tracer) {
	for _, f := range x.call.Trailer {
		if f.Name == "traceresponse" {
			t.(TraceReceiver).TraceCallResponse(ctx, f.Value) // send asks for trailers only then
			return
		}
	}
}

// isHeader tells whether a value can be sent. The worker might end the connection otherwise.
func isHeader(s string) bool {
	return len(s) <= 1<<10 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// TracedCall is an operation that begins.
type TracedCall struct {
	// Operation is one of a few words: "direct_call" is a call to an actor's process and
	// "direct_stream" the time from such a call to its caller's leave of the results; "actor_call", "actor_create",
	// "task", "put", "get", "ping", "list_actors", "init", "terminate", "cluster_info", "kv", "wait" and "other" are requests
	// of a session. A call of an actor through the session is an actor_call, which is over once it is sent, and a get.
	Operation string
	// Target names what is called, as in CallError.
	Target string
}

// traced runs an operation under a tracer.
func traced(ctx context.Context, t Tracer, call TracedCall, run func(context.Context) error) error {
	ctx = t.TraceCallStart(ctx, call)
	err := run(ctx)
	t.TraceCallEnd(ctx, err)
	return err
}

// operation names a request on the data channel.
func (r *request) operation() string {
	switch m := r.msg.GetType().(type) {
	case *raypb.DataRequest_Put:
		return "put"
	case *raypb.DataRequest_Get:
		return "get"
	case *raypb.DataRequest_ConnectionInfo:
		return "ping"
	case *raypb.DataRequest_ListNamedActors:
		return "list_actors"
	case *raypb.DataRequest_Init:
		return "init"
	case *raypb.DataRequest_Task:
		switch m.Task.GetType() {
		case raypb.ClientTask_METHOD:
			return "actor_call"
		case raypb.ClientTask_ACTOR:
			return "actor_create"
		case raypb.ClientTask_FUNCTION:
			return "task"
		}
	}
	return "other"
}

// unaryOperation names a unary request.
func unaryOperation(in any) string {
	switch in.(type) {
	case *raypb.TerminateRequest:
		return "terminate"
	case *raypb.ClusterInfoRequest:
		return "cluster_info"
	case *raypb.KVGetRequest, *raypb.KVPutRequest, *raypb.KVExistsRequest, *raypb.KVDelRequest, *raypb.KVListRequest:
		return "kv"
	case *raypb.WaitRequest:
		return "wait"
	}
	return "other"
}

// errorCodes are the words of ErrorCode, by the first condition that fits.
var errorCodes = []struct {
	is   error
	code string
}{
	{ErrStaleSession, "stale_session"},
	{ErrReleased, "released"},
	{ErrClosed, "closed"},
	{ErrSessionLost, "session_lost"},
	{ErrNoSession, "no_session"},
	{ErrNoClientServer, "no_client_server"},
	{ErrClusterReplaced, "cluster_replaced"},
	{ErrGCSUnavailable, "gcs_unavailable"},
	{ErrUnreachable, "unreachable"},
	{ErrActorNotFound, "actor_not_found"},
	{ErrActorExists, "actor_exists"},
	{ErrActorDied, "actor_died"},
	{ErrActorUnavailable, "actor_unavailable"},
	{ErrNoSuchMethod, "no_such_method"},
	{ErrUnsupportedValue, "unsupported_value"},
	{ErrTooLarge, "too_large"},
	{ErrByReference, "by_reference"},
	{ErrInvalidOption, "invalid_option"},
	{ErrOverloaded, "overloaded"},
	{ErrTaskCancelled, "task_cancelled"},
	{ErrWorkerCrashed, "worker_crashed"},
	{ErrNodeDied, "node_died"},
	{ErrOutOfMemory, "out_of_memory"},
	{ErrObjectStoreFull, "object_store_full"},
	{ErrObjectLost, "object_lost"},
	{ErrRuntimeEnvSetup, "runtime_env_setup"},
	{ErrUnschedulable, "unschedulable"},
	{context.DeadlineExceeded, "deadline_exceeded"},
	{context.Canceled, "cancelled"},
}

// ErrorCode names what became of a call in one word of a small fixed set, for labels: "ok", "task_error" for a *TaskError, the
// name of the condition such as "actor_died" for ErrActorDied, "deadline_exceeded" and "cancelled" for the caller's context,
// and "other".
func ErrorCode(err error) string {
	if err == nil {
		return "ok"
	}
	if _, ok := errors.AsType[*TaskError](err); ok {
		return "task_error"
	}
	for _, c := range errorCodes {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return "other"
}
