package worker

import (
	"context"
	"fmt"
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
	f := l.instance.methods[method]
	if f == nil {
		return nil, noMethod(l.class, method)
	}
	a, err := NewArgs(args...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	v, err := guarded(func() (value, error) {
		result, err := f(ctx, a)
		for err == nil {
			later, ok := result.(Async)
			if !ok {
				break
			}
			result, err = later(ctx)
		}
		if err != nil {
			return value{}, err
		}
		return encodeResult(result)
	})
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
