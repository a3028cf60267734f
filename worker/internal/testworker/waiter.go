package main

import (
	"context"
	"sync/atomic"

	"github.com/seedcore/seedcore/worker"
)

// waiter is the same actor as the class Waiter of internal/raytest/pymod/seedtest.py. Its methods run beside each other.
type waiter struct{ waiting, cancelled atomic.Int64 }

func newWaiter() *waiter { return &waiter{} }

// Wait waits until it is cancelled.
func (w *waiter) Wait(ctx context.Context) error {
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	<-ctx.Done()
	w.cancelled.Add(1)
	return ctx.Err()
}

// WaitFor waits for the Wait of another actor.
func (w *waiter) WaitFor(ctx context.Context, name string) (any, error) {
	return worker.FromContext(ctx).Call(ctx, name, "wait")
}

func (w *waiter) State(context.Context) []int64 {
	return []int64{w.waiting.Load(), w.cancelled.Load()}
}
