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

var (
	kindText = map[string]string{goKind: "Go", cppKind: "C++", pythonKind: "Python", inlineKind: "Python, raised limits", plainKind: "-"}
	sizeText = map[int]string{64: "64 B", 64 << 10: "64 KB", 1 << 20: "1 MB"}
)

// find returns the row of a way to a kind of actor in a mode; nil if there is none.
func find(rows []*row, way, kind string, m mode) *row {
	for _, r := range rows {
		if r.way == way && r.kind == kind && r.mode() == m {
			return r
		}
	}
	return nil
}

// ratio is the median of the rounds' ratios of two rows.
func ratio(a, b *row, value func(sample) float64) float64 {
	if a == nil || b == nil {
		return 0
	}
	var ratios []float64
	for i := range min(len(a.samples), len(b.samples)) {
		ratios = append(ratios, value(a.samples[i])/value(b.samples[i]))
	}
	return gauge.Quantile(ratios, 0.5)
}

func (st *stage) render(rows []*row, load string, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Calls of actors: direct from Go, Ray's drivers in Python and C++, and Ray Client\n\n")
	fmt.Fprintf(&b, "Ray %s, %s, %d CPUs, %s; %d rounds of %s a row in random order (two less above 64 B), in %.0f s; load average before: %s.\n",
		st.sides[wayDriver].hello.Ray, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), st.rounds, st.window, took.Seconds(), load)
	fmt.Fprintf(&b, "An echo there and back; n is %d: actors, and for n:n also processes of callers. Medians of the rounds. In flight: for all\n", st.fan)
	fmt.Fprintf(&b, "callers together, the best of %v, at most %d MiB; Go keeps so many calls under way, Python and C++ make a batch of as many\n", depths, inFlight>>20)
	fmt.Fprintf(&b, "and get it at once, with the batch's latency. Ratios of rates are to Python callers of the Python actor.\n\n")
	for _, way := range []string{wayDirect, wayDriver, wayCpp, wayClient, wayPlain} {
		if side := st.sides[way]; side != nil {
			fmt.Fprintf(&b, "- *%s*: %s\n", way, side.hello.Settings)
		}
	}
	if st.cpp.missing != "" {
		fmt.Fprintf(&b, "- *%s*: not measured: %s\n", wayCpp, st.cpp.missing)
	}
	fmt.Fprintf(&b, "- Task events are reported by all callers and actors, but not of plain gRPC. At 1 MB the driver and Ray Client use Ray's\n")
	fmt.Fprintf(&b, "  object store, and the direct path an actor whose environment raises Ray's inline limits.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| size\t| shape\t| path taken\t| actor\t| in flight\t| calls/s\t| p10 us\t| p50 us\t| p99 us\t| caller us\t| actor us\t| caller allocs\t| actor allocs\t| x driver\t| x client\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range rows {
		us := func(value func(sample) float64) string { return fmt.Sprintf("%.0f", r.median(value)) }
		allocs := func(known bool, value func(sample) float64) string {
			if !known {
				return "-"
			}
			return us(value)
		}
		goCaller := r.way == wayDirect || r.way == wayPlain
		fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %d\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %s\t| %.1f\t| %.1f\t|\n",
			sizeText[r.size], r.shape, r.way, kindText[r.kind], r.depth, us(sample.rate),
			us(func(s sample) float64 { return 1e6 * s.P10 }), us(func(s sample) float64 { return 1e6 * s.P50 }), us(func(s sample) float64 { return 1e6 * s.P99 }),
			us(func(s sample) float64 { return s.perCall(s.CPU) }), us(func(s sample) float64 { return s.perCall(s.actorCPU) }),
			allocs(goCaller, func(s sample) float64 { return s.allocsPerCall(s.Allocs) }),
			allocs(r.kind == goKind, func(s sample) float64 { return s.allocsPerCall(s.actorAllocs) }),
			ratio(r, find(rows, wayDriver, pythonKind, r.mode()), sample.rate), ratio(r, find(rows, wayClient, pythonKind, r.mode()), sample.rate))
	}
	_ = w.Flush() // a strings.Builder takes everything
	b.WriteString("\n## What is expected, at 64 B and 1:1\n\n")
	w = tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| what\t| expected\t| measured\t| holds\t|\n|---\t|---\t|---\t|---\t|")
	for _, bar := range bars(rows) {
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
	b.WriteString("\n" + limitsText)
	return b.String()
}

// bar is a ratio that is expected.
type bar struct {
	what           string
	measured, want float64
	atMost         bool
}

func bars(rows []*row) []bar {
	sync, pipelined := mode{"1:1", 64, false}, mode{"1:1", 64, true}
	goSync, goPipelined := find(rows, wayDirect, goKind, sync), find(rows, wayDirect, goKind, pipelined)
	pySync, pyPipelined := find(rows, wayDirect, pythonKind, sync), find(rows, wayDirect, pythonKind, pipelined)
	driverSync, driverPipelined := find(rows, wayDriver, pythonKind, sync), find(rows, wayDriver, pythonKind, pipelined)
	client := find(rows, wayClient, pythonKind, sync)
	p50 := func(s sample) float64 { return s.P50 }
	found := []bar{
		{what: "Go to Go, sync, to the driver's rate", measured: ratio(goSync, driverSync, sample.rate), want: 4},
		{what: "Go to Go, pipelined, to the driver's rate", measured: ratio(goPipelined, driverPipelined, sample.rate), want: 6},
		{what: "Go to Python, sync, to the driver's rate", measured: ratio(pySync, driverSync, sample.rate), want: 1.5},
		{what: "Go to Python, pipelined, to the driver's rate", measured: ratio(pyPipelined, driverPipelined, sample.rate), want: 1},
		{what: "Go to Python, sync, to Ray Client's rate", measured: ratio(pySync, client, sample.rate), want: 8},
		{what: "Go to Go, sync, to Ray Client's rate", measured: ratio(goSync, client, sample.rate), want: 8},
		{what: "Go to Go, p50, to plain gRPC's", measured: ratio(goSync, find(rows, wayPlain, plainKind, sync), p50), want: 2, atMost: true},
		{what: "Go to Go, pipelined, to plain gRPC's rate", measured: ratio(goPipelined, find(rows, wayPlain, plainKind, pipelined), sample.rate), want: 0.6},
	}
	cppSync, cppPipelined := find(rows, wayCpp, cppKind, sync), find(rows, wayCpp, cppKind, pipelined)
	if cppSync == nil {
		return found
	}
	return append(found,
		bar{what: "Go to Go, sync, to the rate of C++ to C++", measured: ratio(goSync, cppSync, sample.rate), want: 1},
		bar{what: "Go to Go, pipelined, to the rate of C++ to C++", measured: ratio(goPipelined, cppPipelined, sample.rate), want: 1},
		bar{what: "Go to Python, sync, to the rate of C++ to Python", measured: ratio(pySync, find(rows, wayCpp, pythonKind, sync), sample.rate), want: 1},
		bar{what: "Go to Python, pipelined, to the rate of C++ to Python", measured: ratio(pyPipelined, find(rows, wayCpp, pythonKind, pipelined), sample.rate), want: 1})
}
