package ray_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// On a link that lets nothing through every kind of call without a deadline ends by CallTimeout, and nothing is left of it.
func TestEveryCallHasADeadline(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	s := open(t, ray.Config{Address: proxy.Address(), CallTimeout: time.Second})
	setup := deadline(t)
	small, err := s.Put(setup, 1)
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Put(setup, 2)
	if err != nil {
		t.Fatal(err)
	}
	class := pythonClass(t, s, "Counter")
	actor := counter(t, s, ray.ActorOptions{})
	if _, err := s.Submit(setup, function("echo"), 1); err != nil { // the function is known from here on
		t.Fatal(err)
	}
	pkg, err := ray.FilePackage(fstest.MapFS{"empty_module.py": {Data: []byte("# " + t.Name())}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	settled := s.Stats()
	calls := map[string]func() error{
		"put":               func() error { return second(s.Put(ctx, []any{small})) },
		"get what is put":   func() error { return second(s.Get(ctx, must(t)(s.Put(ctx, "x")))) },
		"put a large value": func() error { return second(s.Put(ctx, make([]byte, 12<<20))) },
		"get":               func() error { return second(s.Get(ctx, small)) },
		"get all":           func() error { return second(s.GetAll(ctx, []*ray.ObjectRef{small, other})) },
		"wait":              func() error { _, _, err := s.Wait(ctx, []*ray.ObjectRef{small, other}, 1); return err },
		"ready":             func() error { _, _, err := s.Ready(ctx, []*ray.ObjectRef{small, other}); return err },
		"dynamic refs":      func() error { return second(s.DynamicRefs(ctx, other)) },
		"cancel":            func() error { return s.Cancel(ctx, small, false, false) },
		"submit":            func() error { return second(s.Submit(ctx, function("echo"), 1)) },
		"submit a new one":  func() error { return second(s.Submit(ctx, function("add"), 1, 2)) },
		"class":             func() error { return second(s.PythonClass(ctx, "drivertest", "Values")) },
		"create actor":      func() error { return second(s.CreateActor(ctx, class, ray.ActorOptions{})) },
		"get actor":         func() error { return second(s.GetActor(ctx, "nobody", "")) },
		"call":              func() error { return second(actor.Call(ctx, "get")) },
		"kill":              func() error { return s.Kill(ctx, actor, true) },
		"list named actors": func() error { return second(s.ListNamedActors(ctx, false)) },
		"ping":              func() error { return s.Ping(ctx) },
		"number of clients": func() error { return second(s.NumClients(ctx)) },
		"kv get":            func() error { _, _, err := s.KVGet(ctx, "", "k"); return err },
		"kv put":            func() error { return second(s.KVPut(ctx, "test", "k", []byte("v"), true)) },
		"kv exists":         func() error { return second(s.KVExists(ctx, "", "k")) },
		"kv del":            func() error { return second(s.KVDel(ctx, "test", "k")) },
		"kv list":           func() error { return second(s.KVList(ctx, "test", "k")) },
		"cluster resources": func() error { return second(s.ClusterResources(ctx)) },
		"nodes":             func() error { return second(s.Nodes(ctx)) },
		"runtime context":   func() error { return second(s.RuntimeContext(ctx)) },
		"timeline":          func() error { return second(s.Timeline(ctx)) },
		"dashboard url":     func() error { return second(s.DashboardURL(ctx)) },
		"platform":          func() error { return second(s.Platform(ctx)) },
		"upload a package":  func() error { return second(s.UploadPackage(ctx, pkg)) },
		"placement group": func() error {
			return second(s.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: []map[string]float64{{"CPU": 1}}}))
		},
		"a function's actor": func() error { return second(ray.NewClient(s, nil, nil, nil).Call(ctx, "test", "nobody", "get")) },
	}
	proxy.Stall()
	var all sync.WaitGroup
	for name, call := range calls {
		all.Go(func() {
			err := call()
			if !errors.Is(err, ray.ErrCallTimeout) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "CallTimeout allows") {
				t.Errorf("%s: %v", name, err)
			}
			waits := name == "get" || name == "get what is put" || name == "get all" || name == "wait" || name == "dynamic refs"
			if errors.Is(err, ray.ErrGetTimeout) != waits {
				t.Errorf("%s: %v", name, err)
			}
			if _, ok := errors.AsType[*ray.CallError](err); !ok && name != "upload a package" {
				t.Errorf("%s does not say whether it was sent: %v", name, err)
			}
		})
	}
	// The deadline of a caller wins, also where it is later.
	patient := make(chan error, 1)
	go func() { patient <- s.Ping(setup) }()
	all.Wait()
	proxy.Resume()
	if err := <-patient; err != nil {
		t.Errorf("a call with a deadline of its own: %v", err)
	}
	waitFor(t, "the table of what has no answer to be empty", func() bool {
		stats := s.Stats()
		return stats.Queued == 0 && stats.Outstanding == 0
	})
	small.Release()
	other.Release()
	waitFor(t, "what calls made behind their callers to be released", func() bool {
		runtime.GC()
		return s.Stats().Refs <= settled.Refs+3 // the class, the function and the platform, which are kept
	})
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// What takes long is no stall while it gets on; and a task that takes too long can be asked for again.
func TestALargeValueMayTakeLongerThanACall(t *testing.T) {
	t.Parallel() // mostly waiting
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	const timeout = 3 * time.Second
	s := open(t, ray.Config{Address: proxy.Address(), CallTimeout: timeout})
	proxy.Delay(3 * time.Millisecond) // for each 32 KiB
	const size = 48 << 20
	began := time.Now()
	put := make(chan error, 1)
	var ref *ray.ObjectRef
	go func() {
		var err error
		ref, err = s.Put(context.Background(), make([]byte, size))
		put <- err
	}()
	waitFor(t, "the large value to be under way", func() bool { return s.Stats().Outstanding > 0 })
	// A small request waits for its turn behind the large one.
	if err := s.Ping(context.Background()); err != nil {
		t.Errorf("behind a large value: %v", err)
	}
	if err := <-put; err != nil {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("the way is not slow enough to show anything: %v", took)
	}
	// What was put comes by a call of its own, a result on the data channel.
	result, err := s.Submit(context.Background(), function("echo"), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []*ray.ObjectRef{ref, result} {
		if v, err := s.Get(context.Background(), ref); err != nil || len(v.([]byte)) != size {
			t.Errorf("%v", err)
		}
	}
	proxy.Delay(0)

	slow, err := s.Submit(context.Background(), function("sleep_then"), 5, "value")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), slow); !errors.Is(err, ray.ErrGetTimeout) || !errors.Is(err, ray.ErrCallTimeout) {
		t.Errorf("%v", err)
	}
	if v, err := s.Get(deadline(t), slow); err != nil || v != "value" {
		t.Errorf("%v, %v", v, err)
	}
}

// A direct call without a deadline ends by CallTimeout, and so does the wait for an item of a stream, however long the stream.
func TestEveryDirectCallHasADeadline(t *testing.T) {
	x := directly(t, ray.DirectOptions{CallTimeout: time.Second})
	x.actor(t, "Slow", 0)
	ctx := context.Background()
	late := func(err error) bool {
		return errors.Is(err, ray.ErrCallTimeout) && errors.Is(err, context.DeadlineExceeded) && ray.SentOf(err) == ray.SentMaybe
	}
	if _, err := x.call(ctx, "Slow", "sleep", 3); !late(err) {
		t.Errorf("a method that takes longer: %v", err)
	}
	if _, err := x.call(deadline(t), "Slow", "sleep", 1.5); err != nil {
		t.Errorf("with a deadline of its own: %v", err)
	}
	waitFor(t, "what the caller gave up to be over", func() bool { return x.direct.InFlight() == 0 })
}
