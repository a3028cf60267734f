package ray

import (
	"context"
	"fmt"
	"runtime"
)

// Ref is an ObjectRef whose value is a T. In a value that is sent, a *Ref stands for what its ObjectRef stands for.
type Ref[T any] struct{ ref *ObjectRef }

// RefTo says that the value of ref is a T. Both are the same ref: one is released with the other.
func RefTo[T any](ref *ObjectRef) *Ref[T] { return &Ref[T]{ref} }

// StoreIn lets Decode fill a *Ref where it may fill an *ObjectRef.
func (r *ObjectRef) StoreIn(into any) (bool, error) {
	typed, ok := into.(interface{ refer(*ObjectRef) })
	if ok {
		typed.refer(r)
	}
	return ok, nil
}

func (r *Ref[T]) refer(ref *ObjectRef) { r.ref = ref }

// Get waits for the value and returns it; see Session.Get for the waiting and As for how it becomes a T.
func (r *Ref[T]) Get(ctx context.Context) (T, error) { return r.get(ctx, "get") }

// Untyped returns the ObjectRef, for Session.Wait and others.
func (r *Ref[T]) Untyped() *ObjectRef {
	if r == nil {
		return nil
	}
	return r.ref
}

// Release gives the ref up, as ObjectRef.Release does.
func (r *Ref[T]) Release() { r.Untyped().Release() }

func (r *Ref[T]) get(ctx context.Context, target string) (T, error) {
	h := r.Untyped().hold()
	if h == nil {
		return As[T](nil, &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: the ref is nil", ErrReleased)})
	}
	v, err := As[T](h.session.get(ctx, target, h))
	runtime.KeepAlive(r)
	return v, err
}

// RemoteFunction is a function of the cluster, bound to a session, whose result is an R. NewFunction makes one. It is safe
// for concurrent use.
type RemoteFunction[R any] struct {
	session *Session
	fn      Function
	opts    *TaskOptions
}

// NewFunction binds a function to a session. It sends nothing: a function that does not exist fails when it is called.
//
//	area := ray.NewFunction[float64](session, ray.Function{Module: "geometry", Name: "area"})
//	ref, err := area.Remote(ctx, 3, 4)
//	size, err := ref.Get(ctx)
func NewFunction[R any](s *Session, fn Function) *RemoteFunction[R] {
	return &RemoteFunction[R]{session: s, fn: fn}
}

// Options returns the function with options. NumReturns has to be left out: there is one R.
func (f *RemoteFunction[R]) Options(opts TaskOptions) *RemoteFunction[R] {
	return &RemoteFunction[R]{f.session, f.fn, &opts}
}

// Remote starts a task that calls the function, and returns the ref of its result without waiting for it; see
// Session.Submit.
func (f *RemoteFunction[R]) Remote(ctx context.Context, args ...any) (*Ref[R], error) {
	if f.session == nil {
		return nil, &CallError{Target: f.fn.String(), Sent: SentNo, Err: fmt.Errorf("%w: the function's session is nil", ErrNoSession)}
	}
	if f.opts == nil {
		return refOf[R](f.session.Submit(ctx, f.fn, args...))
	}
	if f.opts.NumReturns != nil || f.opts.DynamicReturns {
		return nil, manyReturns(f.fn.String())
	}
	return onlyRef[R](f.session.SubmitWith(ctx, f.fn, *f.opts, args...))
}

// Call is Remote, and a Get of the result, which it releases. When ctx ends first, the task goes on.
func (f *RemoteFunction[R]) Call(ctx context.Context, args ...any) (R, error) {
	return valueOf(ctx, f.fn.String(), f.Remote, args)
}

// RemoteMethod is a method of an actor whose result is an R. NewMethod makes one. It is safe for concurrent use.
type RemoteMethod[R any] struct {
	actor *ActorHandle
	name  string
	opts  *MethodOptions
}

// NewMethod names a method of an actor. It sends nothing: a method that does not exist fails when it is called.
//
//	incr := ray.NewMethod[int](counter, "incr")
//	total, err := incr.Call(ctx, 5)
func NewMethod[R any](actor *ActorHandle, name string) *RemoteMethod[R] {
	return &RemoteMethod[R]{actor: actor, name: name}
}

// Options returns the method with options. NumReturns has to be left out: there is one R.
func (m *RemoteMethod[R]) Options(opts MethodOptions) *RemoteMethod[R] {
	return &RemoteMethod[R]{m.actor, m.name, &opts}
}

// Remote starts the method and returns the ref of its result without waiting for it; see ActorHandle.Submit.
func (m *RemoteMethod[R]) Remote(ctx context.Context, args ...any) (*Ref[R], error) {
	if m.opts == nil {
		return refOf[R](m.actor.Submit(ctx, m.name, args...))
	}
	if m.opts.NumReturns != nil || m.opts.DynamicReturns {
		return nil, manyReturns(m.name)
	}
	return onlyRef[R](m.actor.SubmitWith(ctx, m.name, *m.opts, args...))
}

// Call runs the method and waits for its result; see ActorHandle.Call.
func (m *RemoteMethod[R]) Call(ctx context.Context, args ...any) (R, error) {
	if m.opts == nil {
		return As[R](m.actor.Call(ctx, m.name, args...))
	}
	return valueOf(ctx, m.name, m.Remote, args)
}

// Caller calls methods of named actors: a *Client or a *Direct.
type Caller interface {
	Call(ctx context.Context, namespace, name, method string, args ...any) (any, error)
}

// NamedMethod is a method of a named actor whose result is an R. NewNamedMethod makes one. It is safe for concurrent use.
type NamedMethod[R any] struct {
	caller                   Caller
	namespace, actor, method string
}

// NewNamedMethod names a method of a named actor, which is looked up at each call: it may be made anew meanwhile.
func NewNamedMethod[R any](caller Caller, namespace, actor, method string) *NamedMethod[R] {
	return &NamedMethod[R]{caller, namespace, actor, method}
}

// Call runs the method and waits for its result; see Client.Call and Direct.Call.
func (m *NamedMethod[R]) Call(ctx context.Context, args ...any) (R, error) {
	if m.caller == nil {
		return As[R](nil, &CallError{Target: actorKey{m.namespace, m.actor}.method(m.method), Sent: SentNo, Err: fmt.Errorf("%w: the method's caller is nil", ErrNoSession)})
	}
	return As[R](m.caller.Call(ctx, m.namespace, m.actor, m.method, args...))
}

func refOf[R any](ref *ObjectRef, err error) (*Ref[R], error) {
	if err != nil {
		return nil, err
	}
	return &Ref[R]{ref}, nil
}

// onlyRef is refOf for a call that was not asked for another number of results than one.
func onlyRef[R any](refs []*ObjectRef, err error) (*Ref[R], error) {
	if err == nil && len(refs) != 1 {
		for _, ref := range refs {
			ref.Release()
		}
		err = &CallError{Target: "result", Sent: SentYes, Err: fmt.Errorf("%w: %d results", errBadAnswer, len(refs))}
	}
	if err != nil {
		return nil, err
	}
	return &Ref[R]{refs[0]}, nil
}

func manyReturns(target string) error {
	return &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: num returns: a typed call has one result; use SubmitWith for others", ErrInvalidOption)}
}

// valueOf starts a call and waits for its result.
func valueOf[R any](ctx context.Context, target string, start func(context.Context, ...any) (*Ref[R], error), args []any) (R, error) {
	ref, err := start(ctx, args...)
	if err != nil {
		return As[R](nil, err)
	}
	defer ref.Release()
	v, err := ref.get(ctx, target)
	return v, begun(target, err)
}
