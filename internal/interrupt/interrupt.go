// Package interrupt ends a program in order at the first signal, and at once at the second.
package interrupt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// ErrSignal is the cause of a context that a signal has ended.
var ErrSignal = errors.New("interrupted")

// Context returns a context that SIGINT or SIGTERM ends, with a cause that wraps ErrSignal. It says on w that it takes a
// second signal to end at once; that one ends the process with code 128 and the signal's number, as a shell would have
// it, and says so. The caller calls stop when there is nothing left to interrupt: signals have their own effect again then.
func Context(w io.Writer, name string) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for first := true; ; first = false {
			select {
			case s := <-signals:
				if first {
					fmt.Fprintf(w, "%s: %s: stopping in order; once more ends at once\n", name, s)
					cancel(fmt.Errorf("%w: %s", ErrSignal, s))
					continue
				}
				fmt.Fprintf(w, "%s: %s again: ended at once, what was under way is cut off\n", name, s)
				code := 1
				if number, ok := s.(syscall.Signal); ok {
					code = 128 + int(number)
				}
				os.Exit(code)
			case <-done:
				return
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		watcher.Wait()
		cancel(nil)
	}
}
