package organism

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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
// An actor at work answers, since ping does not wait for its other calls; one that does not answer is a process that does
// not go on, or cannot be reached. A kill needs evidence against that very process: while the connection is not fully up,
// where there is no GCS to tell which process it is, and while half of the actors are silent at once, it is more likely the
// way to them that is broken. Actors that this organism did not meet are not asked.
type prober struct {
	*keeper
	silence  map[string]*silence // by name; owned by run
	heard    sync.Map            // when each was last heard, a time.Time by name
	lastKill time.Time
	killed   string // the process that was killed last: that may take several seconds, and be tried again
	withheld bool   // that a kill was held back was told
}

// silence is a row of probes that one process of an actor did not answer.
type silence struct {
	process ray.ActorInfo
	missed  int
	since   time.Time
}

// evidence is what one probe found.
type evidence struct {
	missed  bool
	process ray.ActorInfo // that missed it; zero when it is not known
}

func newProber(k *keeper) *prober { return &prober{keeper: k, silence: map[string]*silence{}} }

func (p *prober) run(ctx context.Context) {
	defer p.organism.hear(nil)
	specs := append(singletons(), p.organism.config.specs()...)
	ticker := time.NewTicker(p.organism.opts.ProbeInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			p.round(ctx, specs)
		case <-ctx.Done():
			return
		}
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
			last, ok := p.heard.Load(spec.name)
			since, _ := last.(time.Time)
			if !ok || since.After(s.since) {
				since = s.since
			}
			silent[spec.name] = fmt.Sprintf("%s %s has not answered since %s", spec.class, spec.name, since.UTC().Format(time.TimeOnly))
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

// probe asks an actor for its answer. An actor that is not there, just starts, or was not met is the keeper's concern.
func (p *prober) probe(ctx context.Context, spec actorSpec) evidence {
	id, ours := p.knows(spec.name)
	if !ours {
		return evidence{}
	}
	_, err := p.ping(ctx, spec, p.organism.opts.CallTimeout)
	if err == nil {
		p.heard.Store(spec.name, time.Now())
	}
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ray.ErrUnreachable) {
		return evidence{}
	}
	gcs := p.client.GCS()
	if gcs == nil {
		return evidence{missed: true}
	}
	ctx, cancel := context.WithTimeout(ctx, p.organism.opts.CallTimeout)
	defer cancel()
	info, err := gcs.NamedActor(ctx, p.namespace, spec.name)
	if err != nil || info.State != ray.ActorAlive || info.ID != id {
		return evidence{}
	}
	return evidence{missed: true, process: info}
}

// judge adds what a probe found to the silence of an actor, or ends it.
func (p *prober) judge(spec actorSpec, e evidence, now time.Time) {
	s := p.silence[spec.name]
	if !e.missed {
		delete(p.silence, spec.name)
		return
	}
	if s == nil || s.process.WorkerID != e.process.WorkerID {
		s = &silence{process: e.process, since: now} // what another process missed says nothing about this one
		p.silence[spec.name] = s
	}
	s.missed++
}

// end kills the actor that has been silent for longest, if there is reason enough. It kills one at a time, and tries no
// other one for as long as an actor has to be silent.
func (p *prober) end(ctx context.Context, actors int) {
	patience := p.organism.opts.UnresponsiveAfter
	var due []string
	for name, s := range p.silence {
		if s.missed >= killAfter && time.Since(s.since) >= patience && s.process.WorkerID != "" && !p.mayBeBusy(s.process) {
			due = append(due, name)
		}
	}
	if patience < 0 || len(due) == 0 || time.Since(p.lastKill) < patience {
		return
	}
	if tooMany(len(p.silence), actors) {
		if !p.withheld {
			p.log.Warn("many actors do not answer: no actor is killed, for it is likely the way to them", "silent", len(p.silence), "actors", actors)
		}
		p.withheld = true
		return
	}
	p.withheld = false
	name := slices.MinFunc(due, func(a, b string) int { return p.silence[a].since.Compare(p.silence[b].since) })
	s := p.silence[name]
	attrs := []any{"name", name, "class", s.process.Class, "pid", s.process.PID, "node_id", s.process.NodeID, "probes_missed", s.missed, "silent_since", s.since}
	p.lastKill = time.Now()
	delete(p.silence, name) // after a try, too, the evidence is gathered anew
	if err := p.kill(ctx, s.process); err != nil {
		p.log.Warn("killing an actor that does not answer failed", append(attrs, "error", err)...)
		return
	}
	p.log.Warn("killed an actor that does not answer; Ray starts it again", attrs...)
}

// tooMany tells whether so many actors are silent at once that it is likely the way to them.
func tooMany(silent, actors int) bool { return silent > 1 && 2*silent >= actors }

// mayBeBusy tells of an agent that another program made: there ping may have to wait for the task.
func (p *prober) mayBeBusy(process ray.ActorInfo) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return process.Class == AgentClass && p.outdated[process.Name]
}

// kill ends the process of an actor, unless another one has the name by now. It counts from when the request may have
// been carried out.
func (p *prober) kill(ctx context.Context, process ray.ActorInfo) error {
	ctx, cancel := context.WithTimeout(ctx, p.organism.opts.CallTimeout)
	defer cancel()
	gcs, session := p.client.GCS(), p.client.Session()
	if gcs == nil {
		return ErrNoGCS
	}
	handle, err := session.GetActor(ctx, process.Name, p.namespace)
	if err != nil {
		return err
	}
	defer handle.Release()
	now, err := gcs.NamedActor(ctx, p.namespace, process.Name) // the last question before, for Ray takes no process to kill
	if err != nil {
		return err
	}
	if handle.ID() != process.ID || now.ID != process.ID || now.WorkerID != process.WorkerID || now.State != ray.ActorAlive {
		return fmt.Errorf("it is another process by now, %s", now.State)
	}
	err = session.Kill(ctx, handle, false)
	if err == nil || ray.SentOf(err) != ray.SentNo {
		if p.killed != process.WorkerID {
			p.killed = process.WorkerID
			p.organism.mu.Lock()
			p.organism.killed++
			p.organism.mu.Unlock()
		}
	}
	return err
}
