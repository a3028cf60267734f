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

// Probe adds a probe that a process answered or missed; it returns the missed ones in a row.
func (s *Silence) Probe(worker string, missed bool) int {
	s.p.judge(actorSpec{name: "a"}, evidence{missed: missed, process: ray.ActorInfo{WorkerID: worker}}, time.Now())
	if row := s.p.silence["a"]; row != nil {
		return row.missed
	}
	return 0
}

// TooMany tells whether no actor is killed since so many are silent.
var TooMany = tooMany

// Enter, Meet and Ours drive what an organism knows of the names on its cluster.
func (o *Organism) Enter(session, cluster string) { o.enter(session, cluster) }
func (o *Organism) Meet(name string, err error)   { o.meet(name, err) }
func (o *Organism) Ours(name string) error        { return o.ours(name) }
