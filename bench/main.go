// Command bench measures a call of an actor over four paths, side by side on one Ray: a task through our HTTP API, our
// direct call, our call through the session, Python's Ray Client, and Ray's own driver in Python, which runs on the head's
// node and is what nobody outside of the cluster can have. Each calls the same actor in Go and the same actor in Python with
// 64 bytes. The paths take turns, round by round, so that the machine's mood meets all alike. It prints a table, with the
// CPU time that the actor's process took meanwhile, and writes it to bench/results.md; a row whose calls did not take the
// path that it names is an error.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/seedcore/seedcore/internal/interrupt"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/worker"
)

func main() {
	worker.Register(echoClass, newEchoAgent, echoMethods)
	organism.RegisterActors()
	worker.Main()
	python := flag.String("python", ".venv/bin/python", "Python with Ray")
	rounds := flag.Int("rounds", 5, "rounds, each of which measures every row once")
	window := flag.Duration("window", 2*time.Second, "time of one measurement")
	out := flag.String("out", "bench/results.md", "file for the table")
	flag.Parse()

	ctx, stop := interrupt.Context(os.Stderr, "bench")
	err := run(ctx, *python, *rounds, *window, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// echoClass ends in RayAgent, so that the HTTP API takes its actors for agents.
const echoClass = "EchoRayAgent"

type echoAgent struct{}

func newEchoAgent(context.Context, worker.Args) (*echoAgent, error) { return &echoAgent{}, nil }

var echoMethods = worker.Methods[*echoAgent]{
	"echo": func(_ *echoAgent, _ context.Context, args worker.Args) (any, error) { return args.Bytes(0) },
	"execute_task": func(_ *echoAgent, _ context.Context, args worker.Args) (any, error) {
		return args.Value(0)
	},
	"ping": func(*echoAgent, context.Context, worker.Args) (any, error) { return "pong", nil },
}
