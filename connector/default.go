package connector

import (
	"context"
	"sync"
)

var (
	defaultMu sync.Mutex // guards defaultConnector
	// defaultConnector is nil until Default succeeded.
	defaultConnector *Connector
)

// Default returns the connector of the process, which the first call makes from the environment. It opens nothing: Connect
// or Start does. An environment that cannot be used is an error of that call alone; the next one reads it again. There is
// one default for the life of a process: once closed it stays closed.
func Default() (*Connector, error) {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	if defaultConnector != nil {
		return defaultConnector, nil
	}
	cfg, err := FromEnv()
	if err != nil {
		return nil, err
	}
	defaultConnector, err = New(cfg)
	return defaultConnector, err
}

// Call runs a method of a named actor in the connection's namespace, on the client of the moment; see ray.Client.Call. A
// context without a deadline is given Config.CallTimeout.
func (c *Connector) Call(ctx context.Context, actor, method string, args ...any) (any, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.CallTimeout)
		defer cancel()
	}
	return client.Call(ctx, client.Session().Info().Namespace, actor, method, args...)
}
