package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/ray"
)

const (
	namespace   = "bench"
	goActor     = "bench_go"
	pythonActor = "bench_python"
)

var payload = bytes.Repeat([]byte("x"), 64)

// sample is what one measurement found.
type sample struct {
	calls     int
	seconds   float64
	latencies []float64 // seconds
	actorCPU  float64   // seconds of CPU time that the actor's process took
}

// path is one way to call an actor.
type path interface {
	// measure calls the actor for a while: one call after the other when depth is 1, else with depth calls in flight.
	measure(ctx context.Context, actor string, window time.Duration, depth int) (sample, error)
	// taken fails when calls went another way than the path's name says.
	taken() error
}

// goPath calls from this process; call makes one call.
type goPath struct {
	call  func(ctx context.Context, actor string) error
	check func() error
}

func (p *goPath) taken() error { return p.check() }

func (p *goPath) measure(ctx context.Context, actor string, window time.Duration, depth int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, window+30*time.Second)
	defer cancel()
	start := time.Now()
	end := start.Add(window)
	parts := make([][]float64, depth)
	errs := make([]error, depth)
	var all sync.WaitGroup
	for i := range depth {
		all.Go(func() {
			for last := time.Now(); last.Before(end); {
				if errs[i] = p.call(ctx, actor); errs[i] != nil {
					return
				}
				now := time.Now()
				parts[i] = append(parts[i], now.Sub(last).Seconds())
				last = now
			}
		})
	}
	all.Wait()
	s := sample{seconds: time.Since(start).Seconds()}
	for _, part := range parts {
		s.calls += len(part)
		s.latencies = append(s.latencies, part...)
	}
	return s, errors.Join(errs...)
}

func echoed(v any, err error) error {
	if err != nil {
		return err
	}
	if b, ok := v.([]byte); !ok || !bytes.Equal(b, payload) {
		return fmt.Errorf("echo returned %v", v)
	}
	return nil
}

func directPath(direct *ray.Direct) path {
	return &goPath{
		call: func(ctx context.Context, actor string) error {
			return echoed(direct.Call(ctx, namespace, actor, "echo", payload))
		},
		check: func() error { return nil }, // a Direct has no other way
	}
}

func sessionPath(ctx context.Context, session *ray.Session) (path, error) {
	handles := map[string]*ray.ActorHandle{}
	for _, name := range []string{goActor, pythonActor} {
		handle, err := session.GetActor(ctx, name, namespace)
		if err != nil {
			return nil, err
		}
		handles[name] = handle
	}
	return &goPath{
		call: func(ctx context.Context, actor string) error {
			return echoed(handles[actor].Call(ctx, "echo", payload))
		},
		check: session.Err, // a handle has no other way; the session must have lived through it
	}, nil
}

// httpPath sends tasks to a server of ours, as a client of the API does.
func httpPath(address string, client *ray.Client) path {
	httpClient := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1024}}
	body := fmt.Sprintf(`{"task_data":{"type":"general","payload":%q}}`, payload)
	var calls atomic.Int64
	before := client.Paths()
	return &goPath{
		call: func(ctx context.Context, actor string) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/tier0/agents/"+actor+"/execute", strings.NewReader(body))
			if err != nil {
				return err
			}
			resp, err := httpClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK || !bytes.Contains(answer, payload) {
				return fmt.Errorf("%s: %s", resp.Status, answer)
			}
			calls.Add(1)
			return nil
		},
		check: func() error {
			now := client.Paths()
			if direct := now.Direct - before.Direct; direct < calls.Load() || now.Session != before.Session {
				return fmt.Errorf("%d tasks went %d times direct and %d times through the session", calls.Load(), direct, now.Session-before.Session)
			}
			return nil
		},
	}
}

//go:embed python_client.py
var pythonClientSource string

// pythonPath drives Ray's Python API in a process of its own: Ray Client with an address of ray://, else Ray's driver.
type pythonPath struct {
	*peer.Process
	version string
}

func startPython(ctx context.Context, python, address string) (*pythonPath, error) {
	var hello struct {
		Ray string `json:"ray"`
	}
	process, err := peer.Start(ctx, &hello, python, "-c", pythonClientSource, address, namespace, pythonActor)
	return &pythonPath{Process: process, version: hello.Ray}, err
}

// measure gives the process half a minute more than the window.
func (p *pythonPath) measure(ctx context.Context, actor string, window time.Duration, depth int) (sample, error) {
	ctx, cancel := context.WithTimeout(ctx, window+30*time.Second)
	defer cancel()
	mode := "pipelined"
	if depth == 1 {
		mode = "sync"
	}
	var answer struct {
		Calls     int       `json:"calls"`
		Seconds   float64   `json:"seconds"`
		Latencies []float64 `json:"latencies"`
	}
	err := p.Do(ctx, map[string]any{"mode": mode, "actor": actor, "seconds": window.Seconds(), "depth": depth}, &answer)
	return sample{calls: answer.Calls, seconds: answer.Seconds, latencies: answer.Latencies}, err
}

func (p *pythonPath) taken() error { return nil } // neither has another way
