package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/ray"
)

const namespace = "bench"

// command is what a caller is told, the Python one too: to call the actors in turn, with depth calls in flight.
type command struct {
	Actors  []string `json:"actors"`
	Size    int      `json:"size"`
	Seconds float64  `json:"seconds"`
	Depth   int      `json:"depth"` // 1 is synchronous
	Profile string   `json:"profile,omitempty"`
}

// sample is what a caller found. The percentiles are of a call's latency, in seconds.
type sample struct {
	Calls   int     `json:"calls"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"`              // seconds, of all threads
	Allocs  uint64  `json:"allocs,omitempty"` // Go only
	P10     float64 `json:"p10"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`

	actorCPU    float64
	actorAllocs uint64
}

// hello is a caller's first line: by which way it calls, and how it is set.
type hello struct {
	Path     string `json:"path"`
	Ray      string `json:"ray"`
	Settings string `json:"settings"`
}

const wayDirect, wayDriver, wayCpp, wayClient, wayPlain = "direct", "driver", "driver, C++", "ray client", "plain gRPC"

func serveDirect(ctx context.Context, address string, in io.Reader, out io.Writer) (err error) {
	gcs, err := ray.DialGCS(ctx, address, ray.GCSOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gcs.Close()) }()
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{TaskEvents: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, direct.Close(context.WithoutCancel(ctx))) }()
	call := func(ctx context.Context, actor string, payload []byte) error {
		v, err := direct.Call(ctx, namespace, actor, "echo", payload)
		if err != nil {
			return err
		}
		return echoed(v, payload)
	}
	// A Direct has no other way than the one that it is named for.
	return peer.Serve(in, out, hello{Path: wayDirect, Ray: gcs.RayVersion(), Settings: "task events on"},
		func(c command) (sample, error) { return measureCalls(ctx, c, call) })
}

func echoed(v any, payload []byte) error {
	if b, ok := v.([]byte); !ok || !bytes.Equal(b, payload) {
		return fmt.Errorf("the echo of %d bytes is a %T", len(payload), v)
	}
	return nil
}

func measureCalls(ctx context.Context, c command, call func(ctx context.Context, actor string, payload []byte) error) (s sample, err error) {
	payload := bytes.Repeat([]byte("x"), c.Size)
	window := time.Duration(c.Seconds * float64(time.Second))
	ctx, cancel := context.WithTimeout(ctx, window+30*time.Second)
	defer cancel()
	if c.Profile != "" {
		f, err := os.Create(c.Profile + ".cpu")
		if err != nil {
			return s, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return s, err
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close(), writeAllocs(c.Profile+".allocs"))
		}()
	}
	parts := make([][]time.Duration, c.Depth)
	errs := make([]error, c.Depth)
	for i := range parts {
		parts[i] = make([]time.Duration, 0, 1<<10)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := cpuSeconds(), time.Now()
	end := start.Add(window)
	var all sync.WaitGroup
	for i := range c.Depth {
		all.Go(func() {
			actor := c.Actors[i%len(c.Actors)]
			for last := time.Now(); last.Before(end); {
				if errs[i] = call(ctx, actor, payload); errs[i] != nil {
					return
				}
				now := time.Now()
				parts[i] = append(parts[i], now.Sub(last))
				last = now
			}
		})
	}
	all.Wait()
	s.Seconds, s.CPU = time.Since(start).Seconds(), cpuSeconds()-cpu
	runtime.ReadMemStats(&after)
	s.Allocs = after.Mallocs - before.Mallocs
	latencies := slices.Concat(parts...)
	slices.Sort(latencies)
	s.Calls = len(latencies)
	if s.Calls > 0 {
		at := func(q float64) float64 { return latencies[int(q*float64(s.Calls-1))].Seconds() }
		s.P10, s.P50, s.P99 = at(0.1), at(0.5), at(0.99)
	}
	return s, errors.Join(errs...)
}

func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
