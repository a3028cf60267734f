// Command testworker is the program that the tests of package worker run as actors on a real Ray.
package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"runtime"
	"sync"

	"github.com/seedcore/seedcore/worker"
)

// counter is called by one method at a time, as max_concurrency is 1 by default, except in meet and hold.
type counter struct {
	n     int64
	calls []any

	mu      sync.Mutex // guards waiting and full
	waiting int
	full    chan struct{}
}

func newCounter(_ context.Context, args worker.Args) (*counter, error) {
	c := &counter{full: make(chan struct{})}
	if args.Len() == 0 {
		return c, nil
	}
	start, err := args.Value(0)
	if err != nil {
		return nil, err
	}
	switch start := start.(type) {
	case int64:
		c.n = start
	case string:
		if start == "panic" {
			panic("the constructor panics")
		}
		return nil, fmt.Errorf("the constructor refuses %q", start)
	}
	return c, nil
}

func (c *counter) echo(_ context.Context, args worker.Args) (any, error) { return args.Value(0) }

func (c *counter) add(_ context.Context, args worker.Args) (any, error) {
	delta := int64(1)
	if args.Len() > 0 {
		if err := args.Decode(0, &delta); err != nil {
			return nil, err
		}
	}
	c.n += delta
	return c.n, nil
}

// record remembers its argument, list returns what was recorded.
func (c *counter) record(_ context.Context, args worker.Args) (any, error) {
	v, err := args.Value(0)
	c.calls = append(c.calls, v)
	return nil, err
}

func (c *counter) list(context.Context, worker.Args) (any, error) { return c.calls, nil }

func (c *counter) named(_ context.Context, args worker.Args) (any, error) {
	v, ok, err := args.Named("key")
	return map[string]any{"value": v, "given": ok, "positional": args.Len()}, err
}

func (c *counter) several(_ context.Context, args worker.Args) (any, error) {
	return []any{"one", int64(2), []byte("three")}, nil
}

func (c *counter) fail(_ context.Context, args worker.Args) (any, error) {
	v, err := args.Value(0)
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("failed with %v", v)
}

func (c *counter) panics(context.Context, worker.Args) (any, error) { return deep(3) }

func deep(n int) (any, error) {
	if n > 0 {
		return deep(n - 1)
	}
	var items []int
	return items[n], nil
}

func (c *counter) goexit(context.Context, worker.Args) (any, error) {
	runtime.Goexit()
	return "not reached", nil
}

func (c *counter) unsendable(context.Context, worker.Args) (any, error) { return make(chan int), nil }

// meet returns when as many calls as its argument says are in it at the same time.
func (c *counter) meet(ctx context.Context, args worker.Args) (any, error) {
	var n int
	if err := args.Decode(0, &n); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.waiting++
	if c.waiting == n {
		close(c.full)
	}
	c.mu.Unlock()
	select {
	case <-c.full:
		return "met", nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hold runs until its context ends.
func (c *counter) hold(ctx context.Context, _ worker.Args) (any, error) {
	fmt.Println("holding")
	<-ctx.Done()
	return nil, errors.New("hold: " + ctx.Err().Error())
}

func (c *counter) pid(context.Context, worker.Args) (any, error) { return os.Getpid(), nil }

func (c *counter) exit(context.Context, worker.Args) (any, error) {
	os.Exit(3)
	return nil, nil
}

func (c *counter) crash(context.Context, worker.Args) (any, error) {
	go func() { panic("nobody recovers this") }()
	select {}
}

func (c *counter) say(_ context.Context, args worker.Args) (any, error) {
	v, err := args.Value(0)
	fmt.Println("to stdout:", v)
	slog.Info("to the log", "what", v)
	return nil, err
}

// stream makes as many items as its argument says, and an error after them.
func (c *counter) stream(ctx context.Context, args worker.Args) (any, error) {
	var n int64
	if err := args.Decode(0, &n); err != nil {
		return nil, err
	}
	return iter.Seq2[int64, error](func(yield func(int64, error) bool) {
		for i := range n {
			c.n = i + 1
			if !yield(i, nil) {
				return
			}
		}
		yield(0, errors.New("after the last"))
	}), nil
}

// rss is what a process of this program weighs.
func (c *counter) memory(context.Context, worker.Args) (any, error) {
	b, err := os.ReadFile("/proc/self/smaps_rollup")
	return string(b), err
}

func main() {
	worker.Register("Counter", newCounter, worker.Methods[*counter]{
		"echo": (*counter).echo, "add": (*counter).add, "record": (*counter).record, "list": (*counter).list,
		"named": (*counter).named, "several": (*counter).several, "fail": (*counter).fail, "panics": (*counter).panics,
		"goexit": (*counter).goexit, "unsendable": (*counter).unsendable, "meet": (*counter).meet, "hold": (*counter).hold,
		"pid": (*counter).pid, "exit": (*counter).exit, "crash": (*counter).crash, "say": (*counter).say, "memory": (*counter).memory,
		"stream": (*counter).stream, "one_value": (*counter).pid,
	})
	worker.Register("Subject", newSubject)
	worker.Register("Tally", newTally)
	worker.Register("Waiter", newWaiter)
	worker.Register("Slow", newSlow)
	worker.Main()
	fmt.Fprintln(os.Stderr, "testworker: to be started by a raylet only")
	os.Exit(2)
}
