package ray

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ObjectRef stands for a value in the cluster. It belongs to the session that made it, and keeps the value alive until it
// is released or the session ends. A ref that the program drops is released some time later, by the garbage collector.
type ObjectRef struct{ h *handle }

// String names the ref by its ID, if it has one by now.
func (r *ObjectRef) String() string {
	if r == nil {
		return "ObjectRef(nil)"
	}
	if put := r.h.session.refs.promisedBy(r.h); put != nil && !isDone(put) {
		return "ObjectRef(being put)"
	}
	return "ObjectRef(" + r.ID() + ")"
}

// ID returns Ray's id of the object, in hex; "" of a nil ref, or of one whose Put failed after all. It waits for the answer
// of a Put that is under way, or the end of the session.
func (r *ObjectRef) ID() string { return r.hold().id() }

// Release gives the value up. It returns at once; the cluster learns of it when every call that uses the ref has its
// answer, together with other releases. It is idempotent, and does nothing to a nil ref. Afterwards the ref cannot be used: ErrReleased.
func (r *ObjectRef) Release() { r.hold().release() }

func (r *ObjectRef) hold() *handle {
	if r == nil {
		return nil
	}
	return r.h
}

func (s *Session) objectRef(h *handle) *ObjectRef {
	ref := &ObjectRef{h: h}
	h.cleanup = runtime.AddCleanup(ref, collect, h)
	return ref
}

// Get waits for the value of a ref and returns it: nil, bool, int64 (uint64 above its range, *big.Int beyond),
// float64, complex128, string, []byte, []any (also for tuples and sets), map[string]any (map[any]any for other simple keys,
// python.Dict for the rest), time.Time, time.Duration, *ObjectRef, *ActorHandle, and the types of package ray/python, among
// them *python.Array for arrays of numpy and *python.Object for instances of other classes. Get[T] and As turn it into the
// type that is wanted. The caller owns the value, and the refs in it. An exception that the task raised is a *TaskError,
// and the end of an actor wraps ErrActorDied or ErrActorUnavailable; an exception that the task returned is a value. A value
// that holds itself wraps ErrUnsupportedValue.
//
// Several Gets of one ref share one transfer. A Get that its caller gave up goes on at the server, until the value is
// there. A value of more than 5 MiB that this session put, or fetched before, comes by a request of its own, which takes one
// of the server's threads meanwhile; two of them are under way at most. All others come on the session's stream, and so
// does such a value where that does not work out: it may then begin again.
func (s *Session) Get(ctx context.Context, ref *ObjectRef) (any, error) {
	v, err := s.get(ctx, "get", ref.hold())
	runtime.KeepAlive(ref) // the collector would release it before it is in use
	return v, err
}

func (s *Session) get(ctx context.Context, target string, h *handle) (any, error) {
	if err := s.Err(); err != nil && h != nil && h.session == s {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	t, err := s.refs.acquire(ctx, h, s)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: ranOut(err)}
	}
	defer s.refs.unuse([]*tracked{t})
	return s.value(ctx, target, t, nil)
}

// value fetches and decodes. It asks again when the pieces of the value did not fit together, and when a ref in it may
// have died on the way; see references.adopt. started is the get that the caller started already, or nil.
func (s *Session) value(ctx context.Context, target string, t *tracked, started *request) (any, error) {
	return s.valueAs(ctx, target, t, started, nil)
}

// valueAs is value with another way to convert what was decoded, if not nil; size is that of the pickle.
func (s *Session) valueAs(ctx context.Context, target string, t *tracked, started *request, convert func(v any, size int) (any, error)) (v any, err error) {
	if s.cfg.Tracer == nil {
		return s.fetchValue(ctx, target, t, started, convert)
	}
	err = traced(ctx, s.cfg.Tracer, TracedCall{"get", target}, func(ctx context.Context) error {
		v, err = s.fetchValue(ctx, target, t, started, convert)
		return err
	})
	return v, err
}

func (s *Session) fetchValue(ctx context.Context, target string, t *tracked, started *request, convert func(v any, size int) (any, error)) (any, error) {
	for attempt := 0; ; attempt++ {
		r := started
		var err error
		if r == nil {
			r, err = s.fetch(ctx, target, t)
		}
		started = nil
		if err == nil {
			err = s.await(ctx, target, r)
		}
		if errors.Is(err, errTransfer) && attempt < 2 {
			continue
		}
		if err != nil {
			return nil, err
		}
		if r.refused {
			return nil, refusalOf(target, r.refusal)
		}
		data := r.data
		if r.shared {
			// Byte strings of the value lie in data.
			data = bytes.Clone(data)
		}
		v, stubs, err := load(data)
		if err == nil && r.listed {
			v, err = only(v)
		}
		if err != nil {
			return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %w", ErrUnsupportedValue, err)}
		}
		if !s.refs.adopt(stubs, r.msg.ReqId) {
			if attempt < 2 {
				s.refs.inOrder(t)
				continue
			}
			return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: a ref in the value was released while it was fetched", ErrReleased)}
		}
		if err = ownCancellation(target, exceptionOf(target, v), t.id); err == nil {
			if convert == nil {
				v, err = s.toGo(v, len(data))
			} else {
				v, err = convert(v, len(data))
			}
			if err != nil {
				err = &CallError{Target: target, Sent: SentYes, Err: err}
			}
		}
		for _, st := range stubs {
			// The caller gets only what is in the value.
			if err != nil || st.value == nil {
				st.handle.release()
			}
		}
		if err != nil {
			return nil, err
		}
		s.refs.sized(t, len(data))
		return v, nil
	}
}

// fetch starts the get of t's pickled value, or joins the one that is under way. Await must follow.
func (s *Session) fetch(ctx context.Context, target string, t *tracked) (*request, error) {
	err := ranOut(ctx.Err())
	if err == nil {
		var r *request
		if r, err = s.refs.fetchOf(t, progressOf(ctx)); err == nil {
			return r, nil
		}
	}
	return nil, &CallError{Target: target, Sent: SentNo, Err: err}
}

// await waits for a get.
func (s *Session) await(ctx context.Context, target string, r *request) error {
	late := s.wait(ctx, r)
	if late == nil {
		return retarget(r.err, target)
	}
	switch s.refs.stopFetching(r) {
	case stateDone:
		return retarget(r.err, target)
	case stateNew:
		return &CallError{Target: target, Sent: SentNo, Err: ranOut(late)}
	default:
		return &CallError{Target: target, Sent: SentMaybe, Err: ranOut(late)}
	}
}

// ranOut is the error of a get that waited for too long; nil for nil.
func ranOut(late error) error {
	if errors.Is(late, context.DeadlineExceeded) {
		return SystemError{Class: "GetTimeoutError", Err: late}.typed()
	}
	return late
}

// retarget names the operation that a shared get is part of.
func retarget(err error, target string) error {
	if call, ok := errors.AsType[*CallError](err); ok {
		return &CallError{Target: target, Sent: call.Sent, Err: call.Err}
	}
	return err
}

// fetchOf returns the get of t that is under way, joined, or starts one. A value that Wait left is taken instead.
func (t *references) fetchOf(ref *tracked, progress func(Progress)) (*request, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := ref.arrived; r != nil {
		t.forget(ref)
		return r, nil
	}
	if r := ref.fetch; r != nil {
		r.shared = true
		t.session.out.join(r)
		return r, nil
	}
	get := &struct {
		request
		msg    raypb.DataRequest
		kind   raypb.DataRequest_Get
		body   raypb.GetRequest
		object assembler
		ids    [1][]byte
		uses   [1]*tracked
	}{ids: [1][]byte{ref.raw}, uses: [1]*tracked{ref}}
	get.body.Ids, get.body.Asynchronous = get.ids[:], true
	get.kind.Get, get.msg.Type = &get.body, &get.kind
	r := &get.request
	r.target, r.msg, r.object, r.fetches, r.uses, r.progress, r.actor = "get", &get.msg, &get.object, ref, get.uses[:], progress, ref.actor
	if !t.fetchApart(r) {
		if err := t.session.out.add(r); err != nil {
			return nil, err
		}
	}
	ref.uses++
	ref.fetch = r
	return r, nil
}

// stopFetching takes a waiter away from a get.
func (t *references) stopFetching(r *request) requestState {
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.session.out.withdraw(r)
	if state == stateNew {
		r.fetches.fetch = nil
		r.fetches.uses--
		t.enqueue(r.fetches)
	}
	return state
}

// dropValue gives up the refs in a value that nobody waits for: the server noted them for this session when it sent them.
func (s *Session) dropValue(r *request) {
	if r.err != nil || r.refused || !bytes.Contains(r.data, stubName) {
		return
	}
	_, stubs, err := load(r.data)
	if err != nil || !s.refs.adopt(stubs, r.msg.ReqId) {
		return
	}
	for _, st := range stubs {
		st.handle.release()
	}
}
