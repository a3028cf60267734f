package ray

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/internal/taskevents"
)

// Defaults of DirectOptions.
const (
	// DefaultDirectInFlight bounds the calls that a Direct has under way, calls that were given up included.
	DefaultDirectInFlight = 10_000
	// DefaultDirectBytes bounds the bytes of their arguments.
	DefaultDirectBytes = 1 << 30
	// DefaultDirectIdle is how long a connection to an actor's process is kept without a call.
	DefaultDirectIdle = 5 * time.Minute
	// DefaultDirectMessage bounds one argument list and one result in bytes; it is Ray's own limit.
	DefaultDirectMessage = 512 << 20

	// actorShare is the part of these bounds that one actor may use up: the others stay callable while it hangs.
	actorShare = 4
)

// DirectOptions tunes a Direct. The zero value works.
type DirectOptions struct {
	// InFlight bounds the calls under way; default DefaultDirectInFlight. Calls of one actor may use up a quarter of it.
	// More fail with ErrOverloaded.
	InFlight int
	// InFlightBytes bounds the bytes of their arguments in the same way; default DefaultDirectBytes. A single call of an
	// actor may be larger than the actor's quarter.
	InFlightBytes int64
	// MaxMessage bounds the arguments of one call, and its result, in bytes; default and upper limit
	// DefaultDirectMessage. What is larger is ErrUnsupportedValue: arguments before, a result after the method ran.
	MaxMessage int
	// StreamItems is how many items the method behind a Stream may be ahead of its caller; default DefaultStreamItems. It
	// bounds what waits here: an item is not above the actor's inline limit, 100 KiB unless that was raised.
	StreamItems int
	// CallTimeout ends a call whose context has no deadline; of a Stream, it bounds the wait for each item. Arguments have
	// this for every 5 MiB. The error wraps ErrCallTimeout. Zero: DefaultCallTimeout; negative: none, so that a call waits for
	// as long as the GCS reports the actor as alive, also for one that hangs.
	CallTimeout time.Duration
	// Idle is after how long without a call the connection to an actor's process is closed, at the latest after twice that:
	// the next call makes another. Calls that were given up and streams count until they have ended. Default
	// DefaultDirectIdle; negative: it is kept while the actor lives, until others need its place.
	Idle time.Duration
	// AddressMap, when set, gives the host:port to dial for the host:port that the cluster names, where the two differ:
	// behind NAT or a port forward. It is called from several goroutines and must not block.
	AddressMap func(address string) string
	// Tracer is told of every call. Nil: nothing is traced, and nothing spent on it.
	Tracer Tracer
	// TaskEvents has the calls shown by Ray's state API, dashboard and timeline, as those of Ray's own drivers are: here it is
	// reported that they were sent and how they ended, and by the actors when they ran. It costs both ends and the GCS time
	// with each call. As in Ray, up to 10,000 events go out a second, two for each call; 100,000 wait, and the oldest of
	// more give way: Ray does not show their calls, but counts them as lost.
	TaskEvents bool
}

func (o DirectOptions) withDefaults() (DirectOptions, error) {
	if o.InFlight < 0 || o.InFlightBytes < 0 || o.MaxMessage < 0 || o.MaxMessage > DefaultDirectMessage || o.StreamItems < 0 {
		return o, fmt.Errorf("ray: direct options: InFlight %d, InFlightBytes %d, MaxMessage %d and StreamItems %d have to be 0 or more, MaxMessage at most %d",
			o.InFlight, o.InFlightBytes, o.MaxMessage, o.StreamItems, DefaultDirectMessage)
	}
	if o.Idle == 0 {
		o.Idle = DefaultDirectIdle
	}
	if o.StreamItems == 0 {
		o.StreamItems = DefaultStreamItems
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = DefaultCallTimeout
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultDirectInFlight
	}
	if o.InFlightBytes == 0 {
		o.InFlightBytes = DefaultDirectBytes
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = DefaultDirectMessage
	}
	return o, nil
}

// directBounds are the bounds that are no business of the user; tests make them smaller.
type directBounds struct {
	// actors is how many actors are remembered; those not in use make room, the least recently used one first.
	actors int
	// dials is how many connections may be in the making at once.
	dials int
	// dial is how long a connection may take.
	dial time.Duration
	// lookup is how long a search waits for an answer of the GCS, and silentGCS for how long none is asked of it after
	// that.
	lookup, silentGCS time.Duration
	// refused is how long a process that the GCS reports as alive may refuse connections, or calls as stale: the GCS
	// learns of a death within a second or two.
	refused time.Duration
	// burial is how long the GCS may take to learn of a process that ended properly.
	burial time.Duration
	// recheck and slowestRecheck are the pauses, each twice the one before, after which it is tried again whether an
	// actor can be reached by now.
	recheck, slowestRecheck time.Duration
	// silence is how long calls may wait while nothing comes from their target, until the GCS is asked about it; as
	// long as it reports the target as alive, the pauses grow up to slowestAsk.
	silence, slowestAsk time.Duration
	// abandon is how long a call whose caller gave up may still run before its stream is closed. A number was taken
	// from the actor's sequence for it: closing the stream at once might leave a hole, which stalls the calls behind it.
	abandon time.Duration
}

var defaultDirectBounds = directBounds{
	actors: 4096, dials: 64, dial: 3 * time.Second, lookup: 5 * time.Second, silentGCS: time.Second, refused: 5 * time.Second, burial: 1500 * time.Millisecond, recheck: 5 * time.Second, slowestRecheck: time.Minute,
	silence: 5 * time.Second, slowestAsk: 30 * time.Second, abandon: 30 * time.Second,
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
	gcs     *GCS
	rules   versionRules
	opts    DirectOptions
	bounds  directBounds
	classes classTable
	hosts   hostTable
	owner   *owner
	dials   chan struct{}      // a token for each connection in the making
	events  *taskevents.Buffer // nil: none are reported

	timers timerPool

	ctx         context.Context // lifetime of the calls and of all that goes on behind them; ends in Close
	cancel      context.CancelCauseFunc
	calls       sync.WaitGroup
	open, idled atomic.Int64   // connections; those that were closed because nothing was called
	background  sync.WaitGroup // searches and keepers

	mu       sync.Mutex // guards the fields below, the routes, and the users of targets; against closed, the Adds to the groups
	closed   bool
	inFlight int
	bytes    int64
	routes   map[actorKey]*route
	noGCS    *verdict   // set while the GCS does not answer
	used     *list.List // the routes; of those that are idle, the least recently used one comes first
}

type actorKey struct{ namespace, name string }

func (k actorKey) method(name string) string { return k.namespace + "/" + k.name + "." + name }

// callee is a method of an actor, as CallError.Target names it.
type callee struct {
	actor  actorKey
	method string
}

func (c callee) String() string { return c.actor.method(c.method) }

// NewDirect makes a Direct over a GCS connection, which it does not own. It does no I/O. ErrUnsupportedVersion says that
// direct calls were not tested on the cluster's Ray version.
func NewDirect(gcs *GCS, opts DirectOptions) (*Direct, error) {
	return newDirect(gcs, opts, defaultDirectBounds)
}

func newDirect(gcs *GCS, opts DirectOptions, bounds directBounds) (*Direct, error) {
	if gcs == nil {
		return nil, fmt.Errorf("%w: direct calls need a GCS, and it is nil", ErrInvalidOption)
	}
	rules, ok := tested[gcs.RayVersion()]
	if !ok {
		return nil, fmt.Errorf("%w: direct calls are tested on %s, the cluster runs %s", ErrUnsupportedVersion, strings.Join(TestedVersions(), ", "), gcs.RayVersion())
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Direct{
		gcs: gcs, rules: rules, opts: opts, bounds: bounds, classes: classTable{gcs: gcs}, hosts: hostTable{recheck: bounds.recheck},
		dials: make(chan struct{}, bounds.dials), routes: map[actorKey]*route{}, used: list.New(),
	}
	d.owner = &owner{direct: d, ports: map[string]int32{}, streams: map[string]*stream{}, lanes: map[*lane]*laneUse{}}
	d.ctx, d.cancel = context.WithCancelCause(context.Background())
	if opts.TaskEvents {
		d.events = taskevents.New(taskevents.Options{}, taskevents.Worker{}, gcs.addTaskEvents, nil)
	}
	return d, nil
}

// Call runs a method of a named actor and returns its result.
//
// While the actor is being created or restarted, Call waits for it until ctx ends; nothing was sent then. When ctx ends
// after the request left, Call returns at once: the error is a *CallError with SentMaybe and ctx's error. The worker is asked
// behind it to cancel the call, as ray.cancel in Python does: the context of a method in Go ends, a coroutine in Python gets
// asyncio.CancelledError, what they called in their turn is cancelled too; another method in Python runs to its end, and a
// call that waits for such a one may still run. A process that dies during the call, or of which the GCS says after a silence of some seconds that the
// actor is not there any more, gives the same with ErrActorUnavailable. An actor that is gone gives ErrActorDied or
// ErrActorNotFound with SentNo; so does one whose constructor raised, though Ray takes it for alive for a moment, in which
// the call may be sent: its process runs no method any more. What the method itself raised is a *TaskError. Nothing that was
// sent is sent again.
//
// ErrUnreachable, with SentNo, says that the process accepts no connection from here. That is found out once: calls after
// it fail at once, while it is tried again from time to time behind them.
//
// A context without a deadline is given one of DirectOptions.CallTimeout.
//
// Arguments and the result are values of package doc "Values". A byte string is copied once, into the
// request, and may be changed when Call has returned. Results above Ray's inline limit (100 KiB unless the
// actor raised it) are ErrUnsupportedValue after the method ran: Ray puts them into its object store, which a Direct does
// not read. They are freed there, also when the caller gave up; the error says if that was not possible. Arguments and results
// of Go actors have a limit of their own (ErrTooLarge).
func (d *Direct) Call(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	return d.callOr(ctx, actorKey{namespace, name}, method, args, false)
}

// callOr is Call; detour: the caller has another way, for which time is to be left.
func (d *Direct) callOr(ctx context.Context, key actorKey, method string, args []any, detour bool) (any, error) {
	if d.opts.Tracer == nil {
		return d.answer(ctx, key, method, args, detour)
	}
	var v any
	err := traced(ctx, d.opts.Tracer, TracedCall{"direct_call", key.method(method)}, func(ctx context.Context) (err error) {
		v, err = d.answer(ctx, key, method, args, detour)
		return err
	})
	return v, err
}

func (d *Direct) answer(ctx context.Context, key actorKey, method string, args []any, detour bool) (any, error) {
	target := callee{key, method}
	x, sent, err := d.call(ctx, key, method, args, detour)
	if err != nil {
		return nil, &CallError{Target: target.String(), Sent: sent, Err: err}
	}
	return decodeReply(target, &x.reply.PushTaskReply, x.kept)
}

func (d *Direct) call(ctx context.Context, key actorKey, method string, args []any, detour bool) (*exchange, Sent, error) {
	encoded, size, err := encodeArgs(args, d.opts.MaxMessage)
	if err != nil {
		return nil, SentNo, err
	}
	a := allow(ctx, d.opts.CallTimeout, int(size))
	r, err := d.begin(key, size)
	if err != nil {
		return nil, SentNo, err
	}
	var refusals refusals
	for {
		t, err := d.acquire(a, r, detour)
		if err != nil {
			d.end(r, nil, size)
			return nil, SentNo, err
		}
		if err := t.class.accepts(method, encoded, size); err != nil {
			d.end(r, t, size)
			return nil, SentNo, err
		}
		x := d.push(a, r, t, method, encoded, size)
		if x != nil {
			x.heard(ctx, d.opts.Tracer)
		}
		switch {
		case x == nil: // given up: it goes on behind the caller, who learns what is known now
			return nil, SentMaybe, a.ended()
		case x.err == nil:
			d.end(r, t, size)
			return x, SentYes, nil
		case x.sent != SentNo || !errors.Is(x.err, ErrActorUnavailable):
			d.end(r, t, size)
			return nil, x.sent, x.err
		}
		// Nothing left this process, or the worker refused it unread: the actor moved since it was looked up. Look again
		// for as long as the caller waits, unless the very process that the GCS names does not let us in.
		if err = refusals.add(t, x.err, d.bounds.refused); err == nil {
			err = d.pauseWithin(a, firstPoll)
		}
		if err != nil {
			d.end(r, t, size)
			return nil, SentNo, err
		}
		d.release(t)
	}
}

// refusals counts for how long the same process has been refusing calls.
type refusals struct {
	worker string
	since  time.Time
}

// add returns an error when that has been so for too long.
func (r *refusals) add(t *target, cause error, patience time.Duration) error {
	if worker := string(t.data.GetAddress().GetWorkerId()); worker != r.worker {
		r.worker, r.since = worker, time.Now()
	}
	if time.Since(r.since) < patience {
		return nil
	}
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, t.address, cause)
}

// begin counts a call in, within the bounds.
func (d *Direct) begin(key actorKey, size int64) (*route, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.inFlight >= d.opts.InFlight:
		return nil, &OverloadedError{"calls", int64(d.opts.InFlight), int64(d.inFlight), 1}
	case d.bytes > 0 && d.bytes+size > d.opts.InFlightBytes:
		return nil, &OverloadedError{"bytes", d.opts.InFlightBytes, d.bytes, size}
	}
	r, err := d.route(key)
	if err != nil {
		return nil, err
	}
	switch calls, bytes := max(d.opts.InFlight/actorShare, 1), d.opts.InFlightBytes/actorShare; {
	case r.calls >= calls:
		return nil, &OverloadedError{"calls of the actor", int64(calls), int64(r.calls), 1}
	case r.bytes > 0 && r.bytes+size > bytes:
		return nil, &OverloadedError{"bytes of the actor", bytes, r.bytes, size}
	}
	r.calls++
	r.bytes += size
	d.inFlight++
	d.bytes += size
	d.calls.Add(1)
	return r, nil
}

// end counts a call out, together with its use of a target if it has one.
func (d *Direct) end(r *route, t *target, size int64) {
	d.mu.Lock()
	r.calls--
	r.bytes -= size
	d.inFlight--
	d.bytes -= size
	last := t != nil && t.leave()
	d.park(r)
	d.mu.Unlock()
	if last {
		t.close() // nothing is in flight on it
	}
	d.calls.Done()
}

// InFlight returns the number of calls under way, calls that were given up included.
func (d *Direct) InFlight() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inFlight
}

// DirectStats tells of the calls and connections of a Direct.
type DirectStats struct {
	InFlight    int   `json:"in_flight"`   // calls under way, calls that were given up included
	Connections int   `json:"connections"` // to processes of actors
	IdleClosed  int64 `json:"idle_closed"` // connections that were closed because nothing was called for DirectOptions.Idle
}

// Stats returns the counts. It makes no round trip.
func (d *Direct) Stats() DirectStats {
	return DirectStats{InFlight: d.InFlight(), Connections: int(d.open.Load()), IdleClosed: d.idled.Load()}
}

// pause waits, or returns why there is nothing to wait for: the caller's context or the Direct ended.
func (d *Direct) pause(ctx context.Context, duration time.Duration) error {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-d.ctx.Done():
		return ErrClosed
	}
}

func (d *Direct) pauseWithin(a allowance, duration time.Duration) error {
	ctx, cancel := a.context()
	defer cancel()
	return d.pause(ctx, duration)
}

// ended returns ctx's error, and the cause where its owner gave one.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// Close refuses new calls, waits for those under way until ctx ends and then cuts them, and closes the connections to
// workers, which takes up to 5 s where TLS is used and not a byte can be written. Calls that were cut return ErrClosed, with SentMaybe if they
// had left. It is idempotent.
func (d *Direct) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
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
		err = fmt.Errorf("ray: close: %d direct calls were cut: %w", d.InFlight(), ctx.Err())
	}
	d.cancel(ErrClosed)
	<-drained
	d.background.Wait() // the keepers have closed the connections
	d.closeEvents(ctx)
	d.owner.close()
	d.mu.Lock()
	d.routes = nil
	d.mu.Unlock()
	return err
}
