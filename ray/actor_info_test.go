package ray_test

import (
	"context"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// The alive actors of a namespace are listed, those of sessions that have ended too.
func TestAliveActors(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	maker := open(t, ray.Config{Namespace: x.namespace})
	class, err := maker.PythonClass(deadline(t), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a", "pending"} {
		cpus := 0.1
		if name == "pending" {
			cpus = 1000
		}
		h, err := maker.CreateActor(deadline(t), class, ray.ActorOptions{Name: name, Detached: true, NumCPUs: cpus})
		if err != nil {
			t.Fatal(err)
		}
		if name == "pending" {
			continue
		}
		if _, err := h.Call(deadline(t), "get"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, name := range []string{"b", "a", "pending"} {
			h, err := x.session.GetActor(ctx, name, "")
			if err == nil {
				err = x.session.Kill(ctx, h, true)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if err := maker.Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	alive, err := x.gcs.AliveActors(deadline(t), x.namespace)
	if err != nil || len(alive) != 2 || alive[0].Name != "a" || alive[1].Name != "b" || alive[0].State != ray.ActorAlive {
		t.Errorf("alive: %+v, %v", alive, err)
	}
	if all, err := x.gcs.NamedActors(deadline(t), x.namespace); err != nil || len(all) != 3 {
		t.Errorf("named: %+v, %v", all, err)
	}
	if other, err := x.gcs.AliveActors(deadline(t), raytest.Namespace(t)); err != nil || len(other) != 0 {
		t.Errorf("of another namespace: %+v, %v", other, err)
	}
}

// A task can be told its node, and to reserve no CPU.
func TestSubmitWithOptions(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	s := x.session
	total, err := s.ClusterResources(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	class, err := s.PythonClass(deadline(t), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	hog, err := s.CreateActor(deadline(t), class, ray.ActorOptions{NumCPUs: total["CPU"]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Kill(ctx, hog, true); err != nil {
			t.Error(err)
		}
	})
	if _, err := hog.Call(deadline(t), "get"); err != nil {
		t.Fatal(err)
	}
	nodes, err := x.gcs.Nodes(deadline(t))
	if err != nil || len(nodes) != 1 {
		t.Fatal(nodes, err)
	}
	refs, err := s.SubmitWith(deadline(t), ray.Function{Module: "seedtest", Name: "add"}, ray.TaskOptions{NumCPUs: new(0.0), SchedulingStrategy: ray.NodeAffinity{NodeID: nodes[0].ID}}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(deadline(t), refs[0]); err != nil || v != int64(3) {
		t.Errorf("a task without a CPU on a node without a free one: %v, %v", v, err)
	}
}
