package ray_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// What a Ray that is short of memory, of disk or of a node says, it says in types. The head takes any use of its memory for
// too much, and any disk for full; the other node is as it should be, until it is gone.
func TestConditionsOfAClusterInTrouble(t *testing.T) {
	t.Parallel() // mostly waiting, and the head is its own
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 2, Env: []string{
		"RAY_memory_usage_threshold=0.0", "RAY_memory_monitor_refresh_ms=100",
		"RAY_local_fs_capacity_threshold=0.0", "RAY_automatic_object_spilling_enabled=0",
		"RAY_health_check_initial_delay_ms=1000", "RAY_health_check_period_ms=500", "RAY_health_check_failure_threshold=3",
		"PYTHONPATH=" + modules(),
	}})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	// Before there is another node: of two at one address, Ray before 2.54 takes any for the session's process.
	s := open(t, ray.Config{Address: head.ClientAddress()})
	node := raytest.AddNode(t, head, rayhead.NodeConfig{NumCPUs: 4, ObjectStoreMemory: 100 << 20, Env: []string{"PYTHONPATH=" + modules()}})

	// The memory of a node.
	on := func(id string) ray.TaskOptions {
		return ray.TaskOptions{MaxRetries: new(0), SchedulingStrategy: ray.NodeAffinity{NodeID: id}}
	}
	_, err := call(t, s, function("sleep_then"), on(s.Info().NodeID), 60, "slept")
	wantType(t, err)
	if memory, ok := errors.AsType[*ray.OutOfMemoryError](err); !ok || !strings.Contains(memory.Message, head.NodeIP()) {
		t.Errorf("a node without memory: %v", err)
	}

	// The node of a task, of an actor and of a value.
	lost, err := s.SubmitWith(ctx, function("blob"), on(node.ID()), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// Used there, the value stays there.
	size, err := s.SubmitWith(ctx, function("length"), on(node.ID()), lost[0])
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Get(ctx, size[0]); n != int64(1<<20) {
		t.Fatalf("%v, %v", n, err)
	}
	running, err := s.SubmitWith(ctx, function("sleep_then"), on(node.ID()), 300, "slept")
	if err != nil {
		t.Fatal(err)
	}
	actor := counter(t, s, ray.ActorOptions{SchedulingStrategy: ray.NodeAffinity{NodeID: node.ID()}})
	if _, err := actor.Call(ctx, "pid"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the task to run", func() bool { return len(raytest.Processes(t, "ray::sleep_then")) > 0 })
	node.Kill()
	_, err = s.Get(ctx, running[0])
	wantType(t, err)
	if died, ok := errors.AsType[*ray.NodeDiedError](err); !ok || !strings.Contains(died.Message, node.ID()) {
		t.Errorf("the node of a task: %v", err)
	}
	_, err = s.Get(ctx, lost[0])
	wantType(t, err)
	if gone, ok := errors.AsType[*ray.ObjectLostError](err); !ok || gone.ObjectID != lost[0].ID() {
		t.Errorf("the node of a value: %v", err)
	}
	_, err = actor.Call(ctx, "pid")
	wantType(t, err)
	if died, ok := errors.AsType[*ray.ActorDiedError](err); !ok || died.ActorID != actor.ID() || died.ActorClass != "Counter" || !strings.Contains(died.Message, node.ID()) {
		t.Errorf("the node of an actor: %v", err)
	}

	// A store of 100 MiB, which cannot put anything on the disk.
	err = nil
	var kept []*ray.ObjectRef
	for len(kept) < 6 && err == nil {
		var ref *ray.ObjectRef
		if ref, err = s.Put(ctx, pattern(20<<20)); err == nil {
			kept = append(kept, ref)
		}
	}
	wantType(t, err)
	if full, ok := errors.AsType[*ray.ObjectStoreFullError](err); !ok || full.Class != "OutOfDiskError" || len(kept) < 3 {
		t.Errorf("a full store, with %d values: %v", len(kept), err)
	}
	for i, ref := range kept {
		if v, err := ray.Get[[]byte](ctx, s, ref); err != nil || !bytes.Equal(v, pattern(20<<20)) {
			t.Errorf("value %d after that: %d bytes, %v", i, len(v), err)
		}
		ref.Release()
	}
	waitFor(t, "room in the store", func() bool {
		ref, err := s.Put(ctx, pattern(20<<20))
		if err != nil {
			return false
		}
		ref.Release()
		return true
	})
}
