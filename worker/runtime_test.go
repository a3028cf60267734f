package worker_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/seedcore/seedcore/worker"
)

// While one call connects to a silent GCS, the others keep to their own contexts.
func TestCallersOfOtherActorsKeepToTheirContexts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	caller := worker.NewCaller(listener.Addr().String())
	call := func(ctx context.Context) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := caller.Call(ctx, "x", "nobody", "nothing")
			done <- err
		}()
		return done
	}
	patient, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	first := call(patient)
	conn, err := listener.Accept() // it connects
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	hurried, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	select {
	case err := <-call(hurried):
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	case err := <-first:
		t.Errorf("a call whose context had ended waited for another one, which ended with: %v", err)
	}
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Without an actor behind the context a call is an error, and the rest of what takes nil says so.
func TestNilArguments(t *testing.T) {
	none := worker.FromContext(worker.WithRuntimeContext(t.Context(), nil))
	for name, call := range map[string]func() error{
		"call":      func() error { _, err := none.Call(t.Context(), "a", "f"); return err },
		"call in":   func() error { _, err := none.CallIn(t.Context(), "n", "a", "f"); return err },
		"no caller": func() error { _, err := new(worker.RuntimeContext).Call(t.Context(), "a", "f"); return err },
		"decode": func() error {
			args, err := worker.NewArgs(1)
			if err != nil {
				t.Fatal(err)
			}
			return args.Decode(0, nil)
		},
		"no argument": func() error { return worker.Args{}.Decode(0, new(int)) },
		"no form":     func() error { _, err := worker.NewArgs((func())(nil)); return err },
	} {
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s: panic: %v", name, p)
				}
			}()
			if err := call(); err == nil {
				t.Errorf("%s: no error", name)
			}
		}()
	}
}
