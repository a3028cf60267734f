package organism

import (
	"time"

	"github.com/seedcore/seedcore/ray"
)

// The actors' methods as package worker gets them, for tests that bring their own arguments.
var (
	CreateAgent       = agentActor.create
	CallAgent         = agentActor.call
	CreateOrgan       = organActor.create
	CallOrgan         = organActor.call
	CreateMissTracker = missTrackerActor.create
	CallMissTracker   = missTrackerActor.call
	CreateSharedCache = sharedCacheActor.create
	CallSharedCache   = sharedCacheActor.call
	CreateMwStore     = mwStoreActor.create
	CallMwStore       = mwStoreActor.call
)

// Plain is a task as it is sent.
func Plain(t Task) map[string]any { return t.plain() }

// Silence drives the account of one actor's missed probes without a cluster.
type Silence struct{ p *prober }

func NewSilence() *Silence { return &Silence{newProber(nil)} }

// Probe adds a probe that a process answered or missed, and what the process itself said; it returns the missed ones in a row.
func (s *Silence) Probe(class, worker string, missed bool, load *ray.ActorLoad) int {
	s.p.judge(actorSpec{name: "a", class: class}, evidence{missed: missed, process: ray.ActorInfo{WorkerID: worker}, load: load}, time.Now())
	if row := s.p.silence["a"]; row != nil {
		return row.missed
	}
	return 0
}
