package ray

import (
	"context"
	"math/rand/v2"
	"time"
)

// pacer spaces out attempts: each pause is about twice the one before, up to a limit, with jitter so that many clients do
// not come back at once. The zero value does not pause.
type pacer struct{ next, limit time.Duration }

// wait pauses, or returns ctx's error when ctx ends first.
func (p *pacer) wait(ctx context.Context) error {
	d := time.Duration(float64(p.next) * (0.5 + rand.Float64()))
	p.next = min(2*p.next, p.limit)
	return pause(ctx, d)
}

// pause waits, or returns ctx's error when ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
