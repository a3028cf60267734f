package ray

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/pyvalue"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	// putsAhead is how many puts without a waiter may be unanswered: enough to keep both processes of the server at work, and
	// few enough not to be felt by the request behind them.
	putsAhead = 4
	// putAheadMax bounds what such a put carries.
	putAheadMax = 64 << 10
)

// Put stores a value in the cluster: nil, bool, numbers, UTF-8 strings, []byte, slices, maps with text or integer keys and
// structs (by json tags) of such; time.Time as an aware datetime and time.Duration as a timedelta, without nanoseconds; the
// types of package ray/python; *ObjectRef and *ActorHandle of this session; nested at will. Nil slices and maps are empty
// ones. Anything else is ErrUnsupportedValue before anything is sent. An Array is a *TaskError where the cluster has no
// numpy. A value of more than 5 MiB travels in pieces and holds up the requests behind it. Put reads the bytes in v until it
// returns, and not later: if ctx ends while such a value travels, it takes a copy of it.
//
// A value of up to 64 KiB that holds no ref, handle or Array is one that the server cannot refuse. Put does not wait for the
// answer then, unless four such are on their way: the ref may be used at once, and what uses it waits. Should the value not get
// there after all, since the session was lost or the object store is full, whatever uses the ref fails with that. A ctx that
// ends later takes nothing back.
func (s *Session) Put(ctx context.Context, v any) (*ObjectRef, error) {
	parts, uses, numpy, err := s.pickle(ctx, borrow, func(e *pyvalue.Encoder) (any, error) { return e.Value(v) })
	if err != nil {
		return nil, &CallError{Target: "put", Sent: SentNo, Err: err}
	}
	c := lend(parts)
	if len(uses) == 0 && !numpy && c.size() <= putAheadMax && progressOf(ctx) == nil {
		return s.putAhead(ctx, c)
	}
	h, err := s.put(ctx, "put", c, uses)
	if err != nil {
		return nil, err
	}
	return s.objectRef(h), nil
}

// putRequest is a request that puts an object, in one piece of memory.
type putRequest struct {
	request
	msg  raypb.DataRequest
	kind raypb.DataRequest_Put
	body raypb.PutRequest
}

func newPut(ctx context.Context, target string, c content, uses []*tracked) *putRequest {
	r := &putRequest{request: request{target: target, loan: c.loan, size: int64(c.size()), uses: uses, progress: progressOf(ctx)}}
	r.body.Data = c.data
	r.kind.Put, r.msg.Type, r.request.msg = &r.body, &r.kind, &r.msg
	return r
}

// put stores a pickle. What the server cannot read or import is a clean error here, as it is not in a task.
func (s *Session) put(ctx context.Context, target string, c content, uses []*tracked) (*handle, error) {
	r := newPut(ctx, target, c, uses)
	err := s.roundTrip(ctx, &r.request)
	if c.loan != nil {
		c.loan.end(s.out.stateOf(&r.request) == stateSent)
	}
	if err != nil {
		return nil, err
	}
	if r.refused {
		return nil, refusalOf(target, r.refusal)
	}
	s.refs.sized(r.handles[0].t, c.size())
	return r.handles[0], nil
}

// putAhead stores a pickle, and waits only for its turn.
func (s *Session) putAhead(ctx context.Context, c content) (ref *ObjectRef, err error) {
	r := newPut(ctx, "put", c, nil)
	if s.cfg.Tracer == nil {
		return s.startPut(ctx, r)
	}
	err = traced(ctx, s.cfg.Tracer, TracedCall{r.operation(), r.target}, func(ctx context.Context) error {
		ref, err = s.startPut(ctx, r)
		return err
	})
	return ref, err
}

func (s *Session) startPut(ctx context.Context, r *putRequest) (*ObjectRef, error) {
	err := ctx.Err()
	if err == nil {
		err = s.waitOn(ctx, s.putTurns, s.lastMoved.at.Load)
	}
	var h *handle
	if err == nil {
		if h, err = s.refs.promise(&r.request); err != nil {
			s.putTurns.pass()
		}
	}
	if err != nil {
		return nil, &CallError{Target: r.target, Sent: SentNo, Err: err}
	}
	return s.objectRef(h), nil
}

// turns has an item for each of those who may go ahead at once.
type turns chan struct{}

func newTurns(n int) turns {
	t := make(turns, n)
	for range n {
		t <- struct{}{}
	}
	return t
}

// pass gives a turn back; nobody waits for it longer than who came before.
func (t turns) pass() { t <- struct{}{} }

// promise queues a put and returns the hold of the object that it is going to be.
func (t *references) promise(put *request) (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.first(kindObject)
	put.promises, h.t.put, h.t.uses = h.t, put, 1 // before it can be sent: fulfil waits for mu, but what calls it looks at promises
	if err := t.session.out.add(put); err != nil {
		return nil, err
	}
	t.promised++
	return h, nil
}

// fulfil gives the object that was promised the name that the answer has for it, or notes why there is none.
func (t *references) fulfil(put *request, answer *raypb.PutResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.promised--
	ref, id := put.promises, answer.GetId()
	ref.put = nil
	switch {
	case put.err != nil:
		ref.broken = put.err
	case put.refused:
		ref.broken = refusalOf(put.target, put.refusal)
	case len(id) == 0:
		ref.broken = &CallError{Target: put.target, Sent: SentMaybe, Err: errNoID}
	case t.live[string(id)] != nil:
		ref.broken = &CallError{Target: put.target, Sent: SentMaybe, Err: fmt.Errorf("%w: a new object with the id %x", errBadAnswer, id)}
	default:
		ref.id, ref.raw = string(id), id
		t.live[ref.id] = ref
	}
	ref.uses--
	t.enqueue(ref)
}

// unfulfilled counts the puts that were not answered; when the session is over, it stays what it is.
func (t *references) unfulfilled() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.promised
}

// promisedBy returns the put that has not named the object of h yet, or nil.
func (t *references) promisedBy(h *handle) *request {
	t.mu.Lock()
	defer t.mu.Unlock()
	return h.t.put
}
