package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"sync/atomic"

	"github.com/seedcore/seedcore/worker"
)

const echoClass = "BenchEcho"

// echo is the Go actor. It tells of itself, too: how many calls it had, what it allocated, where its time goes.
type echo struct {
	calls   atomic.Int64
	profile *bytes.Buffer
}

func newEcho(context.Context, worker.Args) (*echo, error) { return &echo{}, nil }

var echoMethods = worker.Methods[*echo]{
	"echo": func(e *echo, _ context.Context, args worker.Args) (any, error) {
		e.calls.Add(1)
		return args.Bytes(0)
	},
	"counts": func(e *echo, _ context.Context, _ worker.Args) (any, error) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return []any{e.calls.Load(), int64(m.Mallocs)}, nil
	},
	"start_profile": func(e *echo, _ context.Context, _ worker.Args) (any, error) {
		e.profile = &bytes.Buffer{}
		return nil, pprof.StartCPUProfile(e.profile)
	},
	"stop_profile": worker.Takes1(func(e *echo, _ context.Context, path string) (any, error) {
		pprof.StopCPUProfile()
		return nil, errors.Join(os.WriteFile(path+".cpu", e.profile.Bytes(), 0o644), writeAllocs(path+".allocs"))
	}),
}

func writeAllocs(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}
