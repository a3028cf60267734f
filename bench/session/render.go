package main

import (
	_ "embed"
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
)

//go:embed limits.md
var limitsText string

var opText = map[string]string{
	opCall: "call of an actor, sync", opPipelined: "200 calls, then all results", opGet: "get of 100 B", opPut: "put of 64 B",
	opPut100: "put of 100 MiB", opGet100: "get of 100 MiB",
}

// mib is for rows whose throughput counts.
var mib = map[string]float64{opPut100: 100, opGet100: 100}

// requests are those of the Go side; a letter each, explained above the table.
var requests = map[string]map[string]string{
	opCall:      {waySame: "T G", waySession: "T D R64", wayShipped: "P"},
	opPipelined: {waySame: "200 T, G", waySession: "200 T, G, R64", wayShipped: "200 P"},
	opGet:       {waySame: "G", wayShipped: "D"},
	opPut:       {waySame: "U", wayShipped: "U R64"},
	opPut100:    {wayShipped: "U R64"},
	opGet100:    {waySame: "G", wayShipped: "G", wayDropped: "G"},
}

// pythonRequests are those of the Python side, without the releases.
var pythonRequests = map[string]string{opCall: "T G", opPipelined: "200 T, G", opGet: "G", opPut: "U", opPut100: "U", opGet100: "G"}

func (r *row) theirRequests() string {
	switch r.op {
	case opGet, opGet100:
		return pythonRequests[r.op]
	}
	if r.keep() {
		return pythonRequests[r.op]
	}
	return pythonRequests[r.op] + " R1"
}

func median(results []result, value func(result) float64) float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = value(r)
	}
	return gauge.Quantile(values, 0.5)
}

func rate(r result) float64     { return float64(r.N) / r.Seconds }
func p50(r result) float64      { return r.P50 * 1e3 }
func p99(r result) float64      { return r.P99 * 1e3 }
func cpu(r result) float64      { return r.CPU / float64(r.N) * 1e6 }
func proxy(r result) float64    { return r.served.proxy / float64(r.N) * 1e6 }
func sessions(r result) float64 { return r.served.sessions / float64(r.N) * 1e6 }
func allocs(r result) float64   { return float64(r.Allocs) / float64(r.N) }

// busy is which share of one CPU each process had, in percent: the client, the server's common process and the session's.
func busy(results []result) string {
	share := func(seconds func(result) float64) float64 {
		return median(results, func(r result) float64 { return 100 * seconds(r) / r.Seconds })
	}
	return fmt.Sprintf("%.0f %.0f %.0f", share(func(r result) float64 { return r.CPU }),
		share(func(r result) float64 { return r.served.proxy }), share(func(r result) float64 { return r.served.sessions }))
}

// ratio is that of the medians.
func (r *row) ratio(value func(result) float64) float64 {
	return median(r.ours, value) / median(r.theirs, value)
}

func render(all []*row, ours, theirs *side, started []result, s settings, load string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Package ray, and Python's Ray Client\n\n")
	fmt.Fprintf(&b, "Ray %s, %s, %d CPUs, %s; %d rounds of %s a row, the sides in turn, medians; load average before: %s.\n",
		ours.hello.Version, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), s.rounds, s.window, load)
	b.WriteString("Both sides: one process, one session, no log stream, 64 B arguments, actors in Python without CPUs; each caller has its own\n" +
		"actor or object, and is a goroutine or a thread.\n\n" +
		"- *same requests*: Go makes those that Python makes, by a call of its own for each get; no side releases refs meanwhile, since\n" +
		"  they do that differently. What these rows show is the driver's merit.\n" +
		"- *session*: package ray through Ray's client server, as it is. What is more than with the same requests is the choice of them.\n" +
		"- *as shipped*: `ray.Client`; calls are direct (checked), all else is the session's. Up to four small puts are under way, where\n" +
		"  Python waits for each; the time ends with the answer to the last. A get of a large value that the session put itself is a call of its own.\n" +
		"- *answer dropped*: a client that costs next to nothing: it makes the request and throws away what comes. No client is faster.\n\n" +
		"Gets and puts are measured before there are actors: Ray wakes each process of theirs when objects are freed.\n\n" +
		"Requests: T task, D get on the data channel, G `GetObject`, U put, P `PushTask` to the actor's process, R1 and R64 releases by one\n" +
		"and by up to 64. 100 MiB travel in chunks: of 1 MiB when Go puts, else of 5 MiB. Direct calls report no task events, which is\n" +
		"their default. Busy: the share of one CPU that the client, the server's process for all and its process for the session had, in\n" +
		"percent. CPU in us for one operation; that of the server is of these two processes.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| operation\t| callers\t| way\t| Go\t| Python\t| ratio\t| p50, p99 ms Go\t| Python\t| CPU Go\t| Python\t| server CPU Go\t| Python\t| busy Go\t| Python\t| Go allocations\t| requests Go\t| Python\t|")
	fmt.Fprintln(w, "|"+strings.Repeat("---\t|", 17))
	for _, r := range all {
		us, them, unit := median(r.ours, rate), median(r.theirs, rate), "/s"
		if size := mib[r.op]; size > 0 {
			us, them, unit = us*size, them*size, " MiB/s"
		}
		latency := func(results []result) string {
			return fmt.Sprintf("%.2f, %.2f", median(results, p50), median(results, p99))
		}
		server := func(results []result) string {
			return fmt.Sprintf("%.0f + %.0f", median(results, proxy), median(results, sessions))
		}
		fmt.Fprintf(w, "| %s\t| %d\t| %s\t| %.0f%s\t| %.0f%s\t| %.2f\t| %s\t| %s\t| %.0f\t| %.0f\t| %s\t| %s\t| %s\t| %s\t| %.0f\t| %s\t| %s\t|\n",
			opText[r.op], r.callers, r.way, us, unit, them, unit, r.ratio(rate), latency(r.ours), latency(r.theirs),
			median(r.ours, cpu), median(r.theirs, cpu), server(r.ours), server(r.theirs), busy(r.ours), busy(r.theirs),
			median(r.ours, allocs), requests[r.op][r.way], r.theirRequests())
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteString("\n## What is expected, as shipped, with one caller\n\n")
	w = tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| what\t| expected\t| measured\t| holds\t|\n|---\t|---\t|---\t|---\t|")
	for _, bar := range bars(all, ours, theirs) {
		sign, holds := ">=", bar.measured >= bar.want
		if bar.atMost {
			sign, holds = "<=", bar.measured <= bar.want
		}
		verdict := "no"
		if holds {
			verdict = "yes"
		}
		fmt.Fprintf(w, "| %s\t| %s %.1f\t| %.2f\t| %s\t|\n", bar.what, sign, bar.want, bar.measured, verdict)
	}
	_ = w.Flush() // as above
	fmt.Fprintf(&b, "\nMemory once connected: Go %.0f MB, with the connection to the GCS; Python %.0f MB. From start until connected: Go %.1f s,\nPython %.1f s. Until %d actors answered: Go %.1f s, one after the other, Python %.1f s, all at once, most of it Ray starting processes.\n\n",
		float64(ours.hello.RSS)/1e6, float64(theirs.hello.RSS)/1e6, ours.Startup().Seconds(), theirs.Startup().Seconds(),
		maxCallers, started[0].Seconds, started[1].Seconds)
	b.WriteString(limitsText)
	return b.String()
}

// bar is a figure that is expected.
type bar struct {
	what           string
	measured, want float64
	atMost         bool
}

func bars(all []*row, ours, theirs *side) []bar {
	find := func(op, way string) *row {
		for _, r := range all {
			if r.op == op && r.way == way && r.callers == 1 {
				return r
			}
		}
		return &row{op: op, ours: []result{{}}} // its figures are no numbers, which meet nothing
	}
	shipped := func(op string) *row { return find(op, wayShipped) }
	call := shipped(opCall)
	return []bar{
		{what: "sync call, to Python's rate", measured: call.ratio(rate), want: 2},
		{what: "small get, to Python's rate", measured: shipped(opGet).ratio(rate), want: 2},
		{what: "small put, to Python's rate", measured: shipped(opPut).ratio(rate), want: 1.7},
		{what: "200 calls, to Python's rate", measured: shipped(opPipelined).ratio(rate), want: 1.7},
		{what: "put of 100 MiB, to Python's rate", measured: shipped(opPut100).ratio(rate), want: 1.5},
		{what: "get of 100 MiB, to Python's rate", measured: shipped(opGet100).ratio(rate), want: 1.5},
		{what: "client's CPU time of a sync call, to Python's", measured: call.ratio(cpu), want: 0.2, atMost: true},
		{what: "allocations of a sync call, direct", measured: median(call.ours, allocs), want: 40, atMost: true},
		{what: "allocations of a sync call, through a session", measured: median(find(opCall, waySession).ours, allocs), want: 40, atMost: true},
		{what: "memory once connected, MB", measured: float64(ours.hello.RSS) / 1e6, want: 20, atMost: true},
		{what: "Python's memory once connected, to ours", measured: float64(theirs.hello.RSS) / float64(ours.hello.RSS), want: 1},
	}
}
