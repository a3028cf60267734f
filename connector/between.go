package connector

import (
	"context"
	"time"
)

// Between two sessions the GCS of the last one is still asked, once for each attempt at most: a Ray Client server that is gone is
// told from a cluster that is gone.

// gcsAnswer is the outcome of a check of the GCS alone.
type gcsAnswer struct {
	err  error
	took time.Duration
}

// askGCS begins a check of the GCS, unless one is under way or there is none to ask. The owner alone calls it.
func (c *Connector) askGCS() {
	gcs := c.path.gcs
	if gcs == nil || c.asked != nil {
		return
	}
	asked := make(chan gcsAnswer, 1)
	c.asked = asked
	c.background.Go(func() {
		ctx, cancel := context.WithTimeout(c.owner, c.cfg.HealthTimeout)
		defer cancel()
		start := time.Now()
		err := gcs.CheckAlive(ctx)
		asked <- gcsAnswer{err, time.Since(start)}
	})
}

// awaitGCS waits for the check for a moment, so that the failure of an attempt is told with what the GCS says.
func (c *Connector) awaitGCS() {
	if c.asked == nil {
		return
	}
	select {
	case a := <-c.asked:
		c.hearGCS(a)
	case <-time.After(c.shortInterval()):
	case <-c.owner.Done():
	}
}

// hearGCS records what the check of the GCS alone came to.
func (c *Connector) hearGCS(a gcsAnswer) {
	c.asked = nil
	if c.owner.Err() != nil {
		return
	}
	c.cfg.Metrics.Checked("gcs", a.err == nil, a.took)
	c.mu.Lock()
	defer c.unlock()
	c.set(func(i *Info) {
		i.GCS.Answers = false
		if a.err == nil {
			i.GCS.answered(a.took)
		}
		if i.State == StateDisconnected {
			i.NextStep = c.stepBetween(i.GCS.Answers)
		}
	})
}

// stepBetween is the next step after the newest attempt failed, by what the GCS says meanwhile.
func (c *Connector) stepBetween(gcsAnswers bool) string {
	switch c.refusal.Kind {
	case KindAbsent, KindSilent, KindNotRay, KindFull, KindTimeout, KindOther:
		if gcsAnswers {
			return "the cluster is up, since its GCS answers; what is missing is its Ray Client server, or the way to that: " + c.refusal.NextStep
		}
	}
	return c.refusal.NextStep
}
