// Package otelray makes OpenTelemetry spans of the calls to Ray and of the methods of Go actors, and joins them: a method that is
// called directly is a child of its caller's span. docs/tracing.md has the spans.
//
//	tracer := otelray.New(otel.GetTracerProvider())
//
//	worker.Trace(tracer) // in an actor's program, before worker.Main
//	worker.Main()
//
//	conn, err := connector.New(connector.Config{Tracer: tracer})
//
// It uses the API of OpenTelemetry alone: the provider, with its exporter and its sampler, is the program's, and so is its
// Shutdown, which sends what is held back.
package otelray
