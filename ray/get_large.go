package ray

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	// largeGets is how many large values a session fetches at once by calls of their own: each takes one of the server's
	// threads. More of them travel on the data channel.
	largeGets = 2
	// largeTries is how many attempts of such a call in a row may bring nothing. Then the data channel has to do.
	largeTries = 3
)

// getLarge fetches a value that is known to be large, of about so many bytes, by a GetObject call of its own. On the data
// channel the server makes all chunks before the first leaves, here one after the other, which is faster, and other answers
// do not wait behind them. After a cut the call goes on at the chunk that is missing. Where it does not work out, the data
// channel carries the same get, from its beginning: it takes no thread, waits for a value as long as it takes, and tells
// what is the matter.
func (s *Session) getLarge(r *request, size int) {
	s.requests.Add(1)
	object := assembler{expected: uint64(size + size/64)}
	err := s.getOver(r, &object, getStall+time.Duration(size>>26)*time.Second) // 64 MiB a second are slow for a server
	if errors.Is(err, errInstead) {
		s.refs.fetchInstead(r)
		return
	}
	var list []byte
	if err == nil {
		s.answers.Add(1)
		list = object.bytes()
	} else {
		err = &CallError{Target: r.target, Sent: SentMaybe, Err: err}
	}
	if s.out.answerApart(r, list, err) {
		s.deliver(r)
	}
}

// errInstead: the data channel is to carry the get.
var errInstead = errors.New("ray: a get on the data channel instead")

// getOver makes the request, again and again over failures of the connection, until the object is complete.
func (s *Session) getOver(r *request, object *assembler, stall time.Duration) error {
	in := &raypb.GetRequest{Ids: r.msg.GetGet().GetIds(), Timeout: getTogetherTimeout}
	pace := pacer{firstResumePause, lastResumePause}
	for tries := 1; ; tries++ {
		before := object.next()
		in.StartChunkId = before
		err := s.getOnce(r, in, object, stall)
		switch {
		case err == nil, errors.Is(err, errTransfer), errors.Is(err, ErrUnsupportedValue):
			return err
		case s.ctx.Err() != nil:
			return s.overError()
		}
		if object.next() > before {
			tries = 0
			pace.bound = firstResumePause
		}
		if object.next() == 0 && errors.Is(err, errStalled) || errors.Is(err, errNotGot) || isTerminal(err) || tries == largeTries {
			return errInstead
		}
		_ = pace.wait(s.ctx) // the next attempt notices that it ended
	}
}

// errStalled: nothing came for too long.
var errStalled = errors.New("ray: the server does not begin to answer")

// getOnce makes the request once, for what is missing of the object. A server without a free thread takes no notice of it;
// once it has begun to answer there is no more to wait for than the link.
func (s *Session) getOnce(r *request, in *raypb.GetRequest, object *assembler, stall time.Duration) error {
	ctx, cancel := context.WithCancelCause(s.outgoing(s.ctx))
	defer cancel(nil)
	stalled := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer stalled.Stop()
	err := s.getObject(ctx, in, object, func() {
		stalled.Stop()
		r.moved.touch()
		if r.progress != nil {
			r.progress(Progress{Done: int64(object.received), Total: int64(object.size)})
		}
	}, grpc.WaitForReady(true))
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: %w", errStalled, err)
	}
	return err
}

// fetchApart starts the get r of a large value, unless that has to wait for its turn on the data channel. Called with mu
// held.
func (t *references) fetchApart(r *request) bool {
	size := r.fetches.large
	if size == 0 {
		return false
	}
	// A ref in the value may be dead if it is released from here on; see adopt.
	r.msg.ReqId = t.carriedOut
	return t.session.out.addApart(r, func() { t.session.getLarge(r, size) })
}

// fetchInstead leaves a get to the data channel, unless nobody waits for it.
func (t *references) fetchInstead(r *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.session.out.queueInstead(r) {
		r.fetches.fetch = nil
		r.fetches.uses--
		t.enqueue(r.fetches)
	}
}

// sized notes that the pickle of a ref's value has so many bytes, if that bears on how it is fetched.
func (t *references) sized(ref *tracked, size int) {
	if size <= largestMessage {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref.large = size
}

// inOrder has the next get of a ref take its turn on the data channel: the server carries it out behind the releases that were
// made before, however long they take.
func (t *references) inOrder(ref *tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ref.large = 0
}

// only returns the one value of a list.
func only(v any) (any, error) {
	list, ok := v.(*pickle.List)
	if !ok || len(list.Items) != 1 {
		return nil, fmt.Errorf("%w: a %T in place of a list of one value", errBadAnswer, v)
	}
	return list.Items[0], nil
}

// addApart admits a get that does not go through the sender, and starts what carries it; false if there is no room.
func (o *outbox) addApart(r *request, carry func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.apart) >= largeGets || o.admit(r) != nil {
		return false
	}
	r.state = stateSent
	o.apart[r] = struct{}{}
	o.carrying.Go(carry) // here, since nothing is admitted once they are waited for
	return true
}

// answerApart takes the outcome of such a get, which the caller must hand to finish; false if the session ended it before.
func (o *outbox) answerApart(r *request, list []byte, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.state == stateDone {
		return false
	}
	delete(o.apart, r)
	o.count(r, -1)
	r.state = stateAnswered
	r.data, r.err, r.listed = list, err, true
	return true
}

// queueInstead gives such a get to the sender; false if nobody waits for it, or the session ended it before.
func (o *outbox) queueInstead(r *request) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.apart, r)
	switch {
	case r.state == stateDone:
		return false
	case r.waiters == 0:
		o.count(r, -1)
		o.failOne(r, SentMaybe, context.Canceled)
		return false
	}
	r.state = stateQueued
	o.queue.push(r)
	o.signal()
	return true
}
