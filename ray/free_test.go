package ray_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func testResultsInTheObjectStore(t *testing.T, x directSetup) {
	ctx := deadline(t)
	class, err := x.session.PythonClass(ctx, "drivertest", "Store")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := x.session.CreateActor(ctx, class, ray.ActorOptions{Name: "store", Namespace: x.namespace, NumCPUs: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		t.Helper()
		v, err := x.call(ctx, "store", "used")
		if err != nil {
			t.Fatal(err)
		}
		return v.(int64)
	}
	const size = 10 << 20
	before := used()
	freed := func() bool { return used() < before+size }
	for range 5 {
		err := second(x.call(ctx, "store", "blob", size))
		wantSent(t, err, ray.ErrUnsupportedValue, ray.SentYes)
		if !strings.Contains(err.Error(), "it was dropped") {
			t.Error(err)
		}
	}
	waitFor(t, "results to be freed", freed)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	wantSent(t, second(x.call(short, "store", "slow_blob", size)), context.DeadlineExceeded, ray.SentMaybe)
	waitFor(t, "the given up call to end", func() bool { return x.direct.InFlight() == 0 })
	waitFor(t, "the result of a call that was given up to be freed", freed)

	// A raylet that cannot be reached, which matters where it has to be told.
	worker := x.address(t, "store")
	y := x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(address string) string {
		if address != worker {
			return "127.0.0.1:1"
		}
		return address
	}}, ray.DirectBounds{})
	err = second(y.call(ctx, "store", "blob", size))
	wantSent(t, err, ray.ErrUnsupportedValue, ray.SentYes)
	if raytest.RayBefore(t, "2.60") {
		if !strings.Contains(err.Error(), "it was dropped") {
			t.Error(err)
		}
		waitFor(t, "a result to be dropped by the raylet itself", freed)
	} else if !strings.Contains(err.Error(), "stays in the object store") || freed() {
		t.Errorf("the result is still there: %v; %v", !freed(), err)
	}
	if err := x.session.Kill(ctx, actor, true); err != nil {
		t.Error(err)
	}
}
