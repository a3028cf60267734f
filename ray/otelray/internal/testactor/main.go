// Command testactor is the Go actor of the tests of package otelray.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/seedcore/seedcore/ray/otelray"
	"github.com/seedcore/seedcore/worker"
)

// Place is where a method runs in a trace, in hex. An empty parent is none.
type Place struct {
	Trace  string   `json:"trace"`
	Span   string   `json:"span"`
	Parent string   `json:"parent"`
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Links  []string `json:"links"` // the spans
}

type traced struct{ spans *tracetest.SpanRecorder }

func placeOf(span sdktrace.ReadOnlySpan) Place {
	p := Place{
		Trace: span.SpanContext().TraceID().String(), Span: span.SpanContext().SpanID().String(),
		Name: span.Name(), Kind: span.SpanKind().String(), Links: []string{},
	}
	if span.Parent().IsValid() {
		p.Parent = span.Parent().SpanID().String()
	}
	for _, link := range span.Links() {
		p.Links = append(p.Links, link.SpanContext.SpanID().String())
	}
	return p
}

// Place tells where it runs itself.
func (traced) Place(ctx context.Context) (Place, error) {
	span, ok := trace.SpanFromContext(ctx).(sdktrace.ReadOnlySpan)
	if !ok {
		return Place{}, errors.New("the method has no span")
	}
	return placeOf(span), nil
}

// Places tells the same, twice.
func (a traced) Places(ctx context.Context) (iter.Seq[Place], error) {
	p, err := a.Place(ctx)
	return slices.Values([]Place{p, p}), err
}

// Fail tells it as an error.
func (a traced) Fail(ctx context.Context) error {
	p, err := a.Place(ctx)
	return errors.Join(err, fmt.Errorf("span=%s", p.Span))
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

// Ended tells of the spans of this process that have ended.
func (a traced) Ended(context.Context) []Place {
	var places []Place
	for _, span := range a.spans.Ended() {
		places = append(places, placeOf(span))
	}
	return places
}

func main() {
	recorder := tracetest.NewSpanRecorder()
	worker.Register("Traced", func() traced { return traced{recorder} })
	worker.Trace(otelray.New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))))
	worker.Main()
	fmt.Fprintln(os.Stderr, "testactor: to be started by a raylet only")
	os.Exit(2)
}
