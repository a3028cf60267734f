package connector_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// BenchmarkConnector measures what the connector costs the caller, on connections to a real cluster.
func BenchmarkConnector(b *testing.B) {
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	conn := connected(b, ctx, connector.Config{})
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

	// Calls that the client refuses as early as it can: it has to make them directly, and there is no direct path. What the
	// connector adds is all of it the same, and not lost in the time of a round trip.
	refusing := connected(b, ctx, connector.Config{Direct: ray.DirectRequire, AddressMap: func(string) string { return "127.0.0.1:1" }})
	b.Run("refused call", func(b *testing.B) { overhead(b, context.Background(), refusing, 100, ray.ErrUnreachable) })
	// Calls that are made. Their answers come after a time that varies by much more than the connector adds.
	b.Run("call", func(b *testing.B) { overhead(b, context.Background(), conn, 1, nil) })
	b.Run("call with a deadline", func(b *testing.B) { overhead(b, ctx, conn, 1, nil) })
}

// connected returns a connector that is connected until the end of the benchmark.
func connected(b *testing.B, ctx context.Context, cfg connector.Config) *connector.Connector {
	b.Helper()
	cfg.Address, cfg.Namespace = "ray://"+raytest.Head(b).ClientAddress(), raytest.Namespace(b)
	conn, err := connector.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			b.Error(err)
		}
	})
	if err := conn.Connect(ctx); err != nil {
		b.Fatal(err)
	}
	return conn
}

// overhead compares Connector.Call with ray.Client.Call as it is without a connector. The two take
// turns in batches, so that each pair meets the machine in one state, and what is reported is the median of the pairs'
// differences with the quartiles, for each call.
func overhead(b *testing.B, ctx context.Context, conn *connector.Connector, batch int, want error) {
	client, err := conn.Client()
	if err != nil {
		b.Fatal(err)
	}
	namespace := client.Session().Info().Namespace
	timed := func(call func() (any, error)) float64 {
		start := time.Now()
		for range batch {
			if _, err := call(); !errors.Is(err, want) {
				b.Fatal(err)
			}
		}
		return float64(time.Since(start).Nanoseconds()) / float64(batch)
	}
	bare := func() (any, error) { return client.Call(ctx, namespace, "counter", "get") }
	whole := func() (any, error) { return conn.Call(ctx, "counter", "get") }
	var without, differences []float64
	for flip := false; b.Loop(); flip = !flip {
		var x, y float64
		if flip {
			y = timed(whole)
			x = timed(bare)
		} else {
			x = timed(bare)
			y = timed(whole)
		}
		without, differences = append(without, x), append(differences, y-x)
	}
	b.ReportMetric(0, "ns/op") // of both together
	b.ReportMetric(gauge.Quantile(without, 0.5), "client-ns")
	for name, q := range map[string]float64{"overhead-ns": 0.5, "overhead-q1-ns": 0.25, "overhead-q3-ns": 0.75} {
		b.ReportMetric(gauge.Quantile(differences, q), name)
	}
	if want != nil {
		b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = whole() })-testing.AllocsPerRun(100, func() { _, _ = bare() }), "overhead-allocs")
	}
}
