package worker

import (
	"context"

	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/ray"
)

// Tracer is told of every method that runs in this process, see [Trace]. Its methods are called from the goroutines of the
// calls, at once where the actor runs several, and have to be quick. A panic of it is the call's error.
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

// TracedMethod is a method that is about to run. The context that comes with it knows the rest, see [FromContext].
type TracedMethod struct {
	Method string
	// TraceParent and TraceState are the W3C headers that the caller sent, unchecked; "" where it sent none, as Ray's own
	// callers and calls through a session.
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

// trace runs a method under the tracer. rpc is the context in which the call arrived, and ctx the method's.
func (w *coreWorker) trace(rpc, ctx context.Context, method string, run func(context.Context) ([]value, error)) ([]value, error) {
	if w.tracer == nil {
		return guarded(func() ([]value, error) { return run(ctx) })
	}
	return guarded(func() ([]value, error) {
		header := func(name string) string {
			if values := metadata.ValueFromIncomingContext(rpc, name); len(values) > 0 {
				return values[0]
			}
			return ""
		}
		ctx := w.tracer.TraceMethodStart(ctx, TracedMethod{method, header("traceparent"), header("tracestate")})
		values, err := guarded(func() ([]value, error) { return run(ctx) })
		w.tracer.TraceMethodEnd(ctx, err)
		return values, err
	})
}
