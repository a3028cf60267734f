package ray

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pushtask"
)

// target is one incarnation of an actor: a process, the connection to it and the order of our calls to it. An actor that
// moved is another target, and so is one whose connection broke.
//
// It lives through four stages, in this order: being connected, inside a search; current, the target of its route;
// forgotten, without new users; closed, when the last user has left. A target of which the GCS says that it is gone ends
// the calls of its users, else they end by themselves.
type target struct {
	data    *corepb.ActorTableData
	class   *actorClass
	address string // as it is dialled
	localIP string // of this process, as it was used to dial

	taskCalls map[string]*taskevents.Call // by method; nil: the calls are not reported

	credentials *Credentials
	dial        Dialer
	conn        *grpc.ClientConn
	worker      corepb.CoreWorkerServiceClient
	options     []grpc.CallOption // of pushTask
	taskNo      atomic.Uint64     // unique part of task ids, from a random start
	heard       atomic.Int64      // answers so far, failures included
	doubted     chan struct{}     // holds one request to ask the GCS whether the actor is still here

	ctx context.Context // of the calls; its cause is why they were cut
	end context.CancelCauseFunc

	users     int  // calls under way; guarded by Direct.mu
	forgotten bool // no longer handed out; guarded by Direct.mu

	mu    sync.Mutex // guards lane and its next number, and lives
	lane  *lane
	lives []*life // for the next calls, at most idleExchanges

	streams streamLane

	unbuilt unbuilt
}

// lane is one sequence of calls as the worker sees it: a caller id and numbers from 0 without a gap. A lane in which a
// number may have been lost is retired; calls after it use another, which the worker takes for a new caller.
type lane struct {
	caller *corepb.Address
	next   int64
}

func newLane() *lane {
	id := make([]byte, idLen)
	rand.Read(id)
	return &lane{caller: &corepb.Address{WorkerId: id, IpAddress: "127.0.0.1", Port: 1, NodeId: make([]byte, idLen)}}
}

// What a worker may send before it is read, in one answer and in all, in bytes.
const (
	directStreamWindow = 4 << 20
	directConnWindow   = 16 << 20
)

// newTarget checks that a request to the actor can be harmless. It does no I/O.
func newTarget(data *corepb.ActorTableData, class *actorClass) (*target, error) {
	address := data.GetAddress()
	for name, pair := range map[string][2]int{
		"actor id":  {len(data.GetActorId()), actorIDLen},
		"worker id": {len(address.GetWorkerId()), idLen},
	} {
		if pair[0] != pair[1] {
			return nil, fmt.Errorf("ray: the GCS gave an %s of %d bytes instead of %d", name, pair[0], pair[1])
		}
	}
	if data.GetState() != corepb.ActorTableData_ALIVE || address.GetPort() <= 0 || address.GetPort() > 65535 {
		return nil, unavailable(data, fmt.Sprintf("state %s, port %d", data.GetState(), address.GetPort()), nil)
	}
	t := &target{data: data, class: class, lane: newLane(), doubted: make(chan struct{}, 1), streams: streamLane{turn: make(chan struct{}, 1)}}
	var seed [8]byte
	rand.Read(seed[:])
	t.taskNo.Store(binary.LittleEndian.Uint64(seed[:]))
	return t, nil
}

// connect dials t.address, once: a target does not outlive its connection. It fails with ErrUnreachable when there is
// none that a worker could be behind. ctx bounds the life of the target too.
func (t *target) connect(ctx context.Context, patience time.Duration, maxMessage int) error {
	var dialled atomic.Bool
	refusal := make(chan error, 1)
	secured, _ := t.credentials.DialOptions(t.address)
	conn, err := grpc.NewClient("passthrough:///"+t.address, append(secured,
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			if dialled.Swap(true) {
				return nil, errConnectionLost
			}
			conn, err := t.dial.open(ctx, address)
			if err != nil {
				refusal <- err
				return nil, err
			}
			t.localIP = localIP(conn)
			return conn, nil
		}),
		// Fixed windows: to find better ones gRPC would send a ping along with every answer.
		grpc.WithStaticStreamWindowSize(directStreamWindow),
		grpc.WithStaticConnWindowSize(directConnWindow),
		grpc.WithNoProxy(),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(), // of a resolver
		grpc.WithDefaultServiceConfig(fmt.Sprintf(limits, math.MaxInt32, maxMessage)))...)
	if err != nil {
		return fmt.Errorf("ray: address %q of the actor's worker: %w", t.address, err)
	}
	if err := waitReady(ctx, conn, patience); err != nil {
		select {
		case err = <-refusal:
		default:
		}
		_ = conn.Close() // nothing was sent on it
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, t.address, err)
	}
	t.conn, t.worker = conn, corepb.NewCoreWorkerServiceClient(conn)
	t.ctx, t.end = context.WithCancelCause(ctx)
	// Nothing is kept of a request to send it again: its buffer is free as soon as it is written.
	t.options = []grpc.CallOption{grpc.StaticMethod(), grpc.ForceCodecV2(pushtask.Codec{}), grpc.MaxRetryRPCBufferSize(0)}
	return nil
}

// limits are the sizes of a request, which is checked before a number is taken for it, and of a result. As call options they
// would cost allocations with each call.
const limits = `{"methodConfig": [{
	"name": [{"service": "ray.rpc.CoreWorkerService", "method": "PushTask"}],
	"maxRequestMessageBytes": %d, "maxResponseMessageBytes": %d}]}`

var (
	errConnectionLost = errors.New("ray: the connection to the actor's process was lost")
	errNotReady       = errors.New("ray: what listens there does not speak gRPC")
)

// waitReady waits until the first connection of conn is up.
func waitReady(ctx context.Context, conn *grpc.ClientConn, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn.Connect()
	for {
		switch state := conn.GetState(); state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return errNotReady
		default:
			if !conn.WaitForStateChange(ctx, state) {
				return ctx.Err() // a net.Error whose Timeout is true
			}
		}
	}
}

// place gives a call the next number of the current lane.
func (t *target) place() (*lane, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := t.lane.next
	t.lane.next++
	return t.lane, seq
}

// life is the context of one call after the other: a new one for each would cost five allocations. It ends with
// its target, or early when the caller of its call gives up, and then it is not used again.
type life struct {
	ctx   context.Context
	end   context.CancelFunc
	timer *time.Timer // nil before the first call that needs one
}

func (t *target) life() *life {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last := len(t.lives) - 1; last >= 0 {
		l := t.lives[last]
		t.lives = t.lives[:last]
		return l
	}
	ctx, end := context.WithCancel(t.ctx)
	return &life{ctx: ctx, end: end}
}

// expiry returns what tells that the time of a call is over, nil where its context alone does.
func (l *life) expiry(a allowance) <-chan time.Time {
	switch {
	case a.timeout == 0:
		return nil
	case l.timer == nil:
		l.timer = time.NewTimer(time.Until(a.by))
	default:
		l.timer.Reset(time.Until(a.by))
	}
	return l.timer.C
}

// spare keeps a life that nobody can end any more but t.
func (t *target) spare(l *life) {
	if l.timer != nil {
		l.timer.Stop()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lives) < idleExchanges {
		t.lives = append(t.lives, l)
	} else {
		l.end()
	}
}

// callMessage is a request, in one piece.
type callMessage struct {
	request   corepb.PushTaskRequest
	spec      corepb.TaskSpec
	actorTask corepb.ActorTaskSpec
	taskID    [taskIDLen]byte
}

// number writes the request of x. Fields that a Python worker checks with a fatal assertion are marked.
func (t *target) number(x *exchange, lane *lane, seq int64, method string, args []*corepb.TaskArg) *corepb.TaskSpec {
	actorID := t.data.GetActorId()
	o := &x.message
	taskID := o.taskID[:] // fatal: length
	// fatal: two ids that differ in their first byte alone. The worker overwrites it with the number of the attempt before
	// it derives the ids of what the method puts and submits from the task's.
	binary.BigEndian.PutUint64(taskID, t.taskNo.Add(1))
	copy(taskID[8:], actorID)

	o.actorTask.ActorId, o.actorTask.ConcurrencyGroupSequenceNumber = actorID, uint64(seq)

	spec := &o.spec
	spec.Type = corepb.TaskType_ACTOR_TASK // fatal: NORMAL_TASK
	spec.Name = t.class.taskName(method)
	spec.Language = corepb.Language_PYTHON
	spec.FunctionDescriptor = t.class.descriptor(method) // fatal: unknown method or class, any hash
	spec.JobId = actorID[actorIDLen-jobIDLen:]           // fatal: another job than the actor's
	spec.TaskId = taskID
	spec.CallerAddress = lane.caller // fatal: length of the worker id
	spec.Args = args                 // fatal: an argument with neither data nor metadata
	spec.NumReturns = 1
	spec.GeneratorBackpressureNumObjects = -1 // fatal: 0, the default of the wire
	spec.EnableTaskEvents = t.taskCalls != nil
	spec.ActorTaskSpec = &o.actorTask

	req := &o.request
	req.IntendedWorkerId = t.data.GetAddress().GetWorkerId()
	req.SequenceNumber = seq     // fatal: negative
	req.ClientProcessedUpTo = -1 // anything else makes the worker drop older calls of ours that still wait
	req.TaskSpec = spec
	return spec
}

// localIP returns this end's address of a connection.
func localIP(conn net.Conn) string {
	host, _, _ := net.SplitHostPort(conn.LocalAddr().String()) // of a TCP connection
	return host
}

// retire makes later calls start a lane of their own.
func (t *target) retire(l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lane == l {
		t.lane = newLane()
	}
}

// leave takes a user away and tells whether the target is to be closed: the connection of a forgotten one ends with its
// last user. Direct.mu is held.
func (t *target) leave() (last bool) {
	t.users--
	return t.forgotten && t.users == 0
}

// close ends the connection. It is called once, when nobody uses the target any more.
func (t *target) close() error {
	t.end(errConnectionLost)
	return t.conn.Close()
}

// doubt has the GCS asked whether the actor is still here.
func (t *target) doubt() {
	select {
	case t.doubted <- struct{}{}:
	default: // it is going to be asked
	}
}

// exchange is one request and its answer.
type exchange struct {
	done    chan struct{}
	message callMessage
	reply   pushtask.Reply
	err     error // in the vocabulary of this package
	sent    Sent  // of err
	kept    error // why a result is still in the object store

	call    pushtask.Call
	trailer *metadata.MD // what came with the answer; nil where nobody wants to know
	settled atomic.Bool  // whoever sets it first: the answer came, or the caller gave up
	giveUp  *time.Timer  // closes the stream of a call that was given up; set before settled
}

func (d *Direct) exchange() *exchange {
	x := &exchange{done: make(chan struct{})}
	if _, ok := d.opts.Tracer.(TraceReceiver); ok {
		x.trailer = &metadata.MD{}
	}
	return x
}

// push sends one request to t and waits for the answer or for the end of a. In the second case it returns nil: the worker is asked to
// cancel the call, and the exchange goes on by itself, for a bounded time, and ends the call when it is through.
func (d *Direct) push(a allowance, r *route, t *target, method string, args []*corepb.TaskArg, size int64) *exchange {
	x := d.exchange()
	// Not the caller's context: the stream has to live on when the caller gives up, and of the headers
	// only those of the trace are his.
	life := t.life()
	live := carrying(life.ctx, a.ctx, d.opts.Tracer)
	lane, seq := t.place()
	spec := t.number(x, lane, seq, method, args)
	setParent(a.ctx, spec)
	reported := d.reportSent(t, method, spec)
	run := func() {
		x.err = t.pushTask(live, x)
		if x.err != nil {
			t.retire(lane)
		}
		d.conclude(r, t, x)
		d.reportEnd(reported, x)
		if x.settled.Swap(true) {
			x.giveUp.Stop()
			life.end()
			d.end(r, t, size)
		}
		close(x.done)
	}
	expired := life.expiry(a)
	if expired == nil && a.ctx.Done() == nil {
		run()
		t.spare(life)
		return x
	}
	d.exchanges.run(d, run)
	select {
	case <-x.done:
		t.spare(life)
		return x
	case <-a.ctx.Done():
	case <-expired:
	}
	x.giveUp = time.AfterFunc(d.bounds.abandon, life.end)
	d.background.Go(func() { t.cancelTask(spec.GetTaskId(), lane.caller.GetWorkerId(), x.done) }) // while the call is counted
	if x.settled.Swap(true) {
		x.giveUp.Stop()
		<-x.done
		life.end()
		return x
	}
	t.doubt()
	return nil
}

// conclude says what became of a request: of its failure, in the vocabulary of this package, also that the actor is not at t any
// more; of its result, that it is in the object store, from which it is freed.
func (d *Direct) conclude(r *route, t *target, x *exchange) {
	t.heard.Add(1)
	if x.err == nil {
		if ids := stored(&x.reply.PushTaskReply); len(ids) > 0 {
			x.kept = d.free(t, ids)
		}
		return
	}
	var moved bool
	if x.sent, moved, x.err = t.classify(x.err, x.call.Left.Load()); moved {
		d.forget(r, t)
	}
	if died := d.wasUnbuilt(t, x); died != nil {
		x.sent, x.err = SentNo, died
	}
}

// pushTask sends a request and waits for the answer. x.call tells then whether gRPC had handed the request to the network,
// since the status of a failed call does not: UNAVAILABLE is both a refused connection and one that broke while the
// method ran.
func (t *target) pushTask(ctx context.Context, x *exchange) error {
	x.call.Request = &x.message.request
	options := t.options
	if x.trailer != nil {
		options = append(slices.Clip(options), grpc.Trailer(x.trailer))
	}
	err := t.conn.Invoke(ctx, corepb.CoreWorkerService_PushTask_FullMethodName, &x.call, &x.reply, options...)
	x.message.spec.Args = nil // they may be large, and a stream has an end to be read
	return err
}

// idleExchanges is how many goroutines wait for the next exchange.
const idleExchanges = 64

// exchangePool runs exchanges on goroutines that are used again: the stack of a new one is too small for gRPC and has to
// be copied more than once while it grows.
type exchangePool struct {
	idle    chan func() // closed when no more exchanges come
	waiting atomic.Int32
	closed  sync.Once
}

// run has f run on another goroutine. A call is under way, so that d waits for those that end after it.
func (p *exchangePool) run(d *Direct, f func()) {
	select {
	case p.idle <- f:
		return
	default:
	}
	d.background.Go(func() { p.work(f) })
}

// work runs f and what comes next, until no more comes or enough others wait for it.
func (p *exchangePool) work(f func()) {
	for f != nil {
		f()
		if p.waiting.Add(1) > idleExchanges {
			p.waiting.Add(-1)
			return
		}
		f = <-p.idle
		p.waiting.Add(-1)
	}
}

// close ends the goroutines that wait, when no call is under way any more.
func (p *exchangePool) close() { p.closed.Do(func() { close(p.idle) }) }
