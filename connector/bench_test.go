package connector_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// BenchmarkConnector measures what the connector costs the caller, on a connection to a real cluster. The calls carry an
// argument that cannot be sent, so that what they cost is not lost in the time of a round trip: "connector call" less
// "client call" is the connector's own part.
func BenchmarkConnector(b *testing.B) {
	conn, err := connector.New(connector.Config{Address: "ray://" + raytest.Head(b).ClientAddress(), Namespace: raytest.Namespace(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			b.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(b.Context(), 90*time.Second)
	defer cancel()
	if err := conn.Connect(ctx); err != nil {
		b.Fatal(err)
	}
	client, err := conn.Client()
	if err != nil {
		b.Fatal(err)
	}
	class, err := client.Session().PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := client.Session().CreateActor(ctx, class, ray.ActorOptions{Name: "counter"}); err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Call(ctx, "counter", "get"); err != nil {
		b.Fatal(err)
	}
	namespace, unsendable := client.Session().Info().Namespace, make(chan int)
	b.Run("Client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = conn.Client()
		}
	})
	b.Run("Info", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = conn.Info()
		}
	})
	refused := func(b *testing.B, err error) {
		if !errors.Is(err, ray.ErrUnsupportedValue) {
			b.Fatal(err)
		}
	}
	b.Run("client call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := client.Call(ctx, namespace, "counter", "get", unsendable)
			refused(b, err)
		}
	})
	b.Run("connector call", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := conn.Call(context.Background(), "counter", "get", unsendable)
			refused(b, err)
		}
	})
}
