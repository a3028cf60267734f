package otelray

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// The attributes of the spans.
const (
	system    = attribute.Key("rpc.system.name")
	method    = attribute.Key("rpc.method")
	errorType = attribute.Key("error.type")
	operation = attribute.Key("ray.operation")
	target    = attribute.Key("ray.target")
	class     = attribute.Key("ray.actor.class")
	actorID   = attribute.Key("ray.actor.id")
	actorName = attribute.Key("ray.actor.name")
	namespace = attribute.Key("ray.namespace")
)

var rpc = system.String("ray")

// Tracer makes the spans. It implements ray.Tracer, ray.TraceCarrier and ray.TraceReceiver, worker.Tracer and
// worker.TraceResponder, and is safe for concurrent use.
type Tracer struct {
	tracer     trace.Tracer
	propagator propagation.TraceContext
}

var (
	_ ray.Tracer            = (*Tracer)(nil)
	_ ray.TraceCarrier      = (*Tracer)(nil)
	_ ray.TraceReceiver     = (*Tracer)(nil)
	_ worker.Tracer         = (*Tracer)(nil)
	_ worker.TraceResponder = (*Tracer)(nil)
)

// New makes a Tracer of a provider, which it does not own.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{tracer: provider.Tracer("github.com/seedcore/seedcore/ray/otelray")}
}

// TraceCallStart implements ray.Tracer. A ping that belongs to no trace, as those by which a connection is watched, makes no
// span.
func (t *Tracer) TraceCallStart(ctx context.Context, call ray.TracedCall) context.Context {
	if call.Operation == "ping" && !trace.SpanContextFromContext(ctx).IsValid() {
		return context.WithValue(ctx, spanKey{}, nil)
	}
	name := call.Operation
	switch call.Operation {
	case "direct_call", "direct_stream", "actor_call":
		name = call.Target[strings.LastIndexByte(call.Target, '.')+1:]
	}
	return t.start(ctx, name, trace.SpanKindClient, operation.String(call.Operation), target.String(call.Target))
}

// TraceCallEnd implements ray.Tracer.
func (t *Tracer) TraceCallEnd(ctx context.Context, err error) { end(ctx, ray.ErrorCode(err)) }

// TraceContext implements ray.TraceCarrier.
func (t *Tracer) TraceContext(ctx context.Context) (traceparent, tracestate string) {
	headers := propagation.MapCarrier{}
	t.propagator.Inject(ctx, headers)
	return headers["traceparent"], headers["tracestate"]
}

// TraceCallResponse implements ray.TraceReceiver: the call's span gets a link to the method's.
func (t *Tracer) TraceCallResponse(ctx context.Context, traceresponse string) {
	span, ok := ctx.Value(spanKey{}).(trace.Span)
	if !ok {
		return
	}
	// The two headers are written alike.
	answered := t.propagator.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceresponse})
	if method := trace.SpanContextFromContext(answered); method.IsValid() {
		span.AddLink(trace.Link{SpanContext: method})
	}
}

// TraceMethodResponse implements worker.TraceResponder.
func (t *Tracer) TraceMethodResponse(ctx context.Context) (traceresponse string) {
	traceresponse, _ = t.TraceContext(ctx)
	return traceresponse
}

// TraceMethodStart implements worker.Tracer.
func (t *Tracer) TraceMethodStart(ctx context.Context, call worker.TracedMethod) context.Context {
	ctx = t.propagator.Extract(ctx, propagation.MapCarrier{"traceparent": call.TraceParent, "tracestate": call.TraceState})
	var attributes []attribute.KeyValue
	if actor := worker.FromContext(ctx); actor != nil {
		attributes = []attribute.KeyValue{
			class.String(actor.Class), actorID.String(actor.ActorID), actorName.String(actor.ActorName), namespace.String(actor.Namespace),
		}
	}
	return t.start(ctx, call.Method, trace.SpanKindServer, attributes...)
}

// TraceMethodEnd implements worker.Tracer.
func (t *Tracer) TraceMethodEnd(ctx context.Context, err error) {
	switch {
	case err == nil:
		end(ctx, "ok")
	case errors.Is(err, context.Canceled):
		end(ctx, "cancelled")
	default:
		end(ctx, "task_error") // which it is for the caller, whatever it was here
	}
}

// spanKey is for the span that a call has to end: that of the context may be another one's.
type spanKey struct{}

func (t *Tracer) start(ctx context.Context, name string, kind trace.SpanKind, attributes ...attribute.KeyValue) context.Context {
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(append(attributes, rpc, method.String(name))...))
	return context.WithValue(ctx, spanKey{}, span)
}

// end leaves the error's text out, which may hold what was called with.
func end(ctx context.Context, code string) {
	span, ok := ctx.Value(spanKey{}).(trace.Span)
	if !ok {
		return
	}
	if code != "ok" {
		span.SetStatus(codes.Error, code)
		span.SetAttributes(errorType.String(code))
	}
	span.End()
}
