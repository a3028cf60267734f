package connector

import (
	"context"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// tracer is what the sessions and the direct path are given: nil when nobody wants to hear of calls.
func (c Config) tracer() ray.Tracer {
	if _, none := c.Metrics.(noMetrics); none {
		return c.Tracer
	}
	return callMeter{c.Metrics, c.Tracer}
}

// callMeter measures calls, and passes them on to a tracer where there is one.
type callMeter struct {
	metrics Metrics
	next    ray.Tracer
}

type callStart struct {
	operation string
	at        time.Time
}

type callKey struct{}

// TraceCallStart implements ray.Tracer.
func (m callMeter) TraceCallStart(ctx context.Context, call ray.TracedCall) context.Context {
	if m.next != nil {
		ctx = m.next.TraceCallStart(ctx, call)
	}
	return context.WithValue(ctx, callKey{}, callStart{call.Operation, time.Now()})
}

// TraceCallEnd implements ray.Tracer.
func (m callMeter) TraceCallEnd(ctx context.Context, err error) {
	if start, ok := ctx.Value(callKey{}).(callStart); ok {
		m.metrics.Called(start.operation, ray.ErrorCode(err), time.Since(start.at))
	}
	if m.next != nil {
		m.next.TraceCallEnd(ctx, err)
	}
}

// TraceContext implements ray.TraceCarrier.
func (m callMeter) TraceContext(ctx context.Context) (traceparent, tracestate string) {
	if carrier, ok := m.next.(ray.TraceCarrier); ok {
		return carrier.TraceContext(ctx)
	}
	return "", ""
}
