package connector

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// errDraining is what is said to new work after Drain.
var errDraining = fmt.Errorf("%w to new work, by Drain", ErrClosed)

// Call runs a method of a named actor in the connection's namespace, on the client of the moment; see ray.Client.Call. A
// context without a deadline is given Config.CallTimeout. ray.ErrOverloaded if as many as Config.MaxInFlight are under way:
// nothing was sent then.
func (c *Connector) Call(ctx context.Context, actor, method string, args ...any) (any, error) {
	client, err := c.enter()
	if err != nil {
		return nil, err
	}
	defer c.leave()
	return client.Call(ctx, client.Session().Info().Namespace, actor, method, args...)
}

// enter counts a piece of work that has begun, which leave has to end, and returns the client for it.
func (c *Connector) enter() (*ray.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	client, err := c.now()
	if err != nil {
		return nil, err
	}
	if c.underWay >= c.cfg.MaxInFlight {
		return nil, fmt.Errorf("connector: %w", &ray.OverloadedError{
			What: "calls of the connector", Limit: int64(c.cfg.MaxInFlight), InUse: int64(c.underWay), More: 1,
		})
	}
	c.underWay++
	return client, nil
}

func (c *Connector) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay--; c.underWay == 0 && c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// Drain ends the connection without breaking off what has begun. From now on Client, Call, WithBulk, Connect, Reset and
// WaitSession fail with ErrClosed. The connection is kept up, and renewed if need be, until every Call and WithBulk under way
// has returned, or ctx ends; then it is closed as by Close, which lets other calls on its clients end until ctx does.
func (c *Connector) Drain(ctx context.Context) error {
	c.mu.Lock()
	c.draining = true
	if c.underWay > 0 && c.drained == nil {
		c.drained = make(chan struct{})
	}
	drained := c.drained
	c.set(func(*Info) {}) // whoever waits for a session looks again
	c.unlock()
	if drained != nil {
		select {
		case <-drained:
		case <-c.owner.Done(): // Close was called
		case <-ctx.Done():
		}
	}
	return c.Close(ctx)
}
