package connector

import (
	"time"

	"github.com/seedcore/seedcore/ray"
)

// snapshot is what Client and Info answer, without a lock: it does not change, and is replaced as a whole.
type snapshot struct {
	client *ray.Client
	err    error // why there is no client
	info   Info
}

// publish replaces the snapshot; c.mu is held.
func (c *Connector) publish() {
	s := &snapshot{info: c.info}
	s.client, s.err = c.now()
	c.present.Store(s)
}

// Client returns the client of the present epoch, or ErrNotConnected before the first connection. While a session is
// being replaced it still returns the last client: its direct calls may well work, its session fails. It takes no lock.
//
// It is the same client for as long as the epoch lasts: direct calls that become possible later, or move to another GCS,
// are made by it from then on, and its counts go on.
func (c *Connector) Client() (*ray.Client, error) {
	s := c.present.Load()
	return s.client, s.err
}

// Info returns a snapshot. It makes no round trip and takes no lock.
func (c *Connector) Info() Info {
	info := c.present.Load().info
	info.Cluster = c.cluster.Load().at(time.Now())
	return info
}

// Metrics returns Config.Metrics; nil without.
func (c *Connector) Metrics() Metrics {
	if _, none := c.cfg.Metrics.(noMetrics); none {
		return nil
	}
	return c.cfg.Metrics
}
