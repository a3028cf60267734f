package ray

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// pacer spaces out attempts: a pause is drawn at random up to a bound (full jitter), so that many clients that lost the same
// server do not come back at once. The bound doubles from one pause to the next, up to a limit. The zero value does not pause.
type pacer struct{ bound, limit time.Duration }

// next returns the next pause.
func (p *pacer) next() time.Duration {
	bound := p.bound
	p.bound = min(2*bound, p.limit)
	if bound <= 0 {
		return 0
	}
	return rand.N(bound + 1)
}

// wait pauses, or returns ctx's error when ctx ends first.
func (p *pacer) wait(ctx context.Context) error { return pause(ctx, p.next()) }

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

// The pauses before a connection is dialled again.
const (
	firstRedialPause = 50 * time.Millisecond
	lastRedialPause  = time.Second
)

// dialFunc makes a connection to host:port.
type dialFunc func(ctx context.Context, address string) (net.Conn, error)

// redialer dials one address again and again with the pauses of a pacer. gRPC's own backoff would dial at once when a
// connection is cut, and has little jitter.
type redialer struct {
	dial dialFunc

	mu     sync.Mutex // guards all below
	pace   pacer
	dialed bool
	up     time.Time // when the last connection was made, if the last attempt made one
}

// connect makes a connection, without a pause only the first time. A connection that lasted begins the pauses anew; one that
// did not is as good as none.
func (r *redialer) connect(ctx context.Context, address string) (net.Conn, error) {
	r.mu.Lock()
	var d time.Duration
	switch {
	case !r.dialed:
		r.dialed = true
		r.pace = pacer{firstRedialPause, lastRedialPause}
	case !r.up.IsZero() && time.Since(r.up) > lastRedialPause:
		r.pace = pacer{firstRedialPause, lastRedialPause}
		fallthrough
	default:
		d = r.pace.next()
	}
	r.up = time.Time{}
	r.mu.Unlock()
	if err := pause(ctx, d); err != nil {
		return nil, err
	}
	conn, err := r.dial(ctx, address)
	if err == nil {
		r.mu.Lock()
		r.up = time.Now()
		r.mu.Unlock()
	}
	return conn, err
}

// redialing is how a connection is kept up that a session or a GCS needs for as long as it lives. An attempt, with the pause
// before it, may take that long.
func redialing(dial dialFunc, attempt time.Duration) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer((&redialer{dial: dial}).connect),
		grpc.WithConnectParams(grpc.ConnectParams{
			// The pauses are the redialer's.
			Backoff:           backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond},
			MinConnectTimeout: attempt,
		}),
	}
}
