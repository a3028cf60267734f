package connector

import (
	"context"
	"log/slog"
	"time"
)

// Event is a change of the connection: of its state, of which link answers, or of whether it is ready.
type Event struct {
	// From and To are the states before and after; they are the same when something else changed.
	From State `json:"from"`
	To   State `json:"to"`
	// Info is what was known right after the change. Its LastError is the cause.
	Info Info `json:"info"`

	level slog.Level
	// refused is a state that was to follow From, and must not: the event is told to nobody but the log.
	refused State
}

// Metrics takes measurements; package promray has an implementation for Prometheus. Its methods are called with no lock
// held, one at a time for each of them but Called, and have to be quick: the connection or the call waits for them.
type Metrics interface {
	// Attached is called once, by New: what Info and Stat tell can be read from the connector at any time after that.
	Attached(*Connector)
	// Replaced is called when a session takes the place of one that is over: "lost", "reset" or "cluster_replaced". The last
	// is said of every session that is of another cluster than the one before it, at the same address or at another.
	Replaced(reason string)
	// Called is called, by many goroutines, after every operation of a session and every direct call: see ray.TracedCall
	// for the operations and ray.ErrorCode for the codes.
	Called(operation, code string, took time.Duration)
	// Changed is called for every Event, in order.
	Changed(Event)
	// Attempted is called after every try to connect to an address. The outcome is "ok" or the Kind of the ConnectError.
	Attempted(outcome string, took time.Duration)
	// Checked is called after every check of a link, "session" or "gcs".
	Checked(link string, ok bool, took time.Duration)
	// Observed is called after every reading of the cluster, also one that failed.
	Observed(Cluster)
}

// noMetrics is what is used without Config.Metrics.
type noMetrics struct{}

func (noMetrics) Attached(*Connector)                  {}
func (noMetrics) Replaced(string)                      {}
func (noMetrics) Called(string, string, time.Duration) {}
func (noMetrics) Changed(Event)                        {}
func (noMetrics) Attempted(string, time.Duration)      {}
func (noMetrics) Checked(string, bool, time.Duration)  {}
func (noMetrics) Observed(Cluster)                     {}

// set changes the information; c.mu is held, and released by unlock. From closing there is only one way: whatever else
// the owner had been about to say is left unsaid, and set returns false. So it does for a state that the table does not let
// follow, which is a defect of this package: nothing changes, and the log says so.
func (c *Connector) set(alter func(*Info)) bool {
	before := c.info
	after := before
	alter(&after)
	if before.State.ends() && after.State != StateClosed {
		return false
	}
	moved := after.State != before.State
	if moved && !before.State.CanBecome(after.State) {
		c.untold = append(c.untold, Event{From: before.State, To: before.State, Info: before, level: slog.LevelError, refused: after.State})
		return false
	}
	if moved {
		after.Since = time.Now()
	}
	if moved || after.Session.Answers != before.Session.Answers || after.GCS.Answers != before.GCS.Answers || after.Ready != before.Ready {
		c.untold = append(c.untold, Event{From: before.State, To: after.State, Info: after, level: c.level(before, after)})
	}
	c.info = after
	close(c.changed)
	c.changed = make(chan struct{})
	return true
}

// level is how much a change matters; c.mu is held. Attempts that go on failing for the same reason are told once.
func (c *Connector) level(was, i Info) slog.Level {
	level := slog.LevelInfo
	switch {
	case i.State == StateConnecting && i.Attempts > 1, i.State == StateDisconnected && c.failure == c.told:
		level = slog.LevelDebug
	case i.State.ends():
	case was.Session.Answers && !i.Session.Answers, was.GCS.Answers && !i.GCS.Answers, i.State == StateDisconnected:
		level = slog.LevelWarn
	}
	if i.State == StateDisconnected || i.Session.Answers {
		c.told = c.failure
	}
	return level
}

// unlock publishes what changed, releases c.mu and then tells what changed meanwhile: in order, each once, and with no lock
// held, so that whoever is told may use the connector. While one goroutine tells, another leaves its events to it. There
// are never more than a few: the owner, which makes them, comes through here after each.
func (c *Connector) unlock() {
	c.publish()
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

// tell is the one place where a change leaves the package: as a log line, a measurement, and an event.
func (c *Connector) tell(e Event) {
	if e.refused != "" {
		c.log.Error("ray connection: a change of state that does not exist was refused; please report this", "state", e.From, "refused", e.refused)
		return
	}
	e.Info.Cluster = c.cluster.Load().at(time.Now())
	i := e.Info
	attrs := []any{"state", i.State, "was", e.From, "epoch", i.Epoch, "address", i.Address, "session", i.Session.Answers, "gcs", i.GCS.Answers, "ready", i.Ready}
	if i.LastError != "" {
		attrs = append(attrs, "cause", i.LastError)
	}
	if i.NextStep != "" {
		attrs = append(attrs, "next_step", i.NextStep)
	}
	c.log.Log(context.Background(), e.level, "ray connection", attrs...)
	c.cfg.Metrics.Changed(e)
	c.subscribers.publish(e)
}
