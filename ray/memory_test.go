package ray_test

import (
	"bytes"
	"context"
	"runtime"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

// What was put, passed or got belongs to the program alone: once it drops the value, the session keeps nothing of it, also
// while nothing else is asked of it.
func testLargeValuesDoNotStay(t *testing.T, s *ray.Session) {
	const size, margin = 64 << 20, 16 << 20
	ctx := deadline(t)
	// A small value, so that nothing of earlier tests is in the way. No ref is released before the end: what is sent for that
	// would make the session forget the request before it.
	small := must(t)(s.Put(ctx, 1))
	defer small.Release()
	if err := second(s.Get(ctx, small)); err != nil {
		t.Fatal(err)
	}
	base := inUse()
	gone := func(what string) {
		t.Helper()
		waitFor(t, "the memory of "+what, func() bool { return inUse() < base+margin })
	}
	ref := must(t)(s.Put(ctx, make([]byte, size)))
	defer ref.Release()
	gone("a put")
	checkSize(ctx, t, s, ref, size)
	gone("a get")
	result := must(t)(s.Submit(ctx, function("echo"), bytes.Repeat([]byte("x"), size)))
	defer result.Release()
	gone("an argument")
	checkSize(ctx, t, s, result, size)
	gone("a result")
}

// checkSize gets a value and drops it.
func checkSize(ctx context.Context, t *testing.T, s *ray.Session, ref *ray.ObjectRef, size int) {
	t.Helper()
	v, err := s.Get(ctx, ref)
	if got, ok := v.([]byte); err != nil || !ok || len(got) != size {
		t.Fatalf("%d bytes came; %v", len(got), err)
	}
}

// inUse returns the bytes on the heap that something leads to.
func inUse() uint64 {
	runtime.GC()
	runtime.GC() // what pools have is freed by the second
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}
