package ray_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// streamed is the way to the actors of these tests, whose methods may be ahead by 16 items.
func streamed(t *testing.T) directSetup {
	x := directly(t, ray.DirectOptions{StreamItems: 16})
	for class, opts := range map[string]ray.ActorOptions{"Streams": {MaxConcurrency: 4}, "AsyncStreams": {MaxConcurrency: 4}} {
		opts.Name, opts.Namespace, opts.NumCPUs = class, x.namespace, 0.1
		if _, err := x.session.CreateActor(deadline(t), pythonClass(t, x.session, class), opts); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func (x directSetup) stream(ctx context.Context, name, method string, args ...any) iter.Seq2[any, error] {
	return x.direct.Stream(ctx, x.namespace, name, method, args...)
}

// made and closed are how far the generators of an actor came: the last one, and how many have ended.
func (x directSetup) made(t *testing.T, name string) (made, closed int64) {
	t.Helper()
	v, err := x.call(deadline(t), name, "state")
	if err != nil {
		t.Fatal(err)
	}
	return v.([]any)[0].(int64), v.([]any)[1].(int64)
}

// collect returns what came before the error.
func collect(items iter.Seq2[any, error]) (values []any, _ error) {
	for v, err := range items {
		if err != nil {
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

func isCount(values []any) bool {
	for i, v := range values {
		if v != int64(i) {
			return false
		}
	}
	return true
}

// refusesStreams reports whether this Ray is one on which streams are untested, and that they are refused there before anything
// is sent.
func (x directSetup) refusesStreams(t *testing.T, name string) bool {
	t.Helper()
	if !raytest.RayBefore(t, "2.60") {
		return false
	}
	wantSent(t, second(collect(x.stream(deadline(t), name, "count", 3))), ray.ErrUnsupportedVersion, ray.SentNo)
	if made, _ := x.made(t, name); made != 0 {
		t.Errorf("%d items were made", made)
	}
	return true
}

func TestStreams(t *testing.T) {
	x := streamed(t)
	if x.refusesStreams(t, "Streams") {
		return
	}
	for _, name := range []string{"Streams", "AsyncStreams"} {
		t.Run(name, func(t *testing.T) { testStreamsOf(t, x, name) })
	}
	t.Run("odd items", func(t *testing.T) { testOddItems(t, x) })
	t.Run("large items are freed", func(t *testing.T) { testLargeItems(t, x) })
	t.Run("a process that dies", func(t *testing.T) {
		values, err := collect(x.stream(deadline(t), "Streams", "dies", 3))
		wantSent(t, err, ray.ErrActorUnavailable, ray.SentMaybe)
		if len(values) != 3 || !isCount(values) {
			t.Errorf("%v", values)
		}
	})
	t.Run("close", func(t *testing.T) { testCloseEndsStreams(t, x) })
}

func testStreamsOf(t *testing.T, x directSetup, name string) {
	ctx := deadline(t)
	const many = 10_000
	values, err := collect(x.stream(ctx, name, "count", many))
	if err != nil || len(values) != many || !isCount(values) {
		t.Errorf("%d items, %v", len(values), err)
	}
	if values, err := collect(x.stream(ctx, name, "count", 0)); err != nil || len(values) != 0 {
		t.Errorf("no items: %v, %v", values, err)
	}

	values, err = collect(x.stream(ctx, name, "fails", 3))
	remote, ok := errors.AsType[*ray.TaskError](err)
	if !ok || remote.Class != "ValueError" || remote.Message != "in the middle" || len(values) != 3 || !isCount(values) {
		t.Errorf("%v, %v", values, err)
	}
	if _, err := collect(x.stream(ctx, name, "plain")); !errors.As(err, &remote) || !strings.Contains(remote.Message, "must return a generator") {
		t.Errorf("a method that returns a value: %v", err)
	}
	wantSent(t, second(collect(x.stream(ctx, name, "nope"))), ray.ErrNoSuchMethod, ray.SentNo)
	wantSent(t, second(collect(x.stream(ctx, "nobody", "count", 1))), ray.ErrActorNotFound, ray.SentNo)
	wantSent(t, second(collect(x.stream(ctx, name, "count", make(chan int)))), ray.ErrUnsupportedValue, ray.SentNo)

	// The method waits for a caller that is slow, and stops for one that leaves.
	_, before := x.made(t, name)
	n := int64(0)
	for v, err := range x.stream(ctx, name, "count", 1_000_000) {
		if err != nil || v != n {
			t.Fatalf("item %d: %v, %v", n, v, err)
		}
		if n++; n == 100 {
			waitFor(t, "the method to be ahead", func() bool { made, _ := x.made(t, name); return made > n+8 })
			// Before it hears that nobody waits any more.
			if made, _ := x.made(t, name); made > n+16+1 {
				t.Errorf("the method made %d items for a caller who took %d", made, n)
			}
			break
		}
	}
	waitFor(t, "the method to stop", func() bool { _, closed := x.made(t, name); return closed == before+1 })
	waitFor(t, "the call to end", func() bool { return x.direct.InFlight() == 0 })

	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	n = 0
	for _, err := range x.stream(ended, name, "count", 1_000_000) {
		if n++; n == 50 {
			cancel()
		}
		if err != nil {
			wantSent(t, err, context.Canceled, ray.SentMaybe)
		}
	}
	waitFor(t, "the method to stop", func() bool { _, closed := x.made(t, name); return closed == before+2 })
	wantSent(t, second(collect(x.stream(ended, name, "count", 1))), context.Canceled, ray.SentNo)
	waitFor(t, "the call to end", func() bool { return x.direct.InFlight() == 0 })
}

func testOddItems(t *testing.T, x directSetup) {
	var values []any
	for v, err := range x.stream(deadline(t), "Streams", "odd") {
		if item, ok := errors.AsType[*ray.ItemError](err); ok {
			if item.Index != int64(len(values)) || !errors.Is(err, ray.ErrUnsupportedValue) || !strings.Contains(err.Error(), "it was dropped") {
				t.Error(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		values = append(values, v)
	}
	if len(values) != 6 || values[0] != int64(1) || values[1] != nil || values[5] != int64(2) {
		t.Errorf("%v", values)
	}
	values, err := collect(x.stream(deadline(t), "Streams", "unsendable"))
	if _, ok := errors.AsType[*ray.TaskError](err); !ok || len(values) != 1 {
		t.Errorf("%v, %v", values, err)
	}
}

func testLargeItems(t *testing.T, x directSetup) {
	ctx := deadline(t)
	if _, err := x.session.CreateActor(ctx, pythonClass(t, x.session, "Store"), ray.ActorOptions{Name: "store", Namespace: x.namespace, NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		v, err := x.call(ctx, "store", "used")
		if err != nil {
			t.Fatal(err)
		}
		return v.(int64)
	}
	const size = 5 << 20
	before := used()
	refused := 0
	for _, err := range x.stream(ctx, "Streams", "count", 10, size) {
		if _, ok := errors.AsType[*ray.ItemError](err); !ok {
			t.Fatal(err)
		}
		refused++
	}
	for _, err := range x.stream(ctx, "Streams", "count", 100, size) {
		if _, ok := errors.AsType[*ray.ItemError](err); !ok {
			t.Error(err)
		}
		break
	}
	waitFor(t, "items to be freed", func() bool { return used() < before+size })
	if refused != 10 {
		t.Errorf("%d items were refused", refused)
	}
}

func testCloseEndsStreams(t *testing.T, x directSetup) {
	next, stop := iter.Pull2(x.stream(context.Background(), "AsyncStreams", "count", 1_000_000))
	defer stop()
	if v, err, ok := next(); v != int64(0) || err != nil || !ok {
		t.Fatal(v, err, ok)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := x.direct.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close with a stream under way: %v", err)
	}
	for {
		_, err, ok := next()
		if !ok {
			t.Fatal("the stream ended without an error")
		}
		if err != nil {
			wantSent(t, err, ray.ErrClosed, ray.SentMaybe)
			break
		}
	}
	wantSent(t, second(collect(x.stream(t.Context(), "AsyncStreams", "count", 1))), ray.ErrClosed, ray.SentNo)
}

// A session cannot stream, and says so.
func TestAClientStreamsDirectlyOrNotAtAll(t *testing.T) {
	x := streamed(t)
	c := ray.NewClient(x.session, x.gcs, x.direct, nil)
	want := int64(3)
	if x.refusesStreams(t, "Streams") {
		want = 0
		wantSent(t, second(collect(c.Stream(deadline(t), x.namespace, "Streams", "count", 3))), ray.ErrUnsupportedVersion, ray.SentNo)
	} else if values, err := collect(c.Stream(deadline(t), x.namespace, "Streams", "count", 3)); err != nil || len(values) != 3 {
		t.Errorf("%v, %v", values, err)
	}
	for _, without := range []*ray.Client{c.WithDirect(ray.DirectOff), ray.NewClient(x.session, x.gcs, nil, ray.ErrUnsupportedVersion)} {
		err := second(collect(without.Stream(deadline(t), x.namespace, "Streams", "count", 3)))
		wantSent(t, err, ray.ErrNoStreaming, ray.SentNo)
	}
	if made, _ := x.made(t, "Streams"); made != want {
		t.Errorf("%d items were made", made)
	}
}
