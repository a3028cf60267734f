// Command session measures a session of package ray against Python's Ray Client, operation by operation, on one Ray. Each
// side is a process of its own that does what it is told, one at a time; the sides take turns, and begin in turn, so that
// the machine's mood meets both alike. It prints a table and writes it to bench/session.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	client := flag.String("client", "", "address of a Ray Client server: be the Go side (used by the command itself)")
	python := flag.String("python", ".venv/bin/python", "Python with Ray")
	rounds := flag.Int("rounds", 5, "rounds, each of which measures every row once on both sides")
	window := flag.Duration("window", 2*time.Second, "time of one measurement")
	out := flag.String("out", "bench/session.md", "file for the table")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	if *client != "" {
		err = serveCommands(ctx, *client, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, *python, *rounds, *window, *out)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/session:", err)
		os.Exit(1)
	}
}
