package ray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

const (
	// directMaxMessage bounds one argument list or result; Ray's own limit is 512 MiB.
	directMaxMessage = 512 << 20
	// DefaultDirectInFlight bounds the calls that a Direct has under way, calls that were given up included.
	DefaultDirectInFlight = 10_000
	// maxTargets bounds the actors that a Direct keeps a connection to.
	maxTargets = 4096
	// abandonAfter is how long a call whose caller gave up may still run before its stream is closed. A number was taken
	// from the actor's sequence for it: closing the stream at once might leave a hole, which stalls the calls behind it.
	abandonAfter = 30 * time.Second
	// firstPoll and slowestPoll bound how often the GCS is asked for an actor that is not up yet.
	firstPoll, slowestPoll = 50 * time.Millisecond, 500 * time.Millisecond
)

// DirectOptions tunes a Direct. The zero value works.
type DirectOptions struct {
	// InFlight bounds the calls under way; default DefaultDirectInFlight. More fail with ErrOverloaded.
	InFlight int
}

// Direct calls named actors in the worker process that hosts them: one gRPC hop, no session, no Python proxy. It finds
// an actor through the GCS, remembers where it runs, and looks again when it moved.
//
// A malformed request ends the process of a Python actor, so that a Direct sends only what it knows to be harmless: to an
// actor that is ALIVE, a method that the actor's class has, values that every worker reads. Whatever else is asked fails
// with ErrNoSuchMethod, ErrUnsupportedValue or ErrUnsupportedVersion before anything is sent.
//
// Calls of one goroutine to one actor run in order. A Direct is safe for concurrent use.
type Direct struct {
	gcs      *GCS
	limit    int64
	inFlight atomic.Int64
	classes  classTable

	ctx    context.Context // lifetime of the calls; ends with Close
	cancel context.CancelFunc
	calls  sync.WaitGroup

	mu      sync.Mutex // guards targets, closed and, against closed, calls.Add
	targets map[actorKey]*target
	closed  bool
}

type actorKey struct{ namespace, name string }

func (k actorKey) method(name string) string { return k.namespace + "/" + k.name + "." + name }

// NewDirect makes a Direct over a GCS connection, which it does not own. It does no I/O. ErrUnsupportedVersion says that
// direct calls were not tested on the cluster's Ray version.
func NewDirect(gcs *GCS, opts DirectOptions) (*Direct, error) {
	if !slices.Contains(testedVersions, gcs.RayVersion()) {
		return nil, fmt.Errorf("%w: direct calls are tested on %v, the cluster runs %s", ErrUnsupportedVersion, testedVersions, gcs.RayVersion())
	}
	if opts.InFlight == 0 {
		opts.InFlight = DefaultDirectInFlight
	}
	d := &Direct{gcs: gcs, limit: int64(opts.InFlight), targets: map[actorKey]*target{}}
	d.classes.gcs = gcs
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Call runs a method of a named actor and returns its result.
//
// While the actor is being created or restarted, Call waits for it until ctx ends; nothing was sent then. When ctx ends
// after the request left, Call returns at once and the method may still run: the error is a *CallError with SentMaybe. A
// process that dies during the call gives the same with ErrActorUnavailable; an actor that is gone gives ErrActorDied or
// ErrActorNotFound with SentNo. What the method itself raised is a *TaskError. Nothing that was sent is sent again.
//
// Arguments and the result are values of package doc "Values". Results above Ray's inline limit (100 KiB unless the
// actor raised it) are ErrUnsupportedValue after the method ran.
func (d *Direct) Call(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	key := actorKey{namespace, name}
	encoded, err := encodeArgs(args)
	if err != nil {
		return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
	}
	if err := d.begin(); err != nil {
		return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
	}
	var refusals refusals
	for {
		t, err := d.acquire(ctx, key)
		if err == nil && ctx.Err() != nil {
			d.release(t)
			err = context.Cause(ctx)
		}
		if err != nil {
			d.end()
			return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
		}
		if !t.class.has(method) {
			d.release(t)
			d.end()
			return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: fmt.Errorf("%w: %q; class %s has %v", ErrNoSuchMethod, method, t.class.name, t.class.methods)}
		}
		x := d.push(ctx, t, method, encoded)
		if x == nil { // given up: it goes on behind the caller, who learns what is known now
			return nil, &CallError{Target: key.method(method), Sent: SentMaybe, Err: context.Cause(ctx)}
		}
		if x.err == nil {
			d.release(t)
			d.end()
			return decodeReply(key.method(method), x.reply)
		}
		sent, err := classifyPush(x.err, x.sent())
		d.forget(key, t)
		d.release(t)
		if d.ctx.Err() != nil {
			err = ErrClosed
		}
		if sent == SentNo && errors.Is(err, ErrActorUnavailable) {
			// Nothing left this process, or the worker refused it unread: the actor moved since it was looked up. Look
			// again for as long as the caller waits, unless the very process that the GCS names does not let us in.
			if err = refusals.add(t, err); err == nil {
				err = pause(ctx, firstPoll)
			}
			if err == nil {
				continue
			}
		}
		d.end()
		return nil, &CallError{Target: key.method(method), Sent: sent, Err: err}
	}
}

// push sends one request to where t runs and waits for the answer or for ctx. In the second case it returns nil: the
// exchange then goes on by itself, bounded by abandonAfter, and ends the call when it is through.
func (d *Direct) push(ctx context.Context, t *target, method string, args []*corepb.TaskArg) *exchange {
	req, lane := t.request(method, args)
	x := &exchange{done: make(chan struct{})}
	callCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(d.ctx, cancel)
	run := func() {
		defer close(x.done)
		x.reply, x.err = t.worker.PushTask(context.WithValue(callCtx, exchangeKey{}, x), req)
		stop()
		cancel()
		if x.err != nil {
			t.retire(lane)
		}
	}
	if ctx.Done() == nil {
		run()
		return x
	}
	go run()
	select {
	case <-x.done:
		return x
	case <-ctx.Done():
	}
	giveUp := time.AfterFunc(abandonAfter, cancel)
	go func() {
		<-x.done
		giveUp.Stop()
		d.release(t)
		d.end()
	}()
	return nil
}

// refusals counts how often in a row the same process could not be reached.
type refusals struct {
	worker string
	since  time.Time
}

// unreachableAfter is how long a process that the GCS reports as alive may refuse connections: the GCS learns of a death
// within a second or two.
const unreachableAfter = 5 * time.Second

// add returns an error when the process has not been reachable for too long.
func (r *refusals) add(t *target, cause error) error {
	if worker := string(t.data.GetAddress().GetWorkerId()); worker != r.worker {
		r.worker, r.since = worker, time.Now()
	}
	if time.Since(r.since) < unreachableAfter {
		return nil
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, t.conn.Target(), cause)
}

// begin counts a call in, within the bound.
func (d *Direct) begin() error {
	if d.inFlight.Add(1) > d.limit {
		d.inFlight.Add(-1)
		return fmt.Errorf("%w: %d", ErrOverloaded, d.limit)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.inFlight.Add(-1)
		return ErrClosed
	}
	d.calls.Add(1)
	return nil
}

// InFlight returns the number of calls under way, calls that were given up included.
func (d *Direct) InFlight() int { return int(d.inFlight.Load()) }

func (d *Direct) end() {
	d.inFlight.Add(-1)
	d.calls.Done()
}

// Close refuses new calls, waits for those under way until ctx ends and then cuts them, and closes the connections to
// workers. Calls that were cut return ErrClosed with SentMaybe. It is idempotent.
func (d *Direct) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	targets := d.targets
	d.targets = nil
	d.mu.Unlock()

	drained := make(chan struct{})
	go func() {
		d.calls.Wait()
		close(drained)
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("ray: close: %d direct calls were cut: %w", d.inFlight.Load(), ctx.Err())
	}
	d.cancel()
	<-drained
	for _, t := range targets {
		err = errors.Join(err, t.close())
	}
	return err
}
