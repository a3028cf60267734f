package ray

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// errExhausted: request ids are numbers up to the largest int32, and a session never reuses one.
var errExhausted = errors.New("all request ids of the session are used up")

// errBadAnswer: the server answered a request with something that is no answer to it.
var errBadAnswer = errors.New("ray: the server's answer does not fit the request")

// errNoID: an answer names an object that has no id.
var errNoID = fmt.Errorf("%w: an object without an id", errBadAnswer)

// pingReserve is how many requests beyond the bound may be pings: whether the server answers has to be seen also when what
// was given up fills the bound.
const pingReserve = 100

// acknowledgeEvery is after how many answers the server is told that it may forget them.
const acknowledgeEvery = 32

// outbox holds the requests of a session that have no answer yet: those that wait for the sender, and those that were
// sent and are sent again on a new stream until an answer comes.
type outbox struct {
	maxRequests int
	maxBytes    int64
	// wake has room for one signal to the sender.
	wake chan struct{}

	mu sync.Mutex // guards all below, and the guarded part of requests
	// refused is why nothing more is accepted; nil while open.
	refused error
	queue   requestQueue
	sent    map[int32]*request
	// apart are the gets under way that do not go through the sender, and carrying what carries them. See getLarge.
	apart    map[*request]struct{}
	carrying sync.WaitGroup
	// unanswered are the sent requests whose answers the server caches, in ascending order. Those that were answered are
	// dropped once they are in front.
	unanswered []*request
	// room is the memory of unanswered from its beginning. What unanswered left there is nil.
	room   []*request
	lastID int32
	bytes  int64
	actors map[string]int // requests here, by request.actor
	// inUse counts what Close waits for: requests with a waiter, and unary calls.
	inUse int
	idle  chan struct{} // non-nil once Close waits; closed when inUse reaches 0
	// answers counts since the last acknowledgement; ackDue is the id to acknowledge next, 0 for none.
	answers int
	ackDue  int32
	acked   int32
}

func newOutbox(maxRequests int, maxBytes int64) *outbox {
	return &outbox{
		maxRequests: maxRequests, maxBytes: maxBytes,
		wake: make(chan struct{}, 1), sent: map[int32]*request{}, apart: map[*request]struct{}{}, actors: map[string]int{},
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// add queues r with one waiter, or says why not. Nothing was sent then.
func (o *outbox) add(r *request) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.admit(r); err != nil {
		return err
	}
	r.state = stateQueued
	o.queue.push(r)
	o.signal()
	return nil
}

// admit counts r in, with one waiter, or says why not. Called with mu held.
func (o *outbox) admit(r *request) error {
	if o.refused != nil && !r.last {
		return o.refused
	}
	if !r.internal {
		limit := o.maxRequests
		if r.ping {
			limit += pingReserve
		}
		if n := o.queue.n + len(o.sent) + len(o.apart); n >= limit {
			return &OverloadedError{"calls", int64(limit), int64(n), 1}
		}
		if n, limit := o.actors[r.actor], max(o.maxRequests/actorShare, 1); n >= limit {
			return &OverloadedError{"calls of the actor", int64(limit), int64(n), 1}
		}
		if o.bytes > 0 && o.bytes+r.size > o.maxBytes {
			return &OverloadedError{"bytes", o.maxBytes, o.bytes, r.size}
		}
		r.waiters = 1
		o.inUse++
	}
	o.count(r, 1)
	r.done = make(chan struct{})
	return nil
}

// enter counts a unary call as being in use, or says why it must not start.
func (o *outbox) enter() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused != nil {
		return o.refused
	}
	o.inUse++
	return nil
}

func (o *outbox) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unuse()
}

// unuse is called with mu held.
func (o *outbox) unuse() {
	o.inUse--
	if o.inUse == 0 && o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// join adds a waiter to a request that is under way or done.
func (o *outbox) join(r *request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.state == stateDone {
		return
	}
	if r.waiters++; r.waiters == 1 {
		o.inUse++
	}
}

// withdraw takes a waiter away from r and reports the state in which r is left: stateNew if that was the last waiter and
// r had not been taken by the sender, so that it never will be; stateDone if there is an answer after all; otherwise r
// goes on without the waiter.
func (o *outbox) withdraw(r *request) requestState {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.state == stateDone {
		return stateDone
	}
	if r.waiters--; r.waiters > 0 {
		return r.state
	}
	o.unuse()
	if r.state == stateQueued {
		o.unqueue(r)
		r.state = stateNew
	}
	return r.state
}

// stateOf returns the state of r, which may be another one by now.
func (o *outbox) stateOf(r *request) requestState {
	o.mu.Lock()
	defer o.mu.Unlock()
	return r.state
}

// unqueue is called with mu held.
func (o *outbox) unqueue(r *request) {
	o.queue.remove(r)
	o.count(r, -1)
}

// count counts r in or out; delta is 1 or -1. Called with mu held.
func (o *outbox) count(r *request, delta int) {
	o.bytes += int64(delta) * r.size
	if r.actor == "" {
		return
	}
	if o.actors[r.actor] += delta; o.actors[r.actor] == 0 {
		delete(o.actors, r.actor)
	}
}

// take gives the sender what to send next: an acknowledgement, or a request that now has its id. Both are empty when
// there is nothing.
func (o *outbox) take() (ack int32, r *request, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ackDue != 0 {
		ack, o.ackDue = o.ackDue, 0
		o.acked = ack
		return ack, nil, nil
	}
	r = o.queue.front
	if r == nil {
		return 0, nil, nil
	}
	if o.lastID == math.MaxInt32 {
		return 0, nil, errExhausted
	}
	o.queue.remove(r)
	o.lastID++
	r.msg.ReqId = o.lastID
	r.state = stateSent
	o.sent[r.msg.ReqId] = r
	if r.cached() {
		full := len(o.unanswered) == cap(o.unanswered)
		o.unanswered = append(o.unanswered, r)
		if full {
			o.room = o.unanswered // it moved; the memory from before must not keep requests, and with them their data
		}
	}
	return 0, r, nil
}

// replay returns what a new stream starts with: all that was sent without an answer, in ascending order. Gets that
// nobody waits for any more are not asked for again; they are returned apart, already forgotten.
func (o *outbox) replay() (again, dropped []*request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, r := range o.sent {
		if r.object != nil && r.waiters == 0 {
			delete(o.sent, id)
			o.count(r, -1)
			r.state = stateAnswered
			dropped = append(dropped, r)
			continue
		}
		again = append(again, r)
	}
	slices.SortFunc(again, func(a, b *request) int { return int(a.msg.ReqId - b.msg.ReqId) })
	return again, dropped
}

// accept takes a message of the server. It returns the request that is now answered, which the caller must hand to
// finish, or nil if the message answers nothing or not yet completely.
func (o *outbox) accept(resp *raypb.DataResponse) *request {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.sent[resp.GetReqId()]
	if r == nil {
		return nil
	}
	switch {
	case !answers(r.msg, resp):
		r.err = fmt.Errorf("%w: %T for %T", errBadAnswer, resp.GetType(), r.msg.GetType())
	case r.object != nil && resp.GetGet().GetValid():
		complete, err := r.object.add(resp.GetGet())
		r.moved.touch()
		if err == nil && !complete {
			return nil
		}
		if err == nil {
			r.data = r.object.bytes()
		}
		r.err = err
	}
	switch x := resp.GetType().(type) {
	case *raypb.DataResponse_Get:
		r.refused, r.refusal = !x.Get.GetValid(), x.Get.GetError()
	case *raypb.DataResponse_Put:
		r.refused, r.refusal = !x.Put.GetValid(), x.Put.GetError()
	case *raypb.DataResponse_TaskTicket:
		r.refused, r.refusal = !x.TaskTicket.GetValid(), x.TaskTicket.GetError()
	default:
		r.answer = resp
	}
	r.state = stateAnswered
	o.count(r, -1)
	delete(o.sent, r.msg.ReqId)
	for len(o.unanswered) > 0 && o.unanswered[0].state != stateSent {
		o.unanswered[0] = nil
		o.unanswered = o.unanswered[1:]
	}
	if len(o.unanswered) == 0 {
		o.unanswered = o.room[:0]
	}
	if o.answers++; o.answers >= acknowledgeEvery {
		// An acknowledgement makes the server forget every answer up to that id, and refuse the ids for ever: it must stay
		// below whatever may have to be sent again.
		ack := o.lastID
		if len(o.unanswered) > 0 {
			ack = o.unanswered[0].msg.ReqId - 1
		}
		if ack > o.acked {
			o.answers = 0
			o.ackDue = ack
			o.signal()
		}
	}
	return r
}

// listener returns the request whose caller wants to hear of this piece of a value, or nil.
func (o *outbox) listener(resp *raypb.DataResponse) *request {
	if !resp.GetGet().GetValid() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.sent[resp.GetReqId()]; r != nil && r.progress != nil && r.object != nil {
		return r
	}
	return nil
}

// finish makes the answer of r known, and reports whether anybody waits for it.
func (o *outbox) finish(r *request) (wanted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	r.state = stateDone
	close(r.done)
	wanted = r.waiters > 0
	if wanted {
		o.unuse()
	}
	return wanted
}

// refuse makes add and enter fail with err from now on. The first reason stays.
func (o *outbox) refuse(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refused == nil {
		o.refused = err
	}
}

// fail ends every request that has no answer with err, and says of each whether it may have been executed.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = err
	for r := o.queue.front; r != nil; r = r.next {
		o.failOne(r, SentNo, err)
	}
	for _, r := range o.sent {
		o.failOne(r, SentMaybe, err)
	}
	for r := range o.apart {
		o.failOne(r, SentMaybe, err)
	}
	o.queue = requestQueue{}
	clear(o.sent)
	clear(o.apart)
	clear(o.actors)
	o.unanswered, o.room = nil, nil
	o.bytes = 0
}

// failOne is called with mu held.
func (o *outbox) failOne(r *request, sent Sent, err error) {
	r.err = &CallError{Target: r.target, Sent: sent, Err: err}
	r.state = stateDone
	close(r.done)
	if r.waiters > 0 {
		o.unuse()
	}
}

// drained returns a channel that is closed when nothing is in use. Call it once, after refuse.
func (o *outbox) drained() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := make(chan struct{})
	if o.inUse == 0 {
		close(c)
	} else {
		o.idle = c
	}
	return c
}

// counts returns how many requests wait for the sender and how many for their answer, and how many are in use.
func (o *outbox) counts() (queued, sent, inUse int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue.n, len(o.sent) + len(o.apart), o.inUse
}
