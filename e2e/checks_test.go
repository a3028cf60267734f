package e2e_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/check"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

func TestCentralizedArchitecture(t *testing.T) { runSuite(t, check.SuiteArchitecture, 7) }

func TestBootstrap(t *testing.T) { runSuite(t, check.SuiteBootstrap, 4) }

func TestComprehensive(t *testing.T) { runSuite(t, check.SuiteComprehensive, 8) }

func runSuite(t *testing.T, suite string, want int) {
	namespace := raytest.Namespace(t)
	bench := newBench(t, raytest.Head(t).ClientAddress(), namespace, organism.DefaultConfig())
	watcher := connected(t, namespace)
	ran := 0
	for _, c := range check.All() {
		if c.Suite != suite {
			continue
		}
		ran++
		t.Run(c.Name, func(t *testing.T) { pass(t, bench, c) })
	}
	if ran != want {
		t.Errorf("%d checks instead of %d", ran, want)
	}
	closeBench(t, bench)
	if bench.Scratch() == "" || bench.Scratch() == namespace {
		t.Errorf("the checks created their actors in namespace %q", bench.Scratch())
	}
	for _, place := range []string{namespace, bench.Scratch()} {
		eventually(t, 20*time.Second, "what the checks created is gone", func() error {
			actors, err := clientOf(t, watcher).GCS().NamedActors(t.Context(), place)
			if err == nil && len(actors) > 0 {
				err = errorf("still there: %v", actors)
			}
			return err
		})
	}
}

func newBench(t *testing.T, address, namespace string, config organism.Config) *check.Bench {
	t.Helper()
	return &check.Bench{
		Lookup:     func(string) string { return "" },
		Connection: connector.Config{Address: "ray://" + address, Namespace: namespace},
		Organism:   config,
		Binary:     raytest.Binary(t),
	}
}

func pass(t *testing.T, bench *check.Bench, c check.Check) {
	t.Helper()
	if result := bench.Run(t.Context(), c); result.Err != nil {
		t.Fatalf("%s: %v", c.Name, result.Err)
	}
}

func closeBench(t *testing.T, bench *check.Bench) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := bench.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// named returns a check by its name.
func named(t *testing.T, name string) check.Check {
	t.Helper()
	for _, c := range check.All() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check is called %q", name)
	return check.Check{}
}

// An organism that comes up in the namespace while the checks run is not theirs: it outlives them. What they could not
// end themselves they name.
func TestChecksEndOnlyWhatIsTheirs(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	bench := newBench(t, proxy.Address(), namespace, oneOrgan())
	pass(t, bench, named(t, "connect and describe"))
	org := running(t, conn, oneOrgan(), organism.Options{})
	before := ids(t, conn, namespace)
	pass(t, bench, named(t, "bootstrap"))
	eventually(t, 60*time.Second, "the checks' actors reserve nothing beside an organism's 0.5 CPU", func() error {
		total, err := clientOf(t, conn).Session().ClusterResources(t.Context())
		if err != nil {
			return err
		}
		free, err := clientOf(t, conn).Session().AvailableResources(t.Context())
		if err == nil && free["CPU"] < total["CPU"]-0.501 {
			err = errorf("%g of %g CPU are free", free["CPU"], total["CPU"])
		}
		return err
	})
	closeBench(t, bench)
	if now := ids(t, conn, namespace); !maps.Equal(now, before) {
		t.Errorf("actors before the checks ended: %v; after: %v", before, now)
	}
	e, err := org.Execute(t.Context(), organID, organism.Task{})
	if err != nil {
		t.Fatal(err)
	}

	// The agent's process is found without the control store too, and another one is not taken for it.
	pid, _ := e.Result["pid"].(int64)
	sessionOnly := ray.NewClient(clientOf(t, conn).Session(), nil, nil, errors.New("as if it were not reachable"))
	if err := check.RanThere(t.Context(), sessionOnly, namespace, agentID, int(pid)); err != nil {
		t.Error(err)
	}
	if err := check.RanThere(t.Context(), sessionOnly, namespace, agentID, int(pid)+1); err == nil || !strings.Contains(err.Error(), "Ray says "+itoa(pid)) {
		t.Errorf("another process: %v", err)
	}

	bench = newBench(t, proxy.Address(), namespace, oneOrgan())
	pass(t, bench, named(t, "bootstrap"))
	proxy.Refuse(true)
	proxy.Cut()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = bench.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), bench.Scratch()) || !strings.Contains(err.Error(), "may still run") {
		t.Errorf("closing without a connection: %v", err)
	}
	removeActors(t, connected(t, bench.Scratch()))
}
