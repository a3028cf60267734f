package ray_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/big"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/python"
)

func testValuesSurviveTheRoundTrip(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	for name, pair := range map[string]struct{ in, out any }{
		"nil":         {nil, nil},
		"bool":        {true, true},
		"int":         {-7, int64(-7)},
		"small":       {int8(-1), int64(-1)},
		"max":         {math.MaxInt64, int64(math.MaxInt64)},
		"min":         {math.MinInt64, int64(math.MinInt64)},
		"unsigned":    {uint64(math.MaxUint64), uint64(math.MaxUint64)},
		"big":         {new(big.Int).Lsh(big.NewInt(-3), 100), new(big.Int).Lsh(big.NewInt(-3), 100)},
		"float":       {2.5, 2.5},
		"infinity":    {math.Inf(1), math.Inf(1)},
		"string":      {"gr\u00fc\u00df \U0001f600", "gr\u00fc\u00df \U0001f600"},
		"bytes":       {[]byte{0, 255}, []byte{0, 255}},
		"empty bytes": {[]byte{}, []byte{}},
		"list":        {[]any{1, "x", nil}, []any{int64(1), "x", nil}},
		"strings":     {[]string{"a", "b"}, []any{"a", "b"}},
		"map":         {map[string]any{"k": []any{}}, map[string]any{"k": []any{}}},
		"empty":       {map[string]any{}, map[string]any{}},
		"numbers":     {map[string]float64{"x": 1}, map[string]any{"x": 1.0}},
	} {
		ref, err := s.Put(ctx, pair.in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v, err := s.Get(ctx, ref)
		if err != nil || !reflect.DeepEqual(v, pair.out) {
			t.Errorf("%s: %#v became %#v, %v", name, pair.in, v, err)
		}
	}
	oddities, err := s.Submit(ctx, function("oddities"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"tuple": []any{int64(1), "a"}, "set": []any{int64(7)}, "big": uint64(math.MaxUint64), "bytearray": []byte("xy"), "keys": map[any]any{int64(1): "one"},
	}
	if v, err := s.Get(ctx, oddities); !reflect.DeepEqual(v, want) {
		t.Errorf("%#v, %v", v, err)
	}
}

func testValuesWithoutFormAreRefused(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	loop := []any{nil}
	loop[0] = loop
	released, err := s.Put(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	released.Release()
	released.Release()
	before := s.Stats().Requests
	for name, v := range map[string]any{
		"channel":      make(chan int),
		"error":        []any{errors.New("x")},
		"opaque":       struct{ a int }{1},
		"instance":     &python.Object{Class: "os._exit", Args: []any{int64(1)}},
		"global":       python.Global{Module: "os", Name: "getcwd"},
		"no such date": python.Date{Year: 2026, Month: 2, Day: 30},
		"no number":    python.Decimal("1,5"),
		"unhashable":   python.Set{[]any{1}},
		"bad key":      python.Dict{{Key: map[string]any{}, Value: 1}},
		"nanoseconds":  time.Unix(1, 1),
		"far away":     time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"bad array":    &python.Array{DType: "<f8", Shape: []int{2}, Data: make([]byte, 8)},
		"object array": &python.Array{DType: "|O8", Shape: []int{1}, Data: make([]byte, 8)},
		"not utf-8":    "\xff",
		"key":          map[string]any{"\xff": 1},
		"deep key":     []any{map[string]string{"a": "\xff"}},
		"loop":         loop,
		"too large":    slices.Repeat([]any{make([]byte, 1<<20)}, ray.MaxObjectSize>>20+1),
	} {
		for what, err := range map[string]error{"put": second(s.Put(ctx, v)), "argument": second(s.Submit(ctx, function("echo"), "fine", v))} {
			if !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo || strings.Count(err.Error(), "unsupported value") != 1 {
				t.Errorf("%s as %s: %.200v", name, what, err)
			}
		}
	}
	if err := second(s.Put(ctx, []any{released})); !errors.Is(err, ray.ErrReleased) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a released ref: %v", err)
	}
	if err := second(s.Get(ctx, released)); !errors.Is(err, ray.ErrReleased) {
		t.Errorf("get of a released ref: %v", err)
	}
	// Nothing but the function and the release of the ref was sent, and the session is well.
	if sent := s.Stats().Requests - before; sent > 2 {
		t.Errorf("%d requests were sent", sent)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func testLargeValuesTravelInChunks(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	big := pattern(70 << 20)
	told := make(chan ray.Progress, 100)
	watched := ray.WithProgress(ctx, func(p ray.Progress) { told <- p })
	steps := func(upload bool) {
		t.Helper()
		var last ray.Progress
		n := len(told)
		for range n {
			p := <-told
			if p.Upload != upload || p.Done <= last.Done || p.Total < 70<<20 {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		}
		if n < 14 || last.Done != last.Total {
			t.Errorf("%d steps, at last %+v", n, last)
		}
	}
	ref, err := s.Put(watched, big)
	if err != nil {
		t.Fatal(err)
	}
	steps(true)
	v, err := s.Get(watched, ref)
	if err != nil {
		t.Fatal(err)
	}
	steps(false)
	if got, ok := v.([]byte); !ok || !bytes.Equal(got, big) {
		t.Fatalf("70 MiB became a %T of another content", v)
	}
	// What a task returns comes on the data channel, the first time.
	result, err := s.Submit(ctx, function("echo"), ref)
	if err != nil {
		t.Fatal(err)
	}
	v, err = s.Get(watched, result)
	if err != nil {
		t.Fatal(err)
	}
	steps(false)
	if got, ok := v.([]byte); !ok || !bytes.Equal(got, big) {
		t.Fatalf("70 MiB became a %T of another content", v)
	}
	// As an argument, too.
	sum, err := s.Submit(ctx, ray.Function{Module: "drivertest", Name: "length"}, big[:12<<20])
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, sum); v != int64(12<<20) {
		t.Errorf("length: %v, %v", v, err)
	}
}

func testGetsOfOneRefShareATransfer(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	ref, err := s.Submit(ctx, function("sleep_then"), 1, []byte("the value"))
	if err != nil {
		t.Fatal(err)
	}
	before := s.Stats().Requests
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := second(s.Get(short, ref)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("get with a short deadline: %v", err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			v, err := s.Get(ctx, ref)
			b, ok := v.([]byte)
			if !ok || string(b) != "the value" {
				t.Errorf("%v, %v", v, err)
				return
			}
			clear(b) // everyone has a copy
		})
	}
	wg.Wait()
	if n := s.Stats().Requests - before; n > 4 { // among them releases of what other tests left
		t.Errorf("%d requests for one value", n)
	}
}

func testRefsInValues(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	outer, err := s.Submit(ctx, function("nested"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.Get(ctx, outer)
	if err != nil {
		t.Fatal(err)
	}
	inner := v.(map[string]any)["refs"].([]any)[0].(*ray.ObjectRef)
	if v, err := s.Get(ctx, inner); v != "inner" {
		t.Errorf("%v, %v", v, err)
	}
	passed, err := s.Submit(ctx, function("unwrap"), map[string]any{"ref": inner})
	if err != nil {
		t.Fatal(err)
	}
	inner.Release()
	if v, err := s.Get(ctx, passed); v != "inner" {
		t.Errorf("a ref released right after its use: %v, %v", v, err)
	}
	// The same ref comes back alive however often it was released meanwhile.
	for range 5 {
		v, err := s.Get(ctx, outer)
		if err != nil {
			t.Fatal(err)
		}
		again := v.(map[string]any)["refs"].([]any)[0].(*ray.ObjectRef)
		passed, err := s.Submit(ctx, function("unwrap"), map[string]any{"ref": again})
		if err != nil {
			t.Fatal(err)
		}
		again.Release()
		if v, err := s.Get(ctx, passed); v != "inner" {
			t.Errorf("%v, %v", v, err)
		}
		time.Sleep(60 * time.Millisecond) // lets the releases fall before, between and behind the gets
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

func TestRefsAreReleasedAtTheServer(t *testing.T) {
	s := open(t, ray.Config{})
	ctx := deadline(t)
	kept, err := s.Put(ctx, pattern(200<<10))
	if err != nil {
		t.Fatal(err)
	}
	var gone []string
	for range 3 {
		ref, err := s.Put(ctx, pattern(200<<10))
		if err != nil {
			t.Fatal(err)
		}
		gone = append(gone, ref.ID())
		ref.Release()
	}
	func() { // dropped, not released
		ref, err := s.Put(ctx, pattern(200<<10))
		if err != nil {
			t.Fatal(err)
		}
		gone = append(gone, ref.ID())
	}()
	waitFor(t, "the garbage collector and the releases", func() bool {
		runtime.GC()
		return s.Stats().Refs == 1
	})
	// What Ray itself knows: the references of every worker, this session's process among them.
	var known string
	waitFor(t, "Ray to let go", func() bool {
		known = raytest.Python(t, `
import os
from ray._private.internal_api import memory_summary
print(memory_summary(address=os.environ["ADDRESS"], stats_only=False))`, "ADDRESS="+raytest.Head(t).GCSAddress())
		for _, id := range gone {
			if strings.Contains(strings.ToLower(known), id) {
				return false
			}
		}
		return true
	})
	if !strings.Contains(strings.ToLower(known), kept.ID()) {
		t.Errorf("the ref that was kept is not among\n%s", known)
	}
}

func TestARefThatDiedOnTheWayIsNotTaken(t *testing.T) {
	queued, sent, again := ray.Stale()
	if queued || sent || !again {
		t.Errorf("taken while its release was queued: %v, was sent: %v, was before the get: %v", queued, sent, again)
	}
}

// laughs is a value in which every list holds the one below it twice.
func laughs(depth int) any {
	v := &pickle.Shared{Value: []any{"ha"}}
	for range depth {
		v = &pickle.Shared{Value: []any{v, v}}
	}
	return v
}

func TestHostileValuesAreRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"repetitions":  pickled(t, laughs(80)),
		"itself":       []byte("\x80\x05]\x94h\x00a."),
		"itself, dict": []byte("\x80\x05}\x94K\x01h\x00s."),
	} {
		if err := second(ray.GoValue(data)); !errors.Is(err, ray.ErrUnsupportedValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, err := ray.GoValue(pickled(t, laughs(3))); err != nil || len(v.([]any)) != 2 {
		t.Errorf("%v, %v", v, err)
	}
}

func FuzzGoValue(f *testing.F) {
	f.Add(pickled(f, map[string]any{"a": []any{1, 2.5, nil, true, "x", []byte("y")}}))
	f.Add(pickled(f, laughs(5)))
	f.Add([]byte("\x80\x05]\x94h\x00a."))
	stub := pickle.Persistent{ID: pickle.Call{
		Func: pickle.Global{Module: "copyreg", Name: "_reconstructor"},
		Args: pickle.Tuple{
			pickle.Global{Module: "ray.util.client.client_pickler", Name: "PickleStub"},
			pickle.Global{Module: "builtins", Name: "tuple"},
			pickle.Tuple{"Object", "client", []byte("id"), nil, nil},
		},
	}}
	f.Add(pickled(f, []any{stub}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = ray.GoValue(data) // no panic, no memory beyond bounds
	})
}
