package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/check"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
)

func TestCentralizedArchitecture(t *testing.T) { runSuite(t, check.SuiteArchitecture, 7) }

func TestBootstrap(t *testing.T) { runSuite(t, check.SuiteBootstrap, 4) }

func TestComprehensive(t *testing.T) { runSuite(t, check.SuiteComprehensive, 8) }

func runSuite(t *testing.T, suite string, want int) {
	namespace := raytest.Namespace(t)
	bench := &check.Bench{
		Lookup:     func(string) string { return "" },
		Connection: connector.Config{Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: namespace},
		Organism:   organism.DefaultConfig(),
		Binary:     raytest.Binary(t),
	}
	watcher := connected(t, namespace)
	ran := 0
	for _, c := range check.All() {
		if c.Suite != suite {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) {
			if result := bench.Run(t.Context(), c); result.Err != nil {
				t.Fatal(result.Err)
			}
		})
	}
	if ran != want {
		t.Errorf("%d checks instead of %d", ran, want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := bench.Close(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "what the checks created is gone", func() error {
		actors, err := clientOf(t, watcher).GCS().NamedActors(ctx, namespace)
		if err == nil && len(actors) > 0 {
			err = errorf("still there: %v", actors)
		}
		return err
	})
}
