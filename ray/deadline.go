package ray

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultCallTimeout is Config.CallTimeout and DirectOptions.CallTimeout where they do not say.
const DefaultCallTimeout = 60 * time.Second

// ErrCallTimeout means: nothing came of a call for as long as CallTimeout allows, and its context has no deadline.
// context.DeadlineExceeded is wrapped as well. The CallError around it says whether the call was sent.
var ErrCallTimeout = errors.New("ray: nothing came of the call in time")

// callTimeout is ErrCallTimeout with the time.
type callTimeout struct{ after time.Duration }

func (e *callTimeout) Error() string {
	return fmt.Sprintf("%v: CallTimeout allows %v; see whether the link and the cluster are well, or give the context of a call that may take longer a deadline", ErrCallTimeout, e.after)
}

func (e *callTimeout) Unwrap() []error { return []error{ErrCallTimeout, context.DeadlineExceeded} }

// unlimited tells whether ctx leaves it to timeout how long a call may take.
func unlimited(ctx context.Context, timeout time.Duration) bool {
	_, bounded := ctx.Deadline()
	return !bounded && timeout > 0
}

// allowance is how long a call may take: until ctx ends and, where that has no deadline, until a time.
type allowance struct {
	ctx     context.Context
	timeout time.Duration // 0: there is no such time
	by      time.Time
}

// allow gives a context without a deadline the time of a call which is one message of size bytes: what would travel in several
// pieces elsewhere has the time of as many.
func allow(ctx context.Context, timeout time.Duration, size int) allowance {
	if !unlimited(ctx, timeout) {
		return allowance{ctx: ctx}
	}
	timeout *= time.Duration(1 + size/largestMessage)
	return allowance{ctx, timeout, time.Now().Add(timeout)}
}

// context returns one that ends with a.
func (a allowance) context() (context.Context, context.CancelFunc) {
	if a.timeout == 0 {
		return a.ctx, func() {}
	}
	return context.WithDeadlineCause(a.ctx, a.by, &callTimeout{a.timeout})
}

// ended returns why the time is over, nil while it is not.
func (a allowance) ended() error {
	if a.ctx.Err() != nil {
		return ended(a.ctx)
	}
	if a.timeout > 0 && !time.Now().Before(a.by) {
		return &callTimeout{a.timeout}
	}
	return nil
}

// bound is allow, as a context.
func bound(ctx context.Context, timeout time.Duration, size int) (context.Context, context.CancelFunc) {
	return allow(ctx, timeout, size).context()
}

// timerPool keeps the timers of earlier waits: one of its own would be three allocations a wait.
type timerPool struct{ pool sync.Pool }

func (p *timerPool) get(d time.Duration) *time.Timer {
	if timer, ok := p.pool.Get().(*time.Timer); ok {
		timer.Reset(d)
		return timer
	}
	return time.NewTimer(d)
}

func (p *timerPool) put(timer *time.Timer) {
	timer.Stop()
	p.pool.Put(timer)
}

// clock is when something last happened. The zero value is never.
type clock struct{ at atomic.Int64 }

func (c *clock) touch() { c.at.Store(time.Now().UnixNano()) }

// wait returns nil once r has its answer, and else why nobody waits for it any longer: ctx ended, or it has no deadline and
// nothing of r moved for Config.CallTimeout. While r waits for its turn, what comes for others counts: they are in its way.
func (s *Session) wait(ctx context.Context, r *request) error {
	return s.waitOn(ctx, r.done, func() int64 {
		last := r.moved.at.Load()
		if s.out.stateOf(r) == stateQueued {
			last = max(last, s.lastMoved.at.Load())
		}
		return last
	})
}

// waitOn waits for something to come, or to be closed. moved tells when something last moved of what is waited for.
func (s *Session) waitOn(ctx context.Context, come <-chan struct{}, moved func() int64) error {
	if !unlimited(ctx, s.cfg.CallTimeout) {
		select {
		case <-come:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	began := time.Now()
	timer := s.timers.get(s.cfg.CallTimeout)
	defer s.timers.put(timer)
	for {
		select {
		case <-come:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		last := max(began.UnixNano(), moved())
		left := s.cfg.CallTimeout - time.Duration(time.Now().UnixNano()-last)
		if left <= 0 {
			return &callTimeout{s.cfg.CallTimeout}
		}
		timer.Reset(left)
	}
}

// heard notes that something moved on the connection.
func (s *Session) heard() {
	s.moved.Add(1)
	s.lastMoved.touch()
}
