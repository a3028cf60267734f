package connector

import (
	"context"
	"errors"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// ErrNotReady means: the connection is not up, or the hooks of its session are not done; the text tells which.
var ErrNotReady = errors.New("connector: not ready")

// SessionHook brings something up on a new session. It may be called several times for one, and has to return soon after
// its context ends, which is at the latest when the session does.
type SessionHook func(ctx context.Context, client *ray.Client, epoch uint64) error

var errNilHook = errors.New("the hook is nil")

type namedHook struct {
	name string
	run  SessionHook
}

// underWay is what Info.Pending says of a hook that has neither succeeded nor failed yet.
func (h namedHook) underWay() string { return h.name + ": has not ended yet" }

// OnSession adds a hook that runs on every session from the next one on, after the connection is up. Hooks run one after
// the other, in the order in which they were added; one that fails is tried again, with the pauses of Config, until it
// succeeds or the session is over, and those behind it wait. A hook that fails leaves the connection as it is: it only
// keeps Info.Ready from being true, and so does a nil one.
func (c *Connector) OnSession(name string, hook SessionHook) {
	if hook == nil {
		hook = func(context.Context, *ray.Client, uint64) error { return errNilHook }
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hooks = append(c.hooks, namedHook{name, hook})
}

// runHooks runs the hooks of a session, which ctx ends with.
func (c *Connector) runHooks(ctx context.Context, hooks []namedHook, client *ray.Client, epoch uint64) {
	for _, hook := range hooks {
		told := ""
		c.setReady(epoch, hook.underWay())
		for failures := 1; ; failures++ {
			err := hook.run(ctx, client, epoch)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				break
			}
			pending := fmt.Sprintf("%s: %v", hook.name, err)
			if pending != told {
				c.log.Warn("a hook of the session failed and is tried again", "hook", hook.name, "epoch", epoch, "error", err)
				told = pending
			}
			c.setReady(epoch, pending)
			if !pause(ctx, c.backoff(failures)) {
				return
			}
		}
	}
	c.setReady(epoch, "")
}

// setReady records what is still to be done on the session of an epoch.
func (c *Connector) setReady(epoch uint64, pending string) {
	c.mu.Lock()
	defer c.unlock()
	if c.info.Epoch != epoch || c.info.SessionID == "" {
		return
	}
	c.set(func(i *Info) { i.Ready, i.Pending = pending == "", pending })
}

// WaitReady returns when the session answers and all hooks of it are done, or ErrNotReady with what was missing when ctx
// ended.
func (c *Connector) WaitReady(ctx context.Context) error {
	for {
		c.mu.Lock()
		info, changed := c.info, c.changed
		c.mu.Unlock()
		switch {
		case info.State.ends():
			return ErrClosed
		case info.Ready && info.Session.Answers:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			missing := info.Pending
			if !info.Session.Answers {
				missing = info.standing()
			}
			return fmt.Errorf("%w: %s: %w", ErrNotReady, missing, ctx.Err())
		}
	}
}
