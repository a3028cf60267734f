package worker

import (
	"context"
	"sync"
	"time"

	"github.com/seedcore/seedcore/internal/taskevents"
)

// callContext is the context of one call of a method. It ends with that of the actor or when the call is cancelled, and knows
// the task. Most methods never look at it, so that it costs nothing until one does.
type callContext struct {
	actor context.Context //nolint:containedctx // it is one itself
	task  taskevents.TaskID

	mu     sync.Mutex         // guards the fields below
	ended  bool               // cancel was called
	own    context.Context    //nolint:containedctx // what can end; nil until it is asked for
	cancel context.CancelFunc // of own
}

func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.own != nil {
		c.cancel()
	}
}

func (c *callContext) Deadline() (time.Time, bool) { return c.actor.Deadline() }

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.own == nil {
		c.own, c.cancel = context.WithCancel(c.actor)
		if c.ended {
			c.cancel()
		}
	}
	return c.own.Done()
}

func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.own != nil:
		return c.own.Err()
	case c.ended:
		return context.Canceled
	}
	return c.actor.Err()
}

// Value passes on what the contexts below say of themselves: package context finds by it whose Done this is.
func (c *callContext) Value(key any) any {
	if key == taskevents.ParentKey {
		return &c.task
	}
	c.mu.Lock()
	below := c.actor
	if c.own != nil {
		below = c.own
	}
	c.mu.Unlock()
	return below.Value(key)
}
