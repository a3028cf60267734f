package worker

import (
	"context"
	"fmt"
	"iter"
)

// Local is an actor in this process, for the tests of a program: its arguments and results take the form in which they
// travel, and whatever a method does to its goroutine is an error, but there is no Ray. Calls run when they are made,
// also at once from several goroutines, as for an actor of any max_concurrency: a test of an actor that handles one call
// at a time makes one at a time.
type Local struct {
	class    string
	instance *instance
	ctx      context.Context
	cancel   context.CancelFunc
}

// NewLocal constructs an actor of a registered class. Args may hold a [Keyword].
func NewLocal(class string, args ...any) (*Local, error) { return newLocal(&classes, class, args) }

func newLocal(r *registry, class string, args []any) (*Local, error) {
	c, err := r.find(class)
	if err != nil {
		return nil, err
	}
	a, err := NewArgs(args...)
	if err != nil {
		return nil, err
	}
	l := &Local{class: class}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if l.instance, err = guarded(func() (*instance, error) { return c.create(l.ctx, a) }); err != nil {
		l.cancel()
		return nil, err
	}
	return l, nil
}

// Call runs a method and returns its result as a Go caller would see it, in the forms of [Args.Value]. The method's
// context ends with ctx, as a call that is cancelled, and with Close.
func (l *Local) Call(ctx context.Context, method string, args ...any) (any, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	return guarded(func() (any, error) {
		result, err := l.result(ctx, method, args)
		if err != nil {
			return nil, err
		}
		if _, ok := sequence(result); ok {
			return nil, errStreaming(method)
		}
		return travelled(result)
	})
}

// Stream runs a method that streams, on the goroutine that ranges over what it returns: its items as a Go caller would see
// them, none made ahead. An error is the last thing that comes; a panic of the method is one here.
func (l *Local) Stream(ctx context.Context, method string, args ...any) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		ctx, cancel := l.within(ctx)
		defer cancel()
		result, err := l.result(ctx, method, args)
		if err != nil {
			yield(nil, err)
			return
		}
		items, ok := sequence(result)
		if !ok {
			yield(nil, fmt.Errorf("%w: %s returned a %T", ErrNotStreaming, method, result))
			return
		}
		for item, err := range items {
			if err == nil {
				item, err = travelled(item)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(item, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(nil, ctx.Err())
		}
	}
}

// within returns the context of a call.
func (l *Local) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(l.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// result is what a method returns in the end.
func (l *Local) result(ctx context.Context, method string, args []any) (any, error) {
	f := l.instance.methods[method]
	if f == nil {
		return nil, noMethod(l.class, method)
	}
	a, err := NewArgs(args...)
	if err != nil {
		return nil, err
	}
	result, err := f(ctx, a)
	for err == nil {
		later, ok := result.(Async)
		if !ok {
			break
		}
		result, err = later(ctx)
	}
	return result, err
}

// travelled gives a result the form that it has for its caller.
func travelled(result any) (any, error) {
	v, err := encodeResult(result)
	if err != nil {
		return nil, err
	}
	return Args{positional: []encoded{encoded(v)}}.Value(0)
}

// Close ends the context of the actor and runs its OnExit. It does not wait for calls.
func (l *Local) Close(ctx context.Context) {
	l.cancel()
	if l.instance.onExit != nil {
		l.instance.onExit(ctx)
	}
}

func noMethod(class, method string) error {
	return fmt.Errorf("the Go actor class %s has no method %q", class, method)
}
