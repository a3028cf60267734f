package worker_test

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/seedcore/seedcore/worker"
)

func TestSpansAgreeWithASet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var spans worker.Spans
		set := map[int64]bool{}
		low := int64(0) // all below was passed
		for range 60 {
			n := low + rng.Int64N(24)
			if rng.IntN(3) > 0 {
				spans.Add(n)
				set[n] = true
			} else {
				want := n
				for set[want] {
					want++
				}
				if got := spans.Pass(n); got != want {
					t.Fatalf("Pass(%d) of %v = %d", n, set, got)
				}
				low = want
				maps.DeleteFunc(set, func(k int64, _ bool) bool { return k < low })
			}
			ranges := 0
			for k := low; k < low+26; k++ {
				if spans.Contains(k) != set[k] {
					t.Fatalf("Contains(%d) of %v = %v", k, set, !set[k])
				}
				if set[k] && !set[k-1] {
					ranges++
				}
			}
			if spans.Ranges() != ranges {
				t.Fatalf("%d ranges hold %v", spans.Ranges(), set)
			}
		}
	}
}
