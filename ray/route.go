package ray

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// firstPoll and slowestPoll bound how often the GCS is asked for an actor that is not up yet.
const firstPoll, slowestPoll = 50 * time.Millisecond, 500 * time.Millisecond

// route is the way to one named actor: where it runs, the search for that, or why it cannot be reached. At most one
// search is under way, whoever waits for it. Direct.mu guards all of it.
type route struct {
	key     actorKey
	calls   int   // under way, those included that were given up
	bytes   int64 // of their arguments
	target  *target
	search  *search
	verdict *verdict
	lost    *corepb.ActorTableData // of a target that was forgotten, for the search that follows
	used    *list.Element          // in Direct.used
}

// search is one look for where an actor runs. It waits for an actor that is not up for as long as somebody waits for it, and
// for one that refuses connections until it can be judged.
type search struct {
	recheck bool          // of what could not be reached; nobody waits for it
	done    chan struct{} // closed when the search is over

	waiters int                    // guarded by Direct.mu
	seen    *corepb.ActorTableData // what the GCS said last; written by the search, guarded by Direct.mu
	refusal error                  // by the process that the GCS reports as alive, if it refuses; guarded by Direct.mu
	err     error                  // why nothing was found; set before done is closed
}

// verdict says that an actor cannot be reached, or the GCS, until it is tried again.
type verdict struct {
	err   error
	pause time.Duration
	next  time.Time
}

// errUnwanted ends a search that nobody waits for any more.
var errUnwanted = errors.New("nobody waits for the actor")

// route returns the way to an actor, a new one if need be; d.mu is held.
func (d *Direct) route(key actorKey) (*route, error) {
	if r := d.routes[key]; r != nil {
		return r, nil
	}
	if len(d.routes) >= d.bounds.actors {
		oldest := d.oldestIdle()
		if oldest == nil {
			return nil, &OverloadedError{"actors", int64(d.bounds.actors), int64(len(d.routes)), 1}
		}
		d.evict(oldest)
	}
	r := &route{key: key}
	d.routes[key] = r
	r.used = d.used.PushBack(r)
	return r, nil
}

// idle tells that there are neither calls nor a search; Direct.mu is held.
func (r *route) idle() bool { return r.calls == 0 && r.search == nil }

// oldestIdle returns the idle route that was used least recently, nil if there is none; d.mu is held.
func (d *Direct) oldestIdle() *route {
	for e := d.used.Front(); e != nil; e = e.Next() {
		if r := e.Value.(*route); r.idle() {
			return r
		}
	}
	return nil
}

// evict forgets a route that is idle; d.mu is held.
func (d *Direct) evict(r *route) {
	d.used.Remove(r.used)
	delete(d.routes, r.key)
	if t := r.target; t != nil {
		t.forgotten = true
		t.close() // it has no users
	}
}

// park notes when a route was used last; d.mu is held. It follows what may make a route idle.
func (d *Direct) park(r *route) {
	if r.idle() {
		d.used.MoveToBack(r.used)
	}
}

// acquire returns where the actor runs, and counts the caller among its users. It waits while the actor is not up. detour: the
// caller has another way.
func (d *Direct) acquire(a allowance, r *route, detour bool) (*target, error) {
	for {
		if err := a.ended(); err != nil {
			return nil, err
		}
		d.mu.Lock()
		if d.ctx.Err() != nil {
			d.mu.Unlock()
			return nil, ErrClosed
		}
		if t := r.target; t != nil {
			t.users++
			d.mu.Unlock()
			return t, nil
		}
		if v := cmp.Or(r.verdict, d.noGCS); v != nil {
			if now := time.Now(); r.search == nil && !now.Before(v.next) {
				v.next = now.Add(v.pause) // one tries at a time
				d.start(r, true)
			}
			d.mu.Unlock()
			return nil, v.err
		}
		s := r.search
		if s == nil {
			s = d.start(r, false)
		}
		s.waiters++
		d.mu.Unlock()
		if err := d.await(a, s, detour); err != nil {
			return nil, err
		}
	}
}

// await waits for the end of a search, as one of those who wait for it. It returns nil when it is worth looking at the route
// again.
func (d *Direct) await(a allowance, s *search, detour bool) error {
	ctx, cancel := a.context()
	defer cancel()
	err := d.outcome(ctx, s, detour)
	d.mu.Lock()
	defer d.mu.Unlock()
	s.waiters--
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) && s.seen != nil && s.seen.GetState() != corepb.ActorTableData_ALIVE {
		err = unavailable(s.seen, "still "+s.seen.GetState().String(), err)
	}
	return err
}

// outcome waits for what a search comes to. Who has another way (detour) waits no longer for a process that refuses
// connections when half of the time is over: the other half is for that way.
func (d *Direct) outcome(ctx context.Context, s *search, detour bool) error {
	var half <-chan time.Time
	if by, ok := ctx.Deadline(); ok && detour {
		timer := time.NewTimer(time.Until(by) / 2)
		defer timer.Stop()
		half = timer.C
	}
	for {
		select {
		case <-half: // once
			d.mu.Lock()
			refusal := s.refusal
			d.mu.Unlock()
			if refusal != nil {
				return refusal
			}
		case <-s.done:
			if errors.Is(s.err, errUnwanted) {
				return nil
			}
			return s.err
		case <-d.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}

// start begins a search; d.mu is held and d.ctx has not ended.
func (d *Direct) start(r *route, recheck bool) *search {
	s := &search{recheck: recheck, done: make(chan struct{}), seen: r.lost}
	r.search, r.lost = s, nil
	d.background.Go(func() {
		t, err := d.locate(r.key, s)
		d.mu.Lock()
		defer d.mu.Unlock()
		r.search = nil
		d.park(r)
		r.judge(err, d.bounds)
		d.judgeGCS(err)
		if t != nil {
			r.target = t
			d.open.Add(1)
			d.background.Go(func() { d.keep(r, t) })
		}
		s.err = err
		close(s.done)
	})
	return s
}

// judge draws the verdict from the outcome of a search.
func (r *route) judge(err error, bounds directBounds) {
	if !errors.Is(err, ErrUnreachable) {
		r.verdict = nil
		return
	}
	pause := bounds.recheck
	if r.verdict != nil {
		pause = min(2*r.verdict.pause, bounds.slowestRecheck)
	}
	r.verdict = &verdict{err: err, pause: pause, next: time.Now().Add(pause)}
}

// judgeGCS remembers whether the GCS answers, so that not every actor costs a wait of its own; d.mu is held. Targets that
// are known need no GCS.
func (d *Direct) judgeGCS(err error) {
	d.noGCS = nil
	if errors.Is(err, ErrGCSUnavailable) {
		if lookup, ok := errors.AsType[*lookupError](err); ok {
			err = lookup.err // others than its actor are told this, too
		}
		d.noGCS = &verdict{err: err, pause: d.bounds.silentGCS, next: time.Now().Add(d.bounds.silentGCS)}
	}
}

// locate asks the GCS where the actor runs, until it is up, and connects to it.
func (d *Direct) locate(key actorKey, s *search) (*target, error) {
	var worker string
	var since time.Time // when that worker was first seen to refuse a connection
	for delay := firstPoll; ; delay = min(2*delay, slowestPoll) {
		ctx, cancel := context.WithTimeoutCause(d.ctx, d.bounds.lookup, errGCSTimeout)
		data, err := d.gcs.namedActor(ctx, key.namespace, key.name)
		if errors.Is(err, ErrActorNotFound) && s.seen != nil {
			// It had the name a moment ago: the name of a dead actor is free, and why it died is known by its id.
			if last, lastErr := d.gcs.actor(ctx, s.seen.GetActorId()); lastErr == nil && last.GetState() == corepb.ActorTableData_DEAD {
				data, err = last, nil
			}
		}
		cancel()
		if err != nil {
			return nil, d.orClosed(err)
		}
		d.mu.Lock()
		s.seen = data
		d.mu.Unlock()
		var refusal error
		switch data.GetState() {
		case corepb.ActorTableData_DEAD:
			return nil, died(data)
		case corepb.ActorTableData_ALIVE:
			t, err := d.connect(data)
			if !errors.Is(err, ErrUnreachable) {
				return t, d.orClosed(err)
			}
			if id := string(data.GetAddress().GetWorkerId()); id != worker {
				worker, since = id, time.Now()
			}
			if isTimeout(err) {
				return nil, d.unlessDead(data, err)
			}
			if s.recheck || time.Since(since) >= d.bounds.refused {
				return nil, err
			}
			refusal = err
		}
		d.mu.Lock()
		s.refusal = refusal
		unwanted := s.waiters == 0 && refusal == nil
		d.mu.Unlock()
		if unwanted {
			return nil, errUnwanted
		}
		if err := d.pause(d.ctx, delay); err != nil {
			return nil, ErrClosed
		}
	}
}

func (d *Direct) orClosed(err error) error {
	if err != nil && d.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// connect makes a target of a live actor: checked, and with a connection that is up. ErrUnreachable says that there is
// none to be had.
func (d *Direct) connect(data *corepb.ActorTableData) (*target, error) {
	class, err := d.classes.of(d.ctx, data)
	if err != nil {
		return nil, err
	}
	t, err := newTarget(data, class)
	if err != nil {
		return nil, err
	}
	t.credentials, t.dial = d.gcs.credentials, d.gcs.dial
	if d.events != nil {
		t.taskCalls = taskCalls(data, class)
	}
	t.address = d.dialled(net.JoinHostPort(data.GetAddress().GetIpAddress(), strconv.Itoa(int(data.GetAddress().GetPort()))))
	select {
	case d.dials <- struct{}{}:
		defer func() { <-d.dials }()
	case <-d.ctx.Done():
		return nil, ErrClosed
	}
	if err := d.hosts.allow(t.address); err != nil {
		return nil, err
	}
	err = t.connect(d.ctx, d.bounds.dial, d.opts.MaxMessage)
	if d.ctx.Err() == nil {
		d.hosts.report(t.address, err)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// release ends one use.
func (d *Direct) release(t *target) {
	d.mu.Lock()
	last := t.leave()
	d.mu.Unlock()
	if last {
		t.close() // nothing is in flight on it
	}
}

// forget drops a target that is not where the actor runs any more, so that the next call looks the actor up again.
func (d *Direct) forget(r *route, t *target) {
	d.mu.Lock()
	last := false
	if r.target == t {
		r.target, r.lost = nil, t.data
		t.forgotten = true
		last = t.users == 0
	}
	d.mu.Unlock()
	if last {
		t.close()
	}
}

// forgetIdle is forget for a target that nobody uses, and tells whether it was one.
func (d *Direct) forgetIdle(r *route, t *target) bool {
	d.mu.Lock()
	idle := r.target == t && !t.forgotten && t.users == 0
	if idle {
		r.target = nil
		t.forgotten = true
	}
	d.mu.Unlock()
	if idle {
		d.idled.Add(1)
		t.close()
	}
	return idle
}

// keep watches over a target for as long as its connection lives, and ends that when it is not used. When calls wait and nothing comes from there, or a
// caller gave up, it asks the GCS whether the actor is still there; if not, the calls end, and the target is forgotten.
//
// The calls of a target that ends for whatever reason end with its connection, here.
//
// The probes of the operating system end a connection to a host that is gone; they know nothing of a process that was
// replaced while the way to it is silent, or of a middlebox that answers for it. Pings of HTTP/2 would add little.
func (d *Direct) keep(r *route, t *target) {
	defer d.open.Add(-1)
	defer d.owner.drop(t)
	defer t.conn.Close() // before the GCS is told, which may take a while
	var unused <-chan time.Time
	if d.opts.Idle > 0 {
		idle := time.NewTicker(d.opts.Idle)
		defer idle.Stop()
		unused = idle.C
	}
	used := int64(-1) // answers when unused was looked at last
	ticker := time.NewTicker(d.bounds.silence)
	defer ticker.Stop()
	var heard int64
	var asked time.Time
	pause := d.bounds.silence
	lost := t.conn.Done()
	for {
		select {
		case <-t.ctx.Done():
			return
		case <-lost:
			d.forget(r, t)
			lost = nil
			continue
		case <-t.doubted:
			if d.pause(t.ctx, time.Until(asked.Add(doubtPause))) != nil {
				return
			}
		case <-unused:
			if answers := t.heard.Load(); answers != used {
				used = answers
			} else if d.forgetIdle(r, t) {
				return
			}
			continue
		case <-ticker.C:
			d.mu.Lock()
			waiting := t.users > 0
			d.mu.Unlock()
			before := heard
			heard = t.heard.Load()
			if !waiting || heard != before {
				pause = d.bounds.silence
				continue
			}
			if time.Since(asked) < pause {
				continue
			}
			pause = min(2*pause, d.bounds.slowestAsk)
		}
		gone := d.gone(t)
		asked = time.Now()
		if gone != nil {
			d.forget(r, t)
			t.end(gone)
			return
		}
	}
}

// doubtPause is the least time between two questions to the GCS about the same target.
const doubtPause = time.Second

// gone asks the GCS whether the actor still runs where t is. It returns why not; nil also when the GCS does not know.
func (d *Direct) gone(t *target) error {
	data, err := d.gcs.actor(t.ctx, t.data.GetActorId())
	switch {
	case errors.Is(err, ErrActorNotFound):
		return unavailable(t.data, "the GCS does not know it any more", nil)
	case err != nil:
		return nil //nolint:nilerr // without an answer nothing is known against the target
	case data.GetState() == corepb.ActorTableData_DEAD:
		return unavailable(data, "the GCS reports its death: "+deathCause(data.GetDeathCause()), nil)
	case data.GetState() != corepb.ActorTableData_ALIVE:
		return unavailable(data, "the GCS reports it as "+data.GetState().String(), nil)
	case string(data.GetAddress().GetWorkerId()) != string(t.data.GetAddress().GetWorkerId()):
		return unavailable(data, "the GCS reports another process for it", nil)
	}
	return nil
}
