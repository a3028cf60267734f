package organism

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

const (
	// silentAfter is how many probes in a row an actor has to miss to be called silent: one answer may be late.
	silentAfter = 2
	// killAfter is how many it has to miss to be killed, however short Options.UnresponsiveAfter is.
	killAfter = 3
)

// prober asks every configured actor for an answer again and again, for the life of one session. Actors that do not
// answer are told in Health; one that goes on not to is killed by name, so that Ray starts it again.
//
// A kill needs evidence against that very process: while the connection is not fully up, where there is no GCS to tell
// which process it is, and while most actors are silent at once, it is more likely the way to them that is broken.
type prober struct {
	*keeper
	silence  map[string]*silence // by name; owned by run
	lastKill time.Time
	withheld bool // that a kill was held back was told
}

// silence is a row of probes that one process of an actor did not answer.
type silence struct {
	process  ray.ActorInfo
	missed   int
	since    time.Time
	executed int // calls that the process said it had executed; -1: it said nothing
}

// evidence is what one probe found.
type evidence struct {
	missed  bool
	process ray.ActorInfo // that missed it; zero when it is not known
	// load is what the process itself said, besides the actor; nil: nothing.
	load *ray.ActorLoad
}

func newProber(k *keeper) *prober { return &prober{keeper: k, silence: map[string]*silence{}} }

func (p *prober) run(ctx context.Context) {
	defer p.organism.hear(nil)
	specs := append(singletons(), p.organism.config.specs()...)
	for rest(ctx, p.organism.opts.ProbeInterval); ctx.Err() == nil; rest(ctx, p.organism.opts.ProbeInterval) {
		p.round(ctx, specs)
	}
}

// round probes every actor once and acts on what it found.
func (p *prober) round(ctx context.Context, specs []actorSpec) {
	found := make([]evidence, len(specs))
	linked := p.linked()
	start := time.Now()
	_ = each(len(specs), asksAtOnce, func(i int) error { // a probe has evidence, not an error
		if linked && ctx.Err() == nil {
			found[i] = p.probe(ctx, specs[i])
		}
		return nil
	})
	if ctx.Err() != nil {
		return
	}
	if !linked || !p.linked() {
		clear(p.silence) // what was missed meanwhile says nothing about the actors
		p.organism.hear(nil)
		return
	}
	silent := map[string]string{}
	for i, spec := range specs {
		p.judge(spec, found[i], start)
		if s := p.silence[spec.name]; s != nil && s.missed >= silentAfter {
			silent[spec.name] = fmt.Sprintf("%s %s has not answered since %s", spec.class, spec.name, s.since.UTC().Format(time.TimeOnly))
		}
	}
	p.organism.hear(silent)
	p.end(ctx, len(specs))
}

// linked tells whether both links answer.
func (p *prober) linked() bool {
	info := p.organism.conn.Info()
	return info.Epoch == p.epoch && info.State == connector.StateConnected
}

// probe asks an actor for its answer. An actor that is not there or just starts is the keeper's concern.
func (p *prober) probe(ctx context.Context, spec actorSpec) evidence {
	_, err := p.ping(ctx, spec, p.organism.opts.CallTimeout)
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ray.ErrUnreachable) {
		return evidence{}
	}
	gcs := p.client().GCS()
	if gcs == nil {
		return evidence{missed: true}
	}
	ctx, cancel := context.WithTimeout(ctx, p.organism.opts.CallTimeout)
	defer cancel()
	info, err := gcs.NamedActor(ctx, p.namespace, spec.name)
	if err != nil || info.State != ray.ActorAlive || info.Class != spec.class {
		return evidence{}
	}
	e := evidence{missed: true, process: info}
	if load, err := gcs.ActorLoad(ctx, info); err == nil {
		e.load = &load
	}
	return e
}

// judge adds what a probe found to the silence of an actor, or ends it.
func (p *prober) judge(spec actorSpec, e evidence, now time.Time) {
	s := p.silence[spec.name]
	if !e.missed || e.load != nil && spec.class == AgentClass && e.load.Running > 0 {
		delete(p.silence, spec.name) // it answered, or is an agent at work: only one that tasks may keep busy for long
		return
	}
	executed := -1
	if e.load != nil {
		executed = e.load.Executed
	}
	if s == nil || s.process.WorkerID != e.process.WorkerID || executed > s.executed && s.executed >= 0 {
		s = &silence{process: e.process, since: now} // another process, or one that gets its work done, if slowly
		p.silence[spec.name] = s
	}
	s.missed++
	s.executed = executed
}

// end kills the actor that has been silent for longest, if there is reason enough. It kills one at a time, and not again
// for as long as an actor has to be silent.
func (p *prober) end(ctx context.Context, actors int) {
	patience := p.organism.opts.UnresponsiveAfter
	var due []string
	for name, s := range p.silence {
		if s.missed >= killAfter && time.Since(s.since) >= patience && s.process.WorkerID != "" {
			due = append(due, name)
		}
	}
	if patience < 0 || len(due) == 0 || time.Since(p.lastKill) < patience {
		return
	}
	if len(p.silence) > 1 && 2*len(p.silence) > actors {
		if !p.withheld {
			p.log.Warn("most actors do not answer: no actor is killed, for it is likely the way to them", "silent", len(p.silence), "actors", actors)
		}
		p.withheld = true
		return
	}
	p.withheld = false
	name := slices.MinFunc(due, func(a, b string) int { return p.silence[a].since.Compare(p.silence[b].since) })
	s := p.silence[name]
	attrs := []any{"name", name, "class", s.process.Class, "pid", s.process.PID, "node_id", s.process.NodeID, "probes_missed", s.missed, "silent_since", s.since}
	p.lastKill = time.Now()
	if err := p.kill(ctx, s.process); err != nil {
		p.log.Warn("an actor that does not answer could not be killed", append(attrs, "error", err)...)
		return
	}
	delete(p.silence, name)
	p.log.Warn("killed an actor that does not answer; Ray starts it again", attrs...)
}

// kill ends the process of an actor, unless another one has the name by now.
func (p *prober) kill(ctx context.Context, process ray.ActorInfo) error {
	ctx, cancel := context.WithTimeout(ctx, p.organism.opts.CallTimeout)
	defer cancel()
	gcs, session := p.client().GCS(), p.client().Session()
	if gcs == nil {
		return ErrNoGCS
	}
	now, err := gcs.NamedActor(ctx, p.namespace, process.Name)
	if err != nil {
		return err
	}
	if now.WorkerID != process.WorkerID || now.State != ray.ActorAlive {
		return fmt.Errorf("it is another process by now, %s", now.State)
	}
	handle, err := session.GetActor(ctx, process.Name, p.namespace)
	if err != nil {
		return err
	}
	defer handle.Release()
	if handle.ID() != process.ID {
		return errors.New("it is another actor by now")
	}
	if err := session.Kill(ctx, handle, false); err != nil {
		return err
	}
	p.organism.mu.Lock()
	defer p.organism.mu.Unlock()
	p.organism.killed++
	return nil
}
