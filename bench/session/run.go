package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/internal/rayhead"
)

//go:embed python_client.py
var pythonClientSource string

// row is an operation, a way in which the Go side does it, and a number of callers. Rows of one operation have Python's
// side in common but for refs that are kept.
type row struct {
	op, way string
	callers int
	ours    []result
	theirs  []result
}

func (r *row) String() string { return fmt.Sprintf("%s, %s, %d callers", r.op, r.way, r.callers) }

// keep: with the same requests neither side releases anything meanwhile, as they do that differently.
func (r *row) keep() bool { return r.way == waySame }

// needsActors: such rows are measured after all others. Ray wakes the process of every actor when objects are freed, and sixteen
// idle ones a side would be a fifth of the cost of a small put.
func (r *row) needsActors() bool { return r.op == opCall || r.op == opPipelined }

func rows(callers []int) []*row {
	var all []*row
	add := func(op string, callers []int, ways ...string) {
		for _, n := range callers {
			for _, way := range ways {
				all = append(all, &row{op: op, way: way, callers: n})
			}
		}
	}
	add(opGet, callers, waySame, wayShipped)
	add(opPut, callers, waySame, wayShipped)
	add(opPut100, callers[:1], wayShipped)
	add(opGet100, callers[:1], waySame, wayShipped, wayDropped)
	add(opCall, callers, waySame, waySession, wayShipped)
	add(opPipelined, callers[:1], waySame, waySession, wayShipped)
	return all
}

// side is a process that measures.
type side struct {
	*peer.Process
	hello hello
}

func start(ctx context.Context, name string, args ...string) (*side, error) {
	s := &side{}
	var err error
	s.Process, err = peer.Start(ctx, &s.hello, name, args...)
	return s, err
}

func run(ctx context.Context, s settings) (err error) {
	load := gauge.LoadAverage()
	head, err := rayhead.Start(ctx, rayhead.Config{Python: s.python, NumCPUs: 8, ObjectStoreMemory: 1 << 30})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, head.Stop(context.WithoutCancel(ctx))) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, err := start(ctx, self, "-client", head.ClientAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	all := rows(s.callers)
	// The large object has to be put for whoever gets it.
	all = slices.DeleteFunc(all, func(r *row) bool { return !s.only.MatchString(r.String()) && r.op != opPut100 })
	if s.profile != "" {
		return writeProfiles(ctx, s, ours, all)
	}
	theirs, err := start(ctx, s.python, "-c", pythonClientSource, head.ClientAddress(), strconv.Itoa(maxCallers))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	first := slices.IndexFunc(all, (*row).needsActors)
	if first < 0 {
		first = len(all)
	}
	if err := measureAll(ctx, s, ours, theirs, all[:first]); err != nil {
		return err
	}
	started := make([]result, 2)
	for i, side := range []*side{ours, theirs} {
		if err := side.Do(ctx, command{Op: opStart}, &started[i]); err != nil {
			return err
		}
	}
	if err := measureAll(ctx, s, ours, theirs, all[first:]); err != nil {
		return err
	}
	table := render(all, ours, theirs, started, s, load)
	fmt.Print(table)
	if s.out == "" {
		return nil
	}
	return os.WriteFile(s.out, []byte(table), 0o644)
}

// measureAll measures each row once a round on both sides, which begin in turn.
func measureAll(ctx context.Context, s settings, ours, theirs *side, all []*row) error {
	for round := range s.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, s.rounds)
		for _, r := range all {
			turns := []func() error{
				func() error { return measure(ctx, ours, r, s.window, "", &r.ours) },
				func() error { return measure(ctx, theirs, r, s.window, "", &r.theirs) },
			}
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, turn := range turns {
				if err := turn(); err != nil {
					return fmt.Errorf("%v: %w", r, err)
				}
			}
		}
	}
	return nil
}

// writeProfiles measures the Go side alone, and writes where it spends its time.
func writeProfiles(ctx context.Context, s settings, ours *side, all []*row) error {
	if err := os.MkdirAll(s.profile, 0o755); err != nil {
		return err
	}
	var started result
	if err := ours.Do(ctx, command{Op: opStart}, &started); err != nil {
		return err
	}
	for _, r := range all {
		name := strings.ReplaceAll(fmt.Sprintf("%s-%s-%d", r.op, r.way, r.callers), " ", "-")
		if err := measure(ctx, ours, r, s.window, filepath.Join(s.profile, name), &r.ours); err != nil {
			return fmt.Errorf("%v: %w", r, err)
		}
		fmt.Printf("%v: %.0f/s, %.0f us and %.0f allocations each\n", r, median(r.ours, rate), median(r.ours, cpu), median(r.ours, allocs))
	}
	return nil
}

// serverTime is how many seconds of CPU the processes of Ray's client server have used: the one that all clients talk
// to, and the one of each session.
type serverTime struct{ proxy, sessions float64 }

func serverCPU() (serverTime, error) {
	var total serverTime
	err := processes("ray.util.client.server", func(cmdline []byte, took float64) {
		if bytes.Contains(cmdline, []byte("--mode=specific-server")) {
			total.sessions += took
		} else {
			total.proxy += took
		}
	})
	return total, err
}

// calm waits until the raylet has little to do, or for ten seconds: it works for a while on objects that were released, and
// whoever is measured next would pay for them.
func calm(ctx context.Context) error {
	const pause, busy = 250 * time.Millisecond, 0.1
	last := math.Inf(-1)
	for range 40 {
		var now float64
		if err := processes("raylet/raylet", func(_ []byte, took float64) { now += took }); err != nil {
			return err
		}
		if now-last < busy*pause.Seconds() {
			return nil
		}
		last = now
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// processes tells the command lines that contain a text, and how many seconds of CPU each of these processes has used.
func processes(text string, tell func(cmdline []byte, took float64)) error {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range all {
		// A process that ended in between does not count.
		cmdline, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(cmdline, []byte(text)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return err
		}
		took, err := gauge.CPUTime(pid)
		if _, gone := errors.AsType[*fs.PathError](err); gone {
			continue
		}
		if err != nil {
			return err
		}
		tell(cmdline, took)
	}
	return nil
}

func measure(ctx context.Context, s *side, r *row, window time.Duration, profile string, into *[]result) error {
	before, err := serverCPU()
	if err != nil {
		return err
	}
	var got result
	c := command{Op: r.op, Way: r.way, Callers: r.callers, Keep: r.keep(), Seconds: window.Seconds(), Profile: profile}
	if err := s.Do(ctx, c, &got); err != nil {
		return err
	}
	after, err := serverCPU()
	if err != nil {
		return err
	}
	got.served = serverTime{after.proxy - before.proxy, after.sessions - before.sessions}
	*into = append(*into, got)
	return calm(ctx)
}
