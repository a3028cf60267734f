package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
)

// depths are tried for each pipelined row before the rounds; the best one is used in them.
var depths = []int{32, 128, 512}

// inFlight bounds what a row has under way, in bytes.
const inFlight = 32 << 20

// settle is left between two measurements.
const settle = 200 * time.Millisecond

// row is one way to call one kind of actor.
type row struct {
	way, kind string
	shape     string // 1:1, 1:n, n:n
	size      int
	pipelined bool
	depth     int
	samples   []sample
}

func (r *row) String() string {
	return fmt.Sprintf("%s to %s, %s, %d bytes, %d in flight", r.way, r.kind, r.shape, r.size, r.depth)
}

// mode is what rows have to agree in to be compared.
type mode struct {
	shape     string
	size      int
	pipelined bool
}

func (r *row) mode() mode { return mode{r.shape, r.size, r.pipelined} }

var sizes = []int{64, 64 << 10, 1 << 20}

// plainKind stands for the plain gRPC server among the kinds of actors.
const plainKind = "no actor"

func (st *stage) rows() []*row {
	var rows []*row
	for _, size := range sizes {
		for _, m := range []mode{{"1:1", size, false}, {"1:1", size, true}, {"1:n", size, true}, {"n:n", size, true}} {
			add := func(way, kind string) {
				rows = append(rows, &row{way: way, kind: kind, shape: m.shape, size: m.size, pipelined: m.pipelined, depth: 1})
			}
			add(wayDirect, goKind)
			// Ray keeps a large result in its object store, which a direct call does not read.
			if size > 100<<10 {
				add(wayDirect, inlineKind)
			} else {
				add(wayDirect, pythonKind)
			}
			add(wayDriver, pythonKind)
			// Ray's callers pass a large argument by reference, which a Go actor does not take.
			if size <= 100<<10 && m.shape == "1:1" {
				add(wayDriver, goKind)
			}
			if size <= 100<<10 && st.cpp.missing == "" {
				add(wayCpp, cppKind)
				add(wayCpp, pythonKind)
				if m.shape == "1:1" {
					add(wayCpp, goKind)
				}
			}
			add(wayClient, pythonKind)
			if m.shape == "1:1" {
				add(wayPlain, plainKind)
			}
		}
	}
	return rows
}

func (st *stage) measure(ctx context.Context, rows []*row) error {
	for _, r := range rows {
		if !r.pipelined {
			continue
		}
		best := 0.0
		fitting := slices.DeleteFunc(slices.Clone(depths), func(depth int) bool { return depth > depths[0] && depth*r.size > inFlight })
		if st.short {
			fitting = fitting[:1]
		}
		chosen := fitting[0]
		for _, r.depth = range fitting {
			s, err := st.take(ctx, r, st.window/3, "")
			if err != nil {
				return fmt.Errorf("%v: %w", r, err)
			}
			if s.rate() > best {
				best, chosen = s.rate(), r.depth
			}
		}
		r.depth = chosen
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range st.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, st.rounds)
		for _, i := range random.Perm(len(rows)) { // no row always follows the same one, whose work Ray may still clean up
			r := rows[i]
			if r.size > 64 && round >= max(st.rounds-2, 1) {
				continue // these carry no bar
			}
			select {
			case <-time.After(settle):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			s, err := st.take(ctx, r, st.window, "")
			if err != nil {
				return fmt.Errorf("%v: %w", r, err)
			}
			r.samples = append(r.samples, s)
		}
	}
	return nil
}

// take measures a row once.
func (st *stage) take(ctx context.Context, r *row, window time.Duration, profile string) (sample, error) {
	actors, callers := []string{wayPlain}, 1
	if r.kind != plainKind {
		n := st.fan
		if r.shape == "1:1" {
			n = 1
		}
		actors = actorNames(r.kind, n)
	}
	if r.shape == "n:n" {
		callers = st.fan
	}
	before, err := st.counts(ctx, r.kind, actors)
	if err != nil {
		return sample{}, err
	}
	parts, errs := make([]sample, callers), make([]error, callers)
	var all sync.WaitGroup
	bounded, cancel := context.WithTimeout(ctx, window+45*time.Second)
	defer cancel()
	for i := range callers {
		c := command{Actors: actors, Size: r.size, Seconds: window.Seconds(), Depth: r.depth, Profile: profile}
		if callers > 1 {
			c.Actors, c.Depth = actors[i:i+1], max(r.depth/callers, 1)
		}
		all.Go(func() { errs[i] = st.sides[r.way].callers[i].Do(bounded, c, &parts[i]) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return sample{}, err
	}
	after, err := st.counts(ctx, r.kind, actors)
	if err != nil {
		return sample{}, err
	}
	s := merge(parts)
	s.actorCPU, s.actorAllocs = after.cpu-before.cpu, uint64(after.mallocs-before.mallocs)
	if ran := after.calls - before.calls; r.kind == goKind && ran != int64(s.Calls) {
		return sample{}, fmt.Errorf("the caller made %d calls and the Go actors had %d", s.Calls, ran)
	}
	return s, nil
}

// merge adds up callers that ran at once.
func merge(parts []sample) sample {
	var s sample
	for _, p := range parts {
		s.Calls += p.Calls
		s.CPU += p.CPU
		s.Allocs += p.Allocs
		s.Seconds = max(s.Seconds, p.Seconds)
		s.P10, s.P50, s.P99 = max(s.P10, p.P10), max(s.P50, p.P50), max(s.P99, p.P99)
	}
	return s
}

// counts are what actors have done so far.
type counts struct {
	cpu            float64
	calls, mallocs int64 // of Go actors
}

func (st *stage) counts(ctx context.Context, kind string, actors []string) (c counts, err error) {
	for _, name := range actors {
		cpu, err := cpuTime(st.pids[name])
		if err != nil {
			return c, err
		}
		c.cpu += cpu
		if kind == goKind {
			calls, mallocs, err := st.goCounts(ctx, name)
			if err != nil {
				return c, err
			}
			c.calls += calls
			c.mallocs += mallocs
		}
	}
	return c, nil
}

// cpuTime returns the CPU time that the threads of a process have taken so far, in seconds: finer than gauge.CPUTime, which
// counts hundredths, of which a short row has few.
func cpuTime(pid int) (float64, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	var total float64
	for _, t := range threads {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if err != nil {
			continue // it ended meanwhile
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, err := strconv.ParseFloat(string(first), 64)
		if err != nil {
			return 0, fmt.Errorf("schedstat of %d is %q", pid, text)
		}
		total += ns / 1e9
	}
	return total, nil
}

func (s sample) rate() float64 { return float64(s.Calls) / s.Seconds }

// perCall is a time in microseconds a call.
func (s sample) perCall(seconds float64) float64 { return 1e6 * seconds / float64(max(s.Calls, 1)) }

func (s sample) allocsPerCall(n uint64) float64 { return float64(n) / float64(max(s.Calls, 1)) }

func (r *row) median(value func(sample) float64) float64 {
	values := make([]float64, len(r.samples))
	for i, s := range r.samples {
		values[i] = value(s)
	}
	return gauge.Quantile(values, 0.5)
}
