package ray_test

import (
	"context"
	"slices"
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
	testCountActors(t, x.gcs)
	if all, err := x.gcs.NamedActors(deadline(t), x.namespace); err != nil || len(all) != 3 {
		t.Errorf("named: %+v, %v", all, err)
	}
	if other, err := x.gcs.AliveActors(deadline(t), raytest.Namespace(t)); err != nil || len(other) != 0 {
		t.Errorf("of another namespace: %+v, %v", other, err)
	}
}

// testCountActors compares the counts with the whole list, on a cluster with two live actors, one that waits, and what
// tests before left dead.
func testCountActors(t *testing.T, gcs *ray.GCS) {
	t.Helper()
	var got ray.ActorCounts
	want := map[ray.ActorState]int{}
	waitFor(t, "counts that agree with the list", func() bool {
		all, err := gcs.Actors(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		clear(want)
		for _, a := range all {
			if a.State == ray.ActorDependenciesUnready {
				a.State = ray.ActorPendingCreation // the list is read from Ray's table, which is written late
			}
			want[a.State]++
		}
		if got, err = gcs.CountActors(deadline(t), 1000); err != nil {
			t.Fatal(err)
		}
		for state, n := range got.ByState {
			if n != want[state] {
				return false
			}
		}
		return len(got.ByState) == 4 && got.Dead == want[ray.ActorDead]
	})
	if got.AtLeast || got.ByState[ray.ActorAlive] < 2 || got.ByState[ray.ActorPendingCreation] < 1 {
		t.Errorf("counted %+v, listed %v", got, want)
	}
	if few, err := gcs.CountActors(deadline(t), 1); err != nil || !few.AtLeast || few.ByState[ray.ActorAlive] != 1 || few.Dead != 0 {
		t.Errorf("with a limit of 1: %+v, %v", few, err)
	}
}

// What an actor reserves and an object fills is missing from what is available.
func TestAvailableResources(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "holder", 0)
	ref, err := x.session.Put(deadline(t), make([]byte, 20<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Release()
	node := x.session.Info().NodeID
	nodes, err := x.gcs.Nodes(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	total := nodes[slices.IndexFunc(nodes, func(n ray.NodeInfo) bool { return n.ID == node })].Resources
	waitFor(t, "a report of what is used", func() bool {
		free, err := x.gcs.AvailableResources(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Log(free[node], total)
		return free[node]["CPU"] > 0 && free[node]["CPU"] < total["CPU"] && free[node]["memory"] > 0 &&
			total["object_store_memory"]-free[node]["object_store_memory"] >= 20<<20
	})
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
