package connector

import (
	"context"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// tracer is what the sessions and the direct path are given: nil when nobody wants to hear of calls.
func (c Config) tracer() ray.Tracer {
	_, unmeasured := c.Metrics.(noMetrics)
	switch {
	case unmeasured:
		return c.Tracer
	case c.Tracer == nil:
		return callMeter{c.Metrics}
	}
	return meteredTracer{callMeter{c.Metrics}, c.Tracer}
}

// callMeter measures calls.
type callMeter struct{ metrics Metrics }

type callStart struct {
	operation string
	at        time.Time
}

type callKey struct{}

// TraceCallStart implements ray.Tracer.
func (m callMeter) TraceCallStart(ctx context.Context, call ray.TracedCall) context.Context {
	return context.WithValue(ctx, callKey{}, callStart{call.Operation, time.Now()})
}

// TraceCallEnd implements ray.Tracer.
func (m callMeter) TraceCallEnd(ctx context.Context, err error) {
	if start, ok := ctx.Value(callKey{}).(callStart); ok {
		m.metrics.Called(start.operation, ray.ErrorCode(err), time.Since(start.at))
	}
}

// meteredTracer measures calls, and passes them on to a tracer.
type meteredTracer struct {
	meter callMeter
	next  ray.Tracer
}

// TraceCallStart implements ray.Tracer.
func (m meteredTracer) TraceCallStart(ctx context.Context, call ray.TracedCall) context.Context {
	return m.meter.TraceCallStart(m.next.TraceCallStart(ctx, call), call)
}

// TraceCallEnd implements ray.Tracer.
func (m meteredTracer) TraceCallEnd(ctx context.Context, err error) {
	m.meter.TraceCallEnd(ctx, err)
	m.next.TraceCallEnd(ctx, err)
}

// TraceContext implements ray.TraceCarrier.
func (m meteredTracer) TraceContext(ctx context.Context) (traceparent, tracestate string) {
	if carrier, ok := m.next.(ray.TraceCarrier); ok {
		return carrier.TraceContext(ctx)
	}
	return "", ""
}

// TraceCallResponse implements ray.TraceReceiver.
func (m meteredTracer) TraceCallResponse(ctx context.Context, traceresponse string) {
	if receiver, ok := m.next.(ray.TraceReceiver); ok {
		receiver.TraceCallResponse(ctx, traceresponse)
	}
}
