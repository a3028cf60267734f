// Command testactor is the Go actor of the tests of package otelray.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/seedcore/seedcore/ray/otelray"
	"github.com/seedcore/seedcore/worker"
)

// Place is where a method runs in a trace, in hex. An empty parent is none.
type Place struct {
	Trace  string `json:"trace"`
	Span   string `json:"span"`
	Parent string `json:"parent"`
	Name   string `json:"name"`
}

type traced struct{}

// Place tells where it runs itself.
func (traced) Place(ctx context.Context) (Place, error) {
	span, ok := trace.SpanFromContext(ctx).(sdktrace.ReadOnlySpan)
	if !ok {
		return Place{}, errors.New("the method has no span")
	}
	p := Place{Trace: span.SpanContext().TraceID().String(), Span: span.SpanContext().SpanID().String(), Name: span.Name()}
	if span.Parent().IsValid() {
		p.Parent = span.Parent().SpanID().String()
	}
	return p, nil
}

// Ask tells where it runs, and where the method of another actor does that it calls.
func (a traced) Ask(ctx context.Context, name string) ([]any, error) {
	own, err := a.Place(ctx)
	if err != nil {
		return nil, err
	}
	others, err := worker.FromContext(ctx).Call(ctx, name, "place")
	return []any{own, others}, err
}

func main() {
	worker.Register("Traced", func() traced { return traced{} })
	worker.Trace(otelray.New(sdktrace.NewTracerProvider()))
	worker.Main()
	fmt.Fprintln(os.Stderr, "testactor: to be started by a raylet only")
	os.Exit(2)
}
