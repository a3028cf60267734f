package ray_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seedcore/seedcore/ray"
)

// A pause is anything from nothing to a bound that doubles up to the limit, and all of that is used.
func TestPausesHaveFullJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "limit"))
		first := time.Duration(rapid.Int64Range(0, int64(limit)).Draw(t, "first"))
		bound := first
		for i, pause := range ray.Pauses(first, limit, 70) {
			if pause < 0 || pause > bound {
				t.Fatalf("pause %d is %v; at most %v", i, pause, bound)
			}
			bound = min(2*bound, limit)
		}
	})
	var tenths [10]int
	for range 1000 {
		pauses := ray.Pauses(ray.FirstResumePause, ray.LastResumePause, 6)
		tenths[min(9, pauses[5]*10/ray.LastResumePause)]++
	}
	for i, n := range tenths {
		if n < 40 { // 100 are expected, with a deviation of 9.5
			t.Errorf("%d of 1000 pauses are in tenth %d of the range: %v", n, i, tenths)
		}
	}
	if ray.LastResumePause != time.Second || ray.LastRedialPause != time.Second {
		t.Errorf("the limits are %v and %v", ray.LastResumePause, ray.LastRedialPause)
	}
}

// What is dialled again pauses longer and longer while nothing answers, also when what answers hangs up at once, and begins
// anew after a connection that lasted.
func TestRedialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusal := errors.New("refused")
		var answers error
		dial := ray.Redialing(func(context.Context, string) (net.Conn, error) { return nil, answers })
		attempt := func(want error) time.Duration {
			start := time.Now()
			if _, err := dial(t.Context(), "head:10001"); !errors.Is(err, want) {
				t.Errorf("%v; want %v", err, want)
			}
			return time.Since(start)
		}
		within := func(what string, pause, bound time.Duration) {
			if pause > bound {
				t.Errorf("%s: a pause of %v; at most %v", what, pause, bound)
			}
		}
		if pause := attempt(nil); pause != 0 {
			t.Errorf("the first attempt came after %v", pause)
		}
		for range 200 {
			time.Sleep(2 * ray.LastRedialPause) // the connection lasts
			answers = refusal
			var longest time.Duration
			for bound := ray.FirstRedialPause; bound < ray.LastRedialPause; bound *= 2 {
				within("refused", attempt(refusal), bound)
			}
			for range 20 {
				pause := attempt(refusal)
				within("refused for long", pause, ray.LastRedialPause)
				longest = max(longest, pause)
			}
			answers = nil
			for range 20 { // it is accepted, and hung up at once
				pause := attempt(nil)
				within("hung up", pause, ray.LastRedialPause)
				longest = max(longest, pause)
			}
			if longest < ray.LastRedialPause/2 { // the odds are one in 2^40
				t.Errorf("of 40 pauses the longest was %v", longest)
			}
		}
		answers = refusal
		attempt(refusal)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := dial(ctx, "head:10001"); !errors.Is(err, context.Canceled) {
			t.Errorf("after its end: %v", err)
		}
	})
}
