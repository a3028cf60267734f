package connector

import "github.com/seedcore/seedcore/ray"

// Stat counts what happened since New, by value and encodable as JSON.
type Stat struct {
	Attempts       uint64 `json:"attempts"`        // tries to connect to an address
	FailedAttempts uint64 `json:"failed_attempts"` // those that failed
	Sessions       uint64 `json:"sessions"`        // opened, which is the epoch
	Lost           uint64 `json:"lost"`            // sessions that ended otherwise than by Reset or Close
	Resets         uint64 `json:"resets"`          // sessions that ended by Reset
	Checks         uint64 `json:"checks"`          // of both links at once
	FailedChecks   uint64 `json:"failed_checks"`   // those in which a link did not answer
	// Session, Paths, Direct and DirectInFlight are of the client that Client returns now, and zero without one.
	Session        ray.SessionStats `json:"session"`
	Paths          ray.PathStats    `json:"paths"`
	DirectInFlight int              `json:"direct_in_flight"`
	Direct         ray.DirectStats  `json:"direct"`
	// InFlight is how many Call and WithBulk are under way; Bulk tells of the sessions of WithBulk.
	InFlight int      `json:"in_flight"`
	Bulk     BulkStat `json:"bulk"`
}

// Stat returns the counters. It makes no round trip.
func (c *Connector) Stat() Stat {
	c.mu.Lock()
	stat, client := c.stat, c.client
	stat.Sessions, stat.InFlight = c.info.Epoch, c.underWay
	c.mu.Unlock()
	stat.Bulk = c.bulk.snapshot()
	if client != nil {
		stat.Session, stat.Paths = client.Session().Stats(), client.Paths()
		if direct, _ := client.Direct(); direct != nil {
			stat.Direct = direct.Stats()
			stat.DirectInFlight = stat.Direct.InFlight
		}
	}
	return stat
}
