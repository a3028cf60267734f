package connector

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// change is a change of state that is to be told.
type change struct {
	from  State
	info  Info // from then on
	level slog.Level
}

// set changes the information; c.mu is held, and released by unlock. From closing there is only one way: whatever else
// the owner had been about to say is left unsaid, and set returns false.
func (c *Connector) set(alter func(*Info)) bool {
	before := c.info
	after := before
	alter(&after)
	if before.State.ends() && after.State != StateClosed {
		return false
	}
	if after.State != before.State {
		after.Since = time.Now()
		c.untold = append(c.untold, change{before.State, after, c.level(before.State, after)})
	}
	c.info = after
	close(c.changed)
	c.changed = make(chan struct{})
	return true
}

// level is how much a change of state matters; c.mu is held. Attempts that go on failing for the same reason are told
// once. A change that the table does not have is a defect of this package.
func (c *Connector) level(was State, i Info) slog.Level {
	level := slog.LevelInfo
	switch {
	case !slices.Contains(transitions[was], i.State):
		level = slog.LevelError
	case i.State == StateConnecting && i.Attempts > 1, i.State == StateDisconnected && c.failure == c.told:
		level = slog.LevelDebug
	case was.Answers() && !i.State.Answers() && i.State != StateClosing, i.State == StateDisconnected:
		level = slog.LevelWarn
	}
	if i.State == StateDisconnected || i.State.Answers() {
		c.told = c.failure
	}
	return level
}

// unlock releases c.mu and then tells what changed meanwhile: in order, each once, and with no lock held, so that whoever
// is told may use the connector. While one goroutine tells, another leaves its changes to it. There are never more than a
// few: the owner, which makes them, comes through here after each.
func (c *Connector) unlock() {
	if !c.telling {
		c.telling = true
		for len(c.untold) > 0 {
			next := c.untold[0]
			c.untold = c.untold[1:]
			c.mu.Unlock()
			c.tell(next)
			c.mu.Lock()
		}
		c.telling = false
	}
	c.mu.Unlock()
}

// tell is the one place where a change of state leaves the package.
func (c *Connector) tell(x change) {
	attrs := []any{"state", x.info.State, "was", x.from, "epoch", x.info.Epoch, "address", x.info.Address}
	if x.info.LastError != "" {
		attrs = append(attrs, "cause", x.info.LastError)
	}
	c.log.Log(context.Background(), x.level, "ray connection", attrs...)
}

// failureKinds are the reasons for which an attempt fails that call for different things to be done.
var failureKinds = []error{ray.ErrNoClientServer, context.DeadlineExceeded}

// failureKind reduces an error of an attempt to its kind. The texts of network errors differ from one time to the next,
// by local ports and by the moment at which a connection broke, and say the same.
func failureKind(err error) string {
	for _, kind := range failureKinds {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return err.Error()
}
