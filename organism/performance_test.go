package organism_test

import (
	"math/rand/v2"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func TestRecordFollowsTheFormulas(t *testing.T) {
	p := organism.NewPerformance()
	for i, step := range []struct {
		outcome              organism.Outcome
		c, score, memUtil, u float64
	}{
		{organism.Outcome{Success: true, Quality: 0.9, MemHits: 3}, 0.546, 0.5874, 0.3, 0.3},
		{organism.Outcome{Success: false, Quality: 0.6, MemHits: 0}, 0.5154, 0.52386, 0.27, 0.27},
		{organism.Outcome{Success: true, Quality: 0.8, MemHits: 5}, 0.55586, 0.570940667, 0.743, 0.743},
	} {
		p.Begin(0.5)
		p.Record(step.outcome)
		if !near(p.Capability, step.c, 1e-9) || !near(p.CapabilityScore, step.score, 1e-9) ||
			!near(p.MemUtil, step.memUtil, 1e-9) || !near(p.MemHits, step.u, 1e-9) {
			t.Errorf("after task %d: %+v, want %+v", i+1, p, step)
		}
	}
	if p.Tasks != 3 || p.Successes != 2 || p.LatestQuality() != 0.8 {
		t.Errorf("the counts are %+v", p)
	}
}

func TestBeginRaisesMemUtilWhileATaskRuns(t *testing.T) {
	p := organism.NewPerformance()
	p.Begin(0.5)
	if !near(p.MemUtil, 0.05, 1e-12) || p.MemHits != 0 {
		t.Errorf("after one task began: %+v", p)
	}
	p.Begin(1e9)
	if p.MemUtil != 1 {
		t.Errorf("mem_util is %v, want the bound 1", p.MemUtil)
	}
	p.Record(organism.Outcome{})
	if p.MemUtil != 0 {
		t.Errorf("mem_util is %v, want the measured 0", p.MemUtil)
	}
}

func TestNewPerformance(t *testing.T) {
	p := organism.NewPerformance()
	if p.Capability != 0.5 || p.CapabilityScore != 0.5 || p.SuccessRate() != 0 || p.AverageQuality() != 0 || p.LatestQuality() != 0 {
		t.Errorf("got %+v", p)
	}
}

// Whatever valid outcomes come, the values stay in their bounds and the averages are those of the last 20.
func TestRecordKeepsBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		p := organism.NewPerformance()
		var qualities []float64
		successes := 0
		bias := rng.Float64()
		for n := 1; n <= 200; n++ {
			o := organism.Outcome{Success: rng.Float64() < bias, Quality: rng.Float64(), MemHits: rng.IntN(6)}
			switch rng.IntN(10) {
			case 0:
				o.Quality = 0
			case 1:
				o.Quality = 1
			}
			if o.Success {
				successes++
			}
			qualities = append(qualities, o.Quality)
			p.Begin(rng.Float64() * 20)
			p.Record(o)

			window := qualities[max(0, n-20):]
			sum := 0.0
			for _, q := range window {
				sum += q
			}
			if !near(p.AverageQuality(), sum/float64(len(window)), 1e-12) || !near(p.SuccessRate(), float64(successes)/float64(n), 1e-12) {
				t.Fatalf("task %d: averages %v and %v", n, p.AverageQuality(), p.SuccessRate())
			}
			if len(p.Qualities) != len(window) || p.LatestQuality() != o.Quality || p.Tasks != n {
				t.Fatalf("task %d: kept %d qualities, want %d", n, len(p.Qualities), len(window))
			}
			if p.Capability < 0 || p.Capability > 1 || p.CapabilityScore < 0 || p.CapabilityScore > 1 ||
				p.MemUtil < 0 || p.MemUtil > organism.MaxMemHits || p.MemUtil != p.MemHits {
				t.Fatalf("task %d: out of bounds: %+v", n, p)
			}
		}
	}
}
