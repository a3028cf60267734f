package ray

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pushtask"
	"github.com/seedcore/seedcore/internal/wire/unary"
)

// exchange is one request to an actor's process and its answer, in one piece.
type exchange struct {
	message  callMessage
	lane     *lane
	reported taskevents.Task
	call     unary.Call
	reply    pushtask.Reply
	err      error // in the vocabulary of this package
	sent     Sent  // of err
	kept     error // why a result is still in the object store
}

// push sends one request to t and waits for the answer or for the end of a. In the second case it returns nil: the worker is asked to
// cancel the call, which goes on behind the caller for a bounded time, and is counted until it is through.
func (d *Direct) push(a allowance, r *route, t *target, method string, args []*corepb.TaskArg, size int64) *exchange {
	trace := traceHeaders(a.ctx, d.opts.Tracer) // before the call has a number: it runs the tracer
	lane, seq := t.place()
	x := &exchange{lane: lane}
	spec := t.number(x, lane, seq, method, args)
	setParent(a.ctx, spec)
	x.reported = d.reportSent(t, method, spec)
	d.send(t, x, trace)
	if !d.awaits(a, x.call.Done()) {
		d.background.Go(func() { t.cancelTask(spec.GetTaskId(), lane.caller.GetWorkerId(), x.call.Done()) }) // while the call is counted
		d.background.Go(func() {
			x.seeThrough(d.bounds.abandon)
			d.conclude(r, t, x)
			d.settle(t, x)
			d.end(r, t, size)
		})
		t.doubt()
		return nil
	}
	if !d.judge(r, t, x) {
		d.settle(t, x)
		return x
	}
	told := make(chan struct{})
	var decided atomic.Bool  // by the one who comes first: the caller gets x, or has given up
	d.background.Go(func() { // while the call is counted
		d.inquire(t, x)
		d.settle(t, x)
		if decided.Swap(true) {
			d.end(r, t, size)
		}
		close(told)
	})
	if d.awaits(a, told) || decided.Swap(true) {
		<-told
		return x
	}
	return nil
}

// send starts the call of a request. Who does not want to wait for its answer cancels it.
func (d *Direct) send(t *target, x *exchange, trace []hpack.HeaderField) {
	request, err := pushtask.MarshalRequest(unary.HeadLen, &x.message.request)
	x.message.spec.Args = nil // they may be large
	if err != nil {
		x.call.Refuse(err)
		return
	}
	unary.PutHead(request)
	x.call.Method, x.call.Request, x.call.Metadata = corepb.CoreWorkerService_PushTask_FullMethodName, request, trace
	_, x.call.KeepTrailer = d.opts.Tracer.(TraceReceiver)
	t.conn.Start(&x.call)
}

// awaits waits until done is closed, and returns false if a ends before that.
func (d *Direct) awaits(a allowance, done <-chan struct{}) bool {
	var expired <-chan time.Time
	if a.timeout > 0 {
		timer := d.timers.get(time.Until(a.by))
		defer d.timers.put(timer)
		expired = timer.C
	}
	select {
	case <-done:
		return true
	case <-a.ctx.Done():
	case <-expired:
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// seeThrough waits for the answer to a call that was given up, and no longer than patience.
func (x *exchange) seeThrough(patience time.Duration) {
	cut := time.AfterFunc(patience, x.call.Cancel)
	<-x.call.Done()
	cut.Stop()
}

// conclude says what became of a request, with what has to be asked of the cluster.
func (d *Direct) conclude(r *route, t *target, x *exchange) {
	if d.judge(r, t, x) {
		d.inquire(t, x)
	}
}

// judge reads what came of a request: of its failure, in the vocabulary of this package, also that the actor is not at t any more.
// open tells that the cluster has to be asked about it as well.
func (d *Direct) judge(r *route, t *target, x *exchange) (open bool) {
	t.heard.Add(1)
	err := x.call.Err
	if err == nil {
		err = x.reply.Unmarshal(x.call.Reply)
	}
	if err == nil {
		return len(stored(&x.reply.PushTaskReply)) > 0
	}
	var moved bool
	if x.sent, moved, x.err = t.classify(err, x.call.Left()); moved {
		d.forget(r, t)
	}
	return x.endedOrderly()
}

// inquire asks the cluster about a request: that a result in the object store be freed, or whether the actor was ever there.
func (d *Direct) inquire(t *target, x *exchange) {
	if x.err == nil {
		x.kept = d.free(t, stored(&x.reply.PushTaskReply))
	} else if died := d.wasUnbuilt(t); died != nil {
		x.sent, x.err = SentNo, died
	}
}

// settle draws the consequences of what is known of a call in the end.
func (d *Direct) settle(t *target, x *exchange) {
	if x.err != nil {
		t.retire(x.lane)
	}
	d.reportEnd(x.reported, x)
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
