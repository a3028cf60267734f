package connector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seedcore/seedcore/ray"
)

const (
	// attemptTimeout bounds one attempt: starting a session's process on the head takes seconds, and it fails at random.
	attemptTimeout = 60 * time.Second
	// gcsTimeout bounds the look for a GCS that may not be reachable from here.
	gcsTimeout = 5 * time.Second
	// farewell bounds the closing of a session that is being replaced, and of a direct path that leads nowhere.
	farewell = 5 * time.Second
	// noFarewell is for a session that does not answer: the server cannot take leave of it.
	noFarewell = 200 * time.Millisecond
)

// supervise is the owner of the connection: the only goroutine that opens and replaces sessions.
func (c *Connector) supervise() {
	defer close(c.ownerDone)
	for failures := 0; ; {
		client, err := c.connect()
		if c.owner.Err() != nil {
			return
		}
		if err != nil {
			failures++
			if !c.rest(failures) {
				return
			}
			continue
		}
		failures = 0
		patience := c.watch(client)
		if c.owner.Err() != nil {
			return
		}
		c.retire(client, patience)
	}
}

// rest waits before the next attempt: for a time that grows when the connection is to be kept up, else until somebody
// asks for it. It returns false when the connector closes.
func (c *Connector) rest(failures int) bool {
	c.mu.Lock()
	persistent := c.persistent
	c.mu.Unlock()
	var due <-chan time.Time
	if persistent {
		limit := min(c.cfg.SlowestBackoff, c.cfg.FirstBackoff<<min(failures-1, 20))
		timer := time.NewTimer(rand.N(limit) + time.Millisecond)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-c.kick:
	case <-c.owner.Done():
		return false
	}
	return true
}

// connect makes one attempt and tells its outcome to everyone who waits for it.
func (c *Connector) connect() (*ray.Client, error) {
	c.mu.Lock()
	c.set(func(i *Info) {
		i.State = StateConnecting
		i.Attempts++
	})
	c.reset = false
	old := c.client
	c.mu.Unlock()

	ctx, cancel := context.WithTimeout(c.owner, attemptTimeout)
	defer cancel()
	client, info, err := c.open(ctx, old)

	c.mu.Lock()
	defer c.mu.Unlock()
	if client != nil {
		c.client = client
	}
	if c.info.State == StateClosing {
		return nil, ErrClosed // Close ends the client
	}
	if err != nil {
		c.failure = failureKind(err)
		err = fmt.Errorf("connector: connect to %s: %w", c.cfg.Address, err)
		c.set(func(i *Info) {
			i.State = StateDisconnected
			i.Resolved = info.Resolved
			i.LastError = err.Error()
		})
		c.settle(err)
		return nil, err
	}
	c.persistent, c.failure = true, ""
	c.set(func(i *Info) {
		info.State, info.Since, info.Epoch = StateConnected, i.Since, i.Epoch+1
		info.Address, info.LastHealthy = i.Address, time.Now()
		*i = info
	})
	c.settle(nil)
	return client, nil
}

// settle gives everyone who waits for the current attempt its outcome; c.mu is held. Whoever asked before now is served
// by it, so that the owner need not be woken for them.
func (c *Connector) settle(err error) {
	select {
	case <-c.kick:
	default:
	}
	c.attempt.err = err
	close(c.attempt.done)
	c.attempt = newAttempt()
}

// open opens a session and, where possible, the direct path. The direct path of the client before is kept when its
// cluster is still the same, so that calls under way on it are not disturbed by a new session.
func (c *Connector) open(ctx context.Context, old *ray.Client) (*ray.Client, Info, error) {
	info := Info{Namespace: c.cfg.Namespace}
	where, err := c.cfg.resolve()
	if err != nil {
		return nil, info, err
	}
	info.Resolved = where.session
	session, err := ray.Open(ctx, ray.Config{Address: where.session, Namespace: c.cfg.Namespace, Logger: c.log})
	if err != nil {
		return nil, info, err
	}
	si := session.Info()
	info.SessionID, info.JobID, info.NodeID, info.Namespace = si.ID, si.JobID, si.NodeID, si.Namespace
	info.RayVersion, info.PythonVersion = si.RayVersion, si.PythonVersion
	info.GCSAddress = where.gcs
	if info.GCSAddress == "" {
		info.GCSAddress = si.GCSAddress
	}
	gcs, direct, noDirect := c.openDirect(ctx, old, info)
	if gcs != nil {
		info.ClusterID = gcs.ClusterID()
	}
	info.Direct = direct != nil
	if noDirect != nil {
		info.NoDirect = noDirect.Error()
	}
	return ray.NewClient(session, gcs, direct, noDirect), info, nil
}

func (c *Connector) openDirect(ctx context.Context, old *ray.Client, info Info) (*ray.GCS, *ray.Direct, error) {
	ctx, cancel := context.WithTimeout(ctx, gcsTimeout)
	defer cancel()
	if old != nil && old.GCS() != nil {
		if old.GCS().Address() == info.GCSAddress && old.GCS().CheckAlive(ctx) == nil {
			direct, err := old.Direct()
			return old.GCS(), direct, err
		}
		leave, cancelLeave := context.WithTimeout(c.owner, noFarewell)
		err := closeDirect(leave, old)
		cancelLeave()
		if err != nil {
			c.log.Debug("close the old direct path", "error", err)
		}
	}
	gcs, err := ray.DialGCS(ctx, info.GCSAddress, ray.GCSOptions{})
	if err != nil {
		return nil, nil, err
	}
	if err := sameCluster(ctx, gcs, info.NodeID); err != nil {
		return nil, nil, errors.Join(err, gcs.Close())
	}
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
	return gcs, direct, err
}

// sameCluster makes sure that the GCS and the session belong together: the session's node has to be one of the GCS's.
func sameCluster(ctx context.Context, gcs *ray.GCS, nodeID string) error {
	nodes, err := gcs.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.ID == nodeID && n.Alive {
			return nil
		}
	}
	return fmt.Errorf("connector: the GCS at %s belongs to another cluster than the session", gcs.Address())
}

// watch checks the connection until its session is lost, is to be replaced, or the connector closes. It returns how long
// the closing of that session may take.
func (c *Connector) watch(client *ray.Client) time.Duration {
	ticker := time.NewTicker(c.cfg.HealthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.owner.Done():
			return noFarewell
		case <-client.Session().Done():
			c.lose(client.Session().Err())
			return noFarewell
		case <-c.kick:
			c.mu.Lock()
			reset := c.reset
			c.mu.Unlock()
			if reset {
				c.lose(errors.New("connector: reset was asked for"))
				return farewell
			}
			// Connect was called while the session does not answer: settle now whether it does.
			if gone := c.check(client); gone {
				return noFarewell
			}
		case <-ticker.C:
			if gone := c.check(client); gone {
				return noFarewell
			}
		}
	}
}

// check makes a round trip on each link and draws the state from what answered. It reports whether the session is gone.
func (c *Connector) check(client *ray.Client) (gone bool) {
	ctx, cancel := context.WithTimeout(c.owner, c.cfg.HealthTimeout)
	defer cancel()
	gcsResult := make(chan error, 1)
	go func() {
		if client.GCS() == nil {
			gcsResult <- nil
			return
		}
		gcsResult <- client.GCS().CheckAlive(ctx)
	}()
	start := time.Now()
	sessionErr := client.Session().Ping(ctx)
	latency := time.Since(start)
	gcsErr := <-gcsResult
	if c.owner.Err() != nil {
		return false
	}
	if errors.Is(gcsErr, ray.ErrClusterReplaced) {
		c.lose(gcsErr)
		return true
	}
	if client.Session().Err() != nil {
		c.lose(client.Session().Err())
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info.State == StateClosing {
		return false
	}
	c.set(func(i *Info) {
		switch {
		case sessionErr != nil:
			i.State = StateReconnecting
			i.LastError = errors.Join(sessionErr, gcsErr).Error()
			return
		case gcsErr != nil:
			i.State, i.LastError = StateDegraded, gcsErr.Error()
		default:
			i.State, i.LastError = StateConnected, ""
		}
		i.LastHealthy, i.Latency = time.Now(), latency
	})
	if sessionErr == nil && !c.reset {
		c.settle(nil) // whoever waits in Connect waits for just this
	}
	return false
}

func (c *Connector) lose(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.info.State == StateClosing {
		return
	}
	c.set(func(i *Info) {
		i.State, i.LastError, i.Attempts = StateLost, cause.Error(), 0
	})
}

// retire closes the session of a client that is being replaced. Its direct path stays for the next client.
func (c *Connector) retire(client *ray.Client, patience time.Duration) {
	ctx, cancel := context.WithTimeout(c.owner, patience)
	defer cancel()
	if err := client.Session().Close(ctx); err != nil {
		c.log.Debug("close the old session", "error", err)
	}
}

func closeClient(ctx context.Context, client *ray.Client) error {
	if client == nil {
		return nil
	}
	return errors.Join(closeDirect(ctx, client), client.Session().Close(ctx))
}

func closeDirect(ctx context.Context, client *ray.Client) error {
	var err error
	if direct, _ := client.Direct(); direct != nil {
		err = direct.Close(ctx)
	}
	if client.GCS() != nil {
		err = errors.Join(err, client.GCS().Close())
	}
	return err
}
