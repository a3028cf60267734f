package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/internal/rayhead"
)

//go:embed python_client.py
var pythonClientSource string

// row is an operation of the Go side, and the one of the Python side that it is compared with.
type row struct {
	name     string
	op, peer string
	settings string  // the requests of each side
	mib      float64 // per operation, where throughput is what counts
	ours     []result
	theirs   []result
}

func rows() []*row {
	return []*row{
		{name: "actor call, sync", op: "call", peer: "call", settings: "Go: task, get on the data channel; Python: task, GetObject"},
		{name: "actor call, sync, same requests", op: "call, same requests", peer: "call", settings: "both: task, GetObject"},
		{name: "200 calls, then all results", op: "pipelined", peer: "pipelined", settings: "both: 200 tasks in flight, one GetObject; releases: Go 64 a message, Python one"},
		{name: "2 callers, 2 actors", op: "callers2", peer: "callers2", settings: "as the sync call"},
		{name: "4 callers, 4 actors", op: "callers4", peer: "callers4", settings: "as the sync call"},
		{name: "8 callers, 8 actors", op: "callers8", peer: "callers8", settings: "as the sync call"},
		{name: "16 callers, 16 actors", op: "callers16", peer: "callers16", settings: "as the sync call"},
		{name: "get of 100 B", op: "get", peer: "get", settings: "Go: get on the data channel; Python: GetObject"},
		{name: "get of 100 B, same requests", op: "get, same requests", peer: "get", settings: "both: GetObject"},
		{name: "put of 64 B", op: "put", peer: "put", settings: "both: put on the data channel"},
		{name: "put of 100 MiB", op: "put100", peer: "put100", mib: 100, settings: "both: chunks of 5 MiB on the data channel"},
		{name: "get of 100 MiB", op: "get100", peer: "get100", mib: 100, settings: "Go: get on the data channel; Python: GetObject; both: chunks of 5 MiB"},
	}
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

func run(ctx context.Context, python string, rounds int, window time.Duration, out string) (err error) {
	head, err := rayhead.Start(ctx, rayhead.Config{Python: python, NumCPUs: 8, ObjectStoreMemory: 1 << 30})
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
	theirs, err := start(ctx, python, "-c", pythonClientSource, head.ClientAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	all := rows()
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		for _, r := range all {
			turns := []func() error{
				func() error { return measure(ctx, ours, r.op, window, &r.ours) },
				func() error { return measure(ctx, theirs, r.peer, window, &r.theirs) },
			}
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, turn := range turns {
				if err := turn(); err != nil {
					return fmt.Errorf("%s: %w", r.name, err)
				}
			}
		}
	}
	table := render(all, ours, theirs, rounds, window)
	fmt.Print(table)
	return os.WriteFile(out, []byte(table), 0o644)
}

// serverCPU returns how many seconds of CPU the processes of Ray's client server have used: the one that all clients
// talk to, and the one of each session.
func serverCPU() (float64, error) {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, path := range processes {
		// A process that ended in between does not count.
		cmdline, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(cmdline, []byte("ray.util.client.server")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return 0, err
		}
		took, err := gauge.CPUTime(pid)
		if _, gone := errors.AsType[*fs.PathError](err); gone {
			continue
		}
		if err != nil {
			return 0, err
		}
		total += took
	}
	return total, nil
}

func measure(ctx context.Context, s *side, op string, window time.Duration, into *[]result) error {
	var r result
	before, err := serverCPU()
	if err != nil {
		return err
	}
	if err := s.Do(ctx, command{Op: op, Seconds: window.Seconds()}, &r); err != nil {
		return err
	}
	after, err := serverCPU()
	r.server = after - before
	*into = append(*into, r)
	return err
}

func median(results []result, value func(result) float64) float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	return gauge.Quantile(values, 0.5)
}

func rate(r result) float64   { return float64(r.N) / r.Seconds }
func cpu(r result) float64    { return r.CPU / float64(r.N) * 1e6 }
func server(r result) float64 { return r.server / float64(r.N) * 1e6 }
func allocs(r result) float64 { return float64(r.Allocs) / float64(r.N) }

func render(all []*row, ours, theirs *side, rounds int, window time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# A session of package ray, and Python's Ray Client\n\n")
	fmt.Fprintf(&b, "Ray %s, %s, %d CPUs, %s; %d rounds of %s a row, the sides in turn, medians. Both sides: one session,\n",
		ours.hello.Version, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), rounds, window)
	fmt.Fprintf(&b, "64 B arguments, actors in Python without CPUs. Go gets on the data channel and releases in batches; Python gets by a\n")
	fmt.Fprintf(&b, "call of its own. The rows with the *same requests* let Go get as Python does: what they show is the driver's, the rest\n")
	fmt.Fprintf(&b, "is the choice of requests. CPU is that of the client's process; server CPU that of Ray's client server, the process that\n")
	fmt.Fprintf(&b, "all clients talk to and that of the session. All in microseconds for one operation.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| row\t| Go\t| Python\t| ratio\t| Go CPU\t| Python CPU\t| server CPU, Go\t| server CPU, Python\t| Go allocations\t| requests\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range all {
		us, them, unit := median(r.ours, rate), median(r.theirs, rate), "/s"
		ratio := us / them
		if r.mib > 0 {
			us, them, unit = us*r.mib, them*r.mib, " MiB/s"
		}
		fmt.Fprintf(w, "| %s\t| %.0f%s\t| %.0f%s\t| %.1f\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t| %.0f\t| %s\t|\n", r.name, us, unit, them, unit, ratio,
			median(r.ours, cpu), median(r.theirs, cpu), median(r.ours, server), median(r.theirs, server), median(r.ours, allocs), r.settings)
	}
	_ = w.Flush() // writes to memory
	fmt.Fprintf(&b, "\nWhat limits a row shows in the CPU: where the server's is a multiple of the client's, as for every call and small\n")
	fmt.Fprintf(&b, "value, a faster client gains little, and only other requests do. The server takes the tasks of a session one by one.\n")
	fmt.Fprintf(&b, "\nMemory once connected, with 16 actors: Go %.0f MB, Python %.0f MB. From start to there: Go %.1f s, Python %.1f s, most of\n",
		float64(ours.hello.RSS)/1e6, float64(theirs.hello.RSS)/1e6, ours.Startup().Seconds(), theirs.Startup().Seconds())
	fmt.Fprintf(&b, "it Ray starting processes.\n")
	return b.String()
}
