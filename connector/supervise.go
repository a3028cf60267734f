package connector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seedcore/seedcore/ray"
)

const (
	// farewell bounds the closing of a session that is being replaced, and is the time that a direct path which was replaced
	// stays open.
	farewell = 5 * time.Second
	// fullFactor is how much longer the pauses are while the server is full: an attempt keeps one of the threads that its
	// other clients wait for, for some seconds.
	fullFactor = 4
	// noFarewell is for a session that does not answer: the server cannot take leave of it.
	noFarewell = 200 * time.Millisecond
)

// supervise is the owner of the connection: the only goroutine that opens and replaces sessions, and that writes c.client,
// c.path, c.lastGood, c.lastCluster, c.ended, c.asked and c.refusal.
func (c *Connector) supervise() {
	defer close(c.allDone)
	defer c.background.Wait()
	defer close(c.ownerDone)
	for _, w := range c.cfg.Warnings {
		c.log.Warn(w)
	}
	c.background.Go(c.observe)
	for failures := 0; ; {
		err := c.connect()
		if c.owner.Err() != nil {
			return
		}
		if err != nil {
			failures++
			wait := c.backoff(failures)
			if problem, ok := errors.AsType[*ConnectError](err); ok && problem.Kind == KindFull {
				wait *= fullFactor
			}
			if !c.rest(wait) {
				return
			}
			continue
		}
		failures = 0
		patience := c.watch()
		if c.owner.Err() != nil {
			return
		}
		c.retireSession(patience)
	}
}

// rest waits before the next attempt: for d when the connection is to be kept up, else until somebody asks for it. It
// returns false when the connector closes.
func (c *Connector) rest(d time.Duration) bool {
	c.mu.Lock()
	persistent := c.persistent
	c.mu.Unlock()
	var due <-chan time.Time
	if persistent {
		due = time.After(d)
	}
	for {
		select {
		case <-due:
			return true
		case <-c.kick:
			return true
		case a := <-c.asked:
			c.hearGCS(a)
		case <-c.owner.Done():
			return false
		}
	}
}

// pause waits for d; it returns false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff is the pause after that many failures in a row.
func (c *Connector) backoff(failures int) time.Duration {
	limit := c.cfg.FirstBackoff
	for n := 1; n < failures && limit < c.cfg.SlowestBackoff; n++ {
		if limit > c.cfg.SlowestBackoff/2 {
			limit = c.cfg.SlowestBackoff
		} else {
			limit *= 2
		}
	}
	return rand.N(limit) + time.Millisecond
}

// connect makes one attempt, at each address in turn until one works, and tells its outcome to everyone who waits for it.
func (c *Connector) connect() error {
	c.mu.Lock()
	c.reset = false
	epoch := c.info.Epoch + 1
	c.mu.Unlock()
	old := c.path
	c.askGCS()
	addresses, err := c.cfg.resolve()
	if err != nil {
		addresses = []endpoints{{asked: c.cfg.Address}}
	}
	var failures []*ConnectError
	for n := range addresses {
		at := (c.lastGood + n) % len(addresses)
		where := addresses[at]
		if !c.attempting(where) {
			return ErrClosed
		}
		var client *ray.Client
		var next path
		var info Info
		start := time.Now()
		if err == nil {
			client, next, info, err = c.open(epoch, where)
		}
		if err == nil {
			c.lastGood = at
			c.cfg.Metrics.Attempted("ok", time.Since(start))
			if len(failures) > 0 {
				c.log.Warn("connected to another address, since those before it fail", "address", where.asked, "cause", newConnectErrors(c.cfg.Address, failures))
			}
			if another := c.meet(info.ClusterID, where.asked); epoch > 1 {
				if another {
					c.ended = reasonReplaced
				}
				c.cfg.Metrics.Replaced(c.ended)
			}
			c.connected(client, next, info, epoch)
			c.bulk.setEpoch(epoch)
			if old.gcs != nil && old.gcs != next.gcs {
				c.retirePath(old) // now that the new client has taken its place
			}
			return nil
		}
		failure := newConnectError(where.asked, err)
		c.cfg.Metrics.Attempted(string(failure.Kind), time.Since(start))
		c.mu.Lock()
		c.stat.FailedAttempts++
		c.mu.Unlock()
		failures, err = append(failures, failure), nil
	}
	failed := newConnectErrors(c.cfg.Address, failures)
	c.awaitGCS()
	c.mu.Lock()
	defer c.unlock()
	c.failure, c.refusal = failed.sameAs(), failed
	c.set(func(i *Info) {
		i.State = StateDisconnected
		i.LastError, i.NextStep = failed.Error(), c.stepBetween(i.GCS.Answers && c.asked == nil)
	})
	c.settle(failed)
	return failed
}

// attempting notes that an address is tried. It returns false when the connector closes.
func (c *Connector) attempting(where endpoints) bool {
	c.mu.Lock()
	defer c.unlock()
	c.stat.Attempts++
	return c.set(func(i *Info) {
		i.State = StateConnecting
		i.Attempts++
		i.Resolved = where.session
	})
}

// connected puts a new session in its place; also when Close was called meanwhile, which closes it.
func (c *Connector) connected(client *ray.Client, next path, info Info, epoch uint64) {
	c.mu.Lock()
	defer c.unlock()
	c.client, c.path, c.asked = client, next, nil
	c.persistent, c.failure = true, ""
	c.set(func(i *Info) {
		info.State, info.Since, info.Epoch = stateOf(true, next.gcs != nil, next.proven), i.Since, epoch
		info.Address, info.Ready = i.Address, len(c.hooks) == 0
		if !info.Ready {
			info.Pending = c.hooks[0].underWay()
		}
		info.GCS = i.GCS
		info.setPath(next)
		*i = info
	})
	c.settle(nil)
}

// settle gives everyone who waits for the current attempt its outcome; c.mu is held. Whoever asked before now is served
// by it, so that the owner need not be woken for them.
func (c *Connector) settle(err error) {
	select {
	case <-c.kick:
	default:
	}
	c.attempt.err = err
	c.publish() // whoever waits has to find what the outcome speaks of
	close(c.attempt.done)
	c.attempt = newAttempt()
}

// open opens a session and, where possible, the direct path. Each has a time of its own: a session is not lost for a slow
// GCS, and a slow session leaves the GCS its time.
func (c *Connector) open(epoch uint64, where endpoints) (*ray.Client, path, Info, error) {
	info := Info{NamespaceAsked: c.cfg.Namespace, Namespace: c.cfg.Namespace, Resolved: where.session, DirectMode: c.cfg.Direct}
	ctx, cancel := context.WithTimeout(c.owner, c.cfg.ConnectTimeout)
	defer cancel()
	start := time.Now()
	session, err := ray.Open(ctx, c.sessionConfig(where.session, epoch))
	if err != nil {
		return nil, path{}, info, err
	}
	info.Session.answered(time.Since(start))
	si := session.Info()
	info.SessionID, info.JobID, info.NodeID, info.Namespace = si.ID, si.JobID, si.NodeID, si.Namespace
	info.RayVersion, info.PythonVersion = si.RayVersion, si.PythonVersion
	info.GCSAddress = where.gcs
	if info.GCSAddress == "" {
		info.GCSAddress = c.dialled(si.GCSAddress)
	}
	info.ClusterID = c.clusterOf(session)
	next, err := c.continuePath(c.owner, info)
	named := c.dialled(si.GCSAddress)
	if errors.Is(next.reason, ray.ErrOtherServer) && named != "" && named != info.GCSAddress {
		c.log.Warn("no GCS but another server is at the configured address; the GCS that the cluster names is used. An address of the Ray Client server begins with ray://",
			"configured", info.GCSAddress, "gcs", named)
		info.GCSAddress = named
		next, err = c.continuePath(c.owner, info)
	}
	if err != nil {
		info.LastError, info.NextStep = err.Error(), stepForLinks(nil, true, err)
	}
	if info.ClusterID == "" && next.proven {
		info.ClusterID = next.gcs.ClusterID()
	}
	client := ray.NewClient(session, next.gcs, next.direct, next.reason).WithDirect(c.cfg.Direct)
	return client, next, info, nil
}

// sessionConfig is that of every session of the connector, in both lanes.
func (c *Connector) sessionConfig(address string, epoch uint64) ray.Config {
	return ray.Config{
		Tracer:  c.cfg.tracer(),
		Address: address, Namespace: c.cfg.Namespace, ReconnectGrace: c.cfg.ReconnectGrace, CallTimeout: c.cfg.CallTimeout,
		Epoch: epoch, Credentials: c.cfg.Credentials, Dial: c.cfg.Dial, Logger: c.log,
	}
}

// watch checks the connection until its session is lost, is to be replaced, or the connector closes. It returns how long
// the closing of that session may take.
func (c *Connector) watch() time.Duration {
	ctx, cancel := context.WithCancel(c.owner)
	defer cancel()
	session := c.client.Session()
	c.mu.Lock()
	hooks, epoch := slices.Clone(c.hooks), c.info.Epoch
	c.mu.Unlock()
	client := c.client
	c.background.Go(func() { c.runHooks(ctx, hooks, client, epoch) })
	var found <-chan path // set while the second link is looked for
	timer := time.NewTimer(c.untilCheck())
	defer timer.Stop()
	checked := time.Now() // it answered just now
	for {
		if c.path.gcs == nil && found == nil {
			found = c.seek(ctx)
		}
		select {
		case <-c.owner.Done():
			return noFarewell
		case <-session.Done():
			c.lose(session.Err())
			return noFarewell
		case p := <-found:
			if p.gcs != nil {
				found = nil
			}
			c.adopt(p)
			continue
		case <-c.kick:
			c.mu.Lock()
			reset := c.reset
			c.mu.Unlock()
			if reset {
				c.lose(errReset)
				return farewell
			}
			// Connect was called while the session does not answer: settle now whether it does.
		case <-session.Turned():
			timer.Reset(c.untilHint(checked))
			continue
		case <-client.Doubted():
			timer.Reset(c.untilHint(checked))
			continue
		case <-timer.C:
		}
		if gone := c.check(); gone {
			return noFarewell
		}
		checked = time.Now()
		timer.Reset(c.untilCheck())
	}
}

// untilCheck is the time until the next check: short while a link does not answer, and while it is open whether the direct
// path is the right one.
func (c *Connector) untilCheck() time.Duration {
	c.mu.Lock()
	well := c.info.State == StateConnected
	c.mu.Unlock()
	if !well || c.path.gcs != nil && !c.path.proven {
		return c.shortInterval()
	}
	return c.cfg.HealthInterval
}

// untilHint is the time until a check that calls, or the session, gave a reason for: none, unless there has just been one.
func (c *Connector) untilHint(checked time.Time) time.Duration {
	return max(0, c.shortInterval()-time.Since(checked))
}

// shortInterval bounds how often checks are made for a reason.
func (c *Connector) shortInterval() time.Duration {
	return min(c.cfg.FirstBackoff, c.cfg.HealthInterval)
}

// check makes a round trip on each link and draws the state from what answered. It reports whether the session is gone.
func (c *Connector) check() (gone bool) {
	ctx, cancel := context.WithTimeout(c.owner, c.cfg.HealthTimeout)
	defer cancel()
	type outcome struct {
		err     error
		latency time.Duration
	}
	measure := func(ask func() error) outcome {
		start := time.Now()
		err := ask()
		return outcome{err, time.Since(start)}
	}
	second := make(chan outcome, 1)
	session := c.client.Session()
	moved := session.Stats().Moved
	go func() { second <- measure(func() error { return c.path.check(ctx, session.Info().NodeID) }) }()
	first := measure(func() error { return session.Ping(ctx) })
	gcs := <-second
	if c.owner.Err() != nil {
		return false
	}
	c.cfg.Metrics.Checked("session", first.err == nil, first.latency)
	if c.path.gcs != nil {
		c.cfg.Metrics.Checked("gcs", gcs.err == nil, gcs.latency)
	}
	if session.Err() != nil {
		c.lose(session.Err())
		return true
	}
	if first.err != nil && session.Stats().Moved != moved {
		first = outcome{nil, first.latency} // the ping has to wait behind something large, which does get through
	}
	if first.err != nil && c.silence() > max(c.cfg.MaxSilence, 2*c.cfg.ReconnectGrace) {
		c.lose(errSilent)
		return true
	}
	if isOther(gcs.err) {
		if c.path.proven {
			c.lose(gcs.err)
			return true
		}
		c.adopt(path{address: c.path.address, reason: gcs.err}) // it was kept from another cluster; watch looks for the right one
		gcs = outcome{}
	}
	c.mu.Lock()
	defer c.unlock()
	c.path.proven = c.path.proven || gcs.err == nil
	c.stat.Checks++
	if first.err != nil || gcs.err != nil {
		c.stat.FailedChecks++
	}
	c.set(func(i *Info) {
		i.State = stateOf(first.err == nil, c.path.gcs != nil, gcs.err == nil)
		i.Session.Answers, i.GCS.Answers = false, false
		if first.err == nil {
			i.Session.answered(first.latency)
		}
		if c.path.gcs != nil && gcs.err == nil {
			i.GCS.answered(gcs.latency)
		}
		i.LastError, i.NextStep = "", stepForLinks(first.err, c.path.gcs != nil, gcs.err)
		if first.err != nil {
			first.err = fmt.Errorf("the session does not answer: %w", first.err)
		}
		if err := errors.Join(first.err, gcs.err); err != nil {
			i.LastError = err.Error()
		}
	})
	if first.err == nil && !c.reset {
		c.settle(nil) // whoever waits in Connect waits for just this
	}
	return false
}

// silence is for how long the session has given no sign of life.
func (c *Connector) silence() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.info.Session.LastHealthy)
}

// errSilent is the end of a session that its server keeps, and that answers nothing.
var errSilent = errors.New("connector: the session answered nothing for Config.MaxSilence: its process on the head hangs")

var errReset = errors.New("connector: reset was asked for")

func (c *Connector) lose(cause error) {
	c.ended = reasonOf(cause)
	c.mu.Lock()
	defer c.unlock()
	if cause == errReset { //nolint:errorlint // it is handed over as it is
		c.stat.Resets++
	} else {
		c.stat.Lost++
	}
	c.set(func(i *Info) {
		i.State, i.LastError, i.NextStep, i.Attempts = StateLost, cause.Error(), stepAfterLoss(cause), 0
		i.GCS.Answers = i.GCS.Answers && !isOther(cause)
		i.forgetSession()
	})
}

// The reasons for a new session, as Metrics.Replaced has them.
const (
	reasonLost     = "lost"
	reasonReset    = "reset"
	reasonReplaced = "cluster_replaced"
)

func reasonOf(cause error) string {
	switch {
	case errors.Is(cause, errReset):
		return reasonReset
	case isOther(cause):
		return reasonReplaced
	default:
		return reasonLost
	}
}

// retireSession closes the session that is being replaced. Its direct path stays for the next one.
func (c *Connector) retireSession(patience time.Duration) {
	ctx, cancel := context.WithTimeout(c.owner, patience)
	defer cancel()
	if err := c.client.Session().Close(ctx); err != nil {
		c.log.Debug("close the old session", "error", err)
	}
}
