package worker

import (
	"bytes"
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/xlang"
	"github.com/seedcore/seedcore/ray"
)

// Tracer is told of every method that runs in this process, and of the constructor, see [Trace]. Its methods are called from
// the goroutines of the calls, at once where the actor runs several, and have to be quick. A panic of it is the call's error.
//
// One that is a [ray.Tracer] too hears of the calls that the actor makes with [RuntimeContext.Call], and as a
// [ray.TraceCarrier] passes its context on with them.
type Tracer interface {
	// TraceMethodStart is called when a call has got its slot. The context that it returns is the method's, and is handed
	// to TraceMethodEnd.
	TraceMethodStart(ctx context.Context, call TracedMethod) context.Context
	// TraceMethodEnd is called when the method has returned, an [Async] of it too; err is what its caller gets.
	TraceMethodEnd(ctx context.Context, err error)
}

// TraceResponder is what a Tracer may implement, so that the caller of a method learns which span it had.
type TraceResponder interface {
	// TraceMethodResponse returns the W3C header traceresponse of a context that TraceMethodStart returned, "" for none. It is
	// called before the method runs, where the call came directly from Go with a trace of its caller's: it goes back with the
	// answer, and a [ray.TraceReceiver] there hears of it. What is no printable ASCII or longer than 1 KiB is left out.
	TraceMethodResponse(ctx context.Context) (traceresponse string)
}

// TracedMethod is a method that is about to run. The context that comes with it knows the rest, see [FromContext].
type TracedMethod struct {
	// Method is the method's name; "__init__" is the constructor.
	Method string
	// TraceParent and TraceState are the W3C headers that the caller sent, unchecked; "" where it sent none. They come from
	// callers in Go that trace, directly or through a session, and from those in Python for which Ray's own tracing is on.
	TraceParent, TraceState string
}

// Trace sets the tracer of this process. Like Register it is meant for the first lines of main, before Main, and a second
// one takes the place of the first. Without one nothing is traced, and nothing spent on it. It does not flush what the tracer
// holds: an actor can do that in its OnExit, see [Exiter].
func Trace(t Tracer) { classes.trace(t) }

func (r *registry) trace(t Tracer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tracer = t
}

// traced returns the tracer as this process serves it, and as it hears of calls out of the process; nil if there is none.
func (r *registry) traced() (methods Tracer, calls ray.Tracer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls, _ = r.tracer.(ray.Tracer)
	return r.tracer, calls
}

// constructor is the method's name of a constructor.
const constructor = "__init__"

// traced runs a method of the task under the tracer, which may be nil. rpc is the context in which the task arrived, and ctx
// the method's.
func traced[R any](rpc, ctx context.Context, t Tracer, method string, task *corepb.TaskSpec, run func(context.Context) (R, error)) (R, error) { //nolint:revive // two contexts
	if t == nil {
		return guarded(func() (R, error) { return run(ctx) })
	}
	return guarded(func() (R, error) {
		call := TracedMethod{Method: method}
		direct := call.carried(rpc, task)
		ctx := t.TraceMethodStart(ctx, call)
		if responder, ok := t.(TraceResponder); ok && direct {
			if response := responder.TraceMethodResponse(ctx); response != "" && isHeader(response) {
				_ = grpc.SetTrailer(rpc, metadata.Pairs("traceresponse", response)) // fails outside of a handler only
			}
		}
		result, err := guarded(func() (R, error) { return run(ctx) })
		t.TraceMethodEnd(ctx, err)
		return result, err
	})
}

// isHeader tells whether a value can be sent, as package ray does it.
func isHeader(s string) bool {
	return len(s) <= 1<<10 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// carried reads the trace that came with a task: as metadata of the request, which direct callers in Go send, as labels of
// the task, which a session sends, or in the keyword argument of Ray's own tracing.
func (m *TracedMethod) carried(rpc context.Context, task *corepb.TaskSpec) (direct bool) {
	header := func(name string) string {
		if values := metadata.ValueFromIncomingContext(rpc, name); len(values) > 0 {
			return values[0]
		}
		return ""
	}
	if m.TraceParent = header("traceparent"); m.TraceParent != "" {
		m.TraceState = header("tracestate")
		return true
	}
	carrier := labels(task)
	if carrier["traceparent"] == "" {
		carrier = traceArgument(task.GetArgs())
	}
	m.TraceParent, m.TraceState = carrier["traceparent"], carrier["tracestate"]
	return false
}

// labelsField is the number of TaskSpec.labels, a map of texts. What else Ray puts there is of no interest.
const labelsField protowire.Number = 41

func labels(task *corepb.TaskSpec) map[string]string {
	var found map[string]string
	// A message that cannot be read has no labels: in a version of Ray where the number means something else.
	_ = eachField(task.ProtoReflect().GetUnknown(), func(field protowire.Number, entry []byte, _ uint64) error {
		if field != labelsField {
			return nil
		}
		var pair [2]string
		if err := eachField(entry, func(field protowire.Number, text []byte, _ uint64) error {
			if field == 1 || field == 2 {
				pair[field-1] = string(text)
			}
			return nil
		}); err != nil {
			return err
		}
		if found == nil {
			found = map[string]string{}
		}
		found[pair[0]] = pair[1]
		return nil
	})
	return found
}

// traceKeyword is the keyword argument in which Ray's own tracing sends a dict of headers with a call. It comes from every
// process for which that is switched on, whether or not the method knows it.
const traceKeyword = "_ray_trace_ctx"

// traceArgument returns the headers of Ray's own tracing; an argument that holds none counts as missing.
func traceArgument(flat []*corepb.TaskArg) map[string]string {
	for i := 0; i+1 < len(flat); i += 2 {
		if isTraceKeyword(flat[i]) {
			var headers map[string]string
			if err := xlang.DecodeInto(flat[i+1].GetData(), flat[i+1].GetMetadata(), &headers); err != nil {
				return nil
			}
			return headers
		}
	}
	return nil
}

func isTraceKeyword(key *corepb.TaskArg) bool {
	if !bytes.HasSuffix(key.GetData(), []byte(traceKeyword)) {
		return false
	}
	var name string
	err := xlang.DecodeInto(key.GetData(), key.GetMetadata(), &name)
	return err == nil && name == traceKeyword
}
