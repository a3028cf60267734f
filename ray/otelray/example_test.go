package otelray_test

import (
	"context"
	"log"

	"go.opentelemetry.io/otel"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray/otelray"
	"github.com/seedcore/seedcore/worker"
)

func Example() {
	tracer := otelray.New(otel.GetTracerProvider())
	worker.Trace(tracer) // for the actors of this program
	worker.Main()

	conn, err := connector.New(connector.Config{Tracer: tracer})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := conn.Call(context.Background(), "counter", "add", 2); err != nil {
		log.Print(err)
	}
}
