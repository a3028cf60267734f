// Command session measures package ray against Python's Ray Client, operation by operation, on one Ray. Each side is a
// process of its own that does what it is told, one at a time; the sides take turns, and begin in turn, so that the
// machine's mood meets both alike.
//
// An operation is measured in up to three ways: with the requests that Python makes, through a session as it is, and as
// shipped, where calls skip Ray's client server; a call that did not is an error. It prints a table and writes it to
// bench/session.md. With -short it does little more than to see that everything runs; with -profile it writes CPU and
// allocation profiles of the Go side, row by row.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"time"
)

// settings are what the command line chooses.
type settings struct {
	python, out, profile string
	rounds               int
	window               time.Duration
	callers              []int // the sweep
	only                 *regexp.Regexp
}

func main() {
	var s settings
	client := flag.String("client", "", "address of a Ray Client server: be the Go side (used by the command itself)")
	flag.StringVar(&s.python, "python", ".venv/bin/python", "Python with Ray")
	flag.StringVar(&s.out, "out", "bench/session.md", "file for the table")
	flag.StringVar(&s.profile, "profile", "", "directory for profiles of the Go side")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds, each of which measures every row once on both sides")
	flag.DurationVar(&s.window, "window", 2*time.Second, "time of one measurement")
	only := flag.String("only", "", "regular expression of the rows to measure, as 'put100, as shipped, 1 callers'; writes no file")
	short := flag.Bool("short", false, "a minimal run, as a check")
	flag.Parse()
	s.callers = []int{1, 2, 4, 8, maxCallers}
	if *short {
		s.rounds, s.window, s.callers = 1, 100*time.Millisecond, []int{1, 4}
	}
	var err error
	if s.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench/session: -only:", err)
		os.Exit(2)
	}
	if *only != "" {
		s.out = ""
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	if *client != "" {
		err = serveCommands(ctx, *client, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, s)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/session:", err)
		os.Exit(1)
	}
}
