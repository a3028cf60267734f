package organism_test

import (
	"testing"

	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// What counts as silence: the same process, probe after probe, without an answer and without work getting done.
func TestWhatCountsAsSilence(t *testing.T) {
	load := func(running, executed int) *ray.ActorLoad {
		return &ray.ActorLoad{Running: running, Executed: executed}
	}
	type probe struct {
		worker string
		missed bool
		load   *ray.ActorLoad
		want   int // missed in a row, after it
	}
	for name, test := range map[string]struct {
		class  string
		probes []probe
	}{
		"a process that stands still": {organism.OrganClass, []probe{{"w", true, nil, 1}, {"w", true, nil, 2}, {"w", true, nil, 3}}},
		"an answer ends it":           {organism.OrganClass, []probe{{"w", true, nil, 1}, {"w", true, nil, 2}, {"w", false, nil, 0}, {"w", true, nil, 1}}},
		"another process":             {organism.OrganClass, []probe{{"w", true, nil, 1}, {"w", true, nil, 2}, {"v", true, nil, 1}}},
		"an agent at work":            {organism.AgentClass, []probe{{"w", true, load(1, 7), 0}, {"w", true, load(1, 7), 0}}},
		"an agent that stands still":  {organism.AgentClass, []probe{{"w", true, nil, 1}, {"w", true, nil, 2}}},
		"an agent stopped at work":    {organism.AgentClass, []probe{{"w", true, load(1, 7), 0}, {"w", true, nil, 1}, {"w", true, nil, 2}}},
		"an organ that hangs":         {organism.OrganClass, []probe{{"w", true, load(1, 7), 1}, {"w", true, load(1, 7), 2}, {"w", true, load(1, 7), 3}}},
		"an organ that is slow":       {organism.OrganClass, []probe{{"w", true, load(1, 7), 1}, {"w", true, load(1, 9), 1}, {"w", true, load(1, 12), 1}}},
		"a singleton slow, then hung": {organism.MwStoreClass, []probe{{"w", true, load(1, 7), 1}, {"w", true, load(1, 9), 1}, {"w", true, load(1, 9), 2}, {"w", true, nil, 3}}},
	} {
		s := organism.NewSilence()
		for i, p := range test.probes {
			if got := s.Probe(test.class, p.worker, p.missed, p.load); got != p.want {
				t.Errorf("%s, probe %d: %d missed in a row, want %d", name, i, got, p.want)
			}
		}
	}
}
