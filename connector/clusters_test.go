package connector_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// traveller is a connection that is moved from one cluster to another, and what it has to show for it.
type traveller struct {
	*connector.Connector
	log *safeBuffer
	m   meter

	mu    sync.Mutex // guards hooks
	hooks []uint64   // the epochs in which they ran
}

// departs connects to the first cluster.
func departs(t *testing.T, cfg connector.Config) *traveller {
	t.Helper()
	v := &traveller{}
	cfg.Namespace, cfg.Metrics, cfg.ReconnectGrace = raytest.Namespace(t), &v.m, time.Second
	cfg.HealthInterval, cfg.HealthTimeout = 200*time.Millisecond, 2*time.Second
	cfg.FirstBackoff, cfg.SlowestBackoff = 50*time.Millisecond, 500*time.Millisecond
	v.Connector, v.log = newConnector(t, cfg)
	v.OnSession("note", func(_ context.Context, _ *ray.Client, epoch uint64) error {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.hooks = append(v.hooks, epoch)
		return nil
	})
	if err := v.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	return v
}

// keeps makes a counter that counts to one, and outlives its session.
func (v *traveller) keeps(t *testing.T) {
	t.Helper()
	class, err := session(t, v.Connector).PythonClass(deadline(t), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session(t, v.Connector).CreateActor(deadline(t), class, ray.ActorOptions{Name: "counter", Detached: true, NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Call(deadline(t), "counter", "incr"); err != nil {
		t.Fatal(err)
	}
}

// arrives waits for the next session, which has to be of that cluster, and tells what it is.
func (v *traveller) arrives(t *testing.T, epoch uint64, cluster string, reasons ...string) connector.Info {
	t.Helper()
	if _, _, err := v.WaitSession(deadline(t), epoch-1); err != nil {
		t.Fatal(err)
	}
	if err := v.WaitReady(deadline(t)); err != nil {
		t.Fatal(err)
	}
	info := v.Info()
	if info.Epoch != epoch || info.ClusterID != cluster || info.State != connector.StateConnected {
		t.Errorf("epoch %d, cluster %s expected: %+v", epoch, cluster, info)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.hooks) != int(epoch) || v.hooks[epoch-1] != epoch {
		t.Errorf("hooks ran in the epochs %v", v.hooks)
	}
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if !slices.Equal(v.m.replaced, reasons) {
		t.Errorf("replaced for %v, not %v", v.m.replaced, reasons)
	}
	if n := strings.Count(v.log.String(), "another cluster answers than before"); n != len(reasons) || n > 0 && !strings.Contains(v.log.String(), "cluster="+cluster) {
		t.Errorf("told %d times in\n%s", n, v.log)
	}
	return info
}

func clusterAt(t *testing.T, head *rayhead.Head) string {
	t.Helper()
	gcs, err := ray.DialGCS(deadline(t), head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	return gcs.ClusterID()
}

// A session of another cluster is known for one, wherever that is and by whatever way it was come to: what was of the one
// before is stale or gone, and is there again when the connection comes back.
func TestAnotherCluster(t *testing.T) {
	t.Parallel() // mostly waiting, and the second head is its own
	first := raytest.Head(t)
	second := raytest.NewHead(t, rayhead.Config{NumCPUs: 2})
	here, there := clusterAt(t, first), clusterAt(t, second)

	t.Run("at the next address", func(t *testing.T) {
		a, b := faultproxy.New(t, first.ClientAddress()), faultproxy.New(t, second.ClientAddress())
		v := departs(t, connector.Config{Address: "ray://" + a.Address() + ",ray://" + b.Address()})
		v.arrives(t, 1, here)
		v.keeps(t)
		ref, err := session(t, v.Connector).Put(deadline(t), "of the first")
		if err != nil {
			t.Fatal(err)
		}
		a.Refuse(true)
		a.Cut()
		if info := v.arrives(t, 2, there, "cluster_replaced"); info.Resolved != b.Address() || info.GCSAddress != second.GCSAddress() || !info.Direct {
			t.Errorf("%+v", info)
		}
		if _, err := session(t, v.Connector).Get(deadline(t), ref); !errors.Is(err, ray.ErrStaleSession) {
			t.Errorf("a ref of the first cluster: %v", err)
		}
		if _, err := v.Call(deadline(t), "counter", "get"); !errors.Is(err, ray.ErrActorNotFound) {
			t.Errorf("an actor of the first cluster: %v", err)
		}
		a.Refuse(false)
		b.Refuse(true)
		b.Cut()
		v.arrives(t, 3, here, "cluster_replaced", "cluster_replaced")
		if n, err := v.Call(deadline(t), "counter", "get"); err != nil || n != int64(1) {
			t.Errorf("what the actor of the first cluster kept: %v, %v", n, err)
		}
	})

	t.Run("behind the same address", func(t *testing.T) {
		server, gcs := faultproxy.New(t, first.ClientAddress()), faultproxy.New(t, first.GCSAddress())
		v := departs(t, connector.Config{Address: gcs.Address(), ClientPort: portOf(t, server.Address())})
		v.arrives(t, 1, here)
		v.keeps(t)
		server.SetTarget(second.ClientAddress())
		gcs.SetTarget(second.GCSAddress())
		server.Cut()
		gcs.Cut()
		if info := v.arrives(t, 2, there, "cluster_replaced"); info.GCSAddress != gcs.Address() || !info.Direct {
			t.Errorf("%+v", info)
		}
		if _, err := v.Call(deadline(t), "counter", "get"); !errors.Is(err, ray.ErrActorNotFound) {
			t.Errorf("an actor of the first cluster: %v", err)
		}
	})

	t.Run("by the client port alone", func(t *testing.T) {
		server, closed := faultproxy.New(t, first.ClientAddress()), deadAddress(t)
		v := departs(t, connector.Config{Address: "ray://" + server.Address(), AddressMap: func(string) string { return closed }})
		v.arrives(t, 1, here)
		server.SetTarget(second.ClientAddress())
		server.Cut()
		if info := v.arrives(t, 2, there, "cluster_replaced"); info.Direct || info.GCS.Answers {
			t.Errorf("%+v", info)
		}
	})
}
