// Command actors measures calls of actors over the direct path against Ray's own drivers in Python and in C++ and Python's Ray
// Client, side by side on one Ray, and against a plain gRPC call between two Go processes, which is what one would have without Ray.
//
// Every caller is a process of its own that does what it is told, one measurement at a time; the rows take turns, round
// by round, so that the machine's mood meets all alike. Pipelined rows use the depth that was best for them in a short
// sweep before. It prints a table and writes it to bench/actors.md; a row whose calls did not take the path that it names is
// an error. With -short it does little more than to see that everything runs; with -profile it writes CPU and allocation
// profiles of the Go caller and the Go actor instead.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/seedcore/seedcore/internal/interrupt"
	"github.com/seedcore/seedcore/worker"
)

// settings are what the command line chooses.
type settings struct {
	python, cppDir, out, profile string
	rounds                       int
	window                       time.Duration
	fan                          int
	short                        bool
}

func main() {
	worker.Register(echoClass, newEcho, echoMethods)
	worker.Main()
	var s settings
	gcs := flag.String("caller", "", "address of a GCS: be the Go caller (used by the command itself)")
	plain := flag.String("plain-caller", "", "address of a plain gRPC server: call that (used by the command itself)")
	serve := flag.Bool("plain-server", false, "be the plain gRPC server (used by the command itself)")
	flag.StringVar(&s.python, "python", ".venv/bin/python", "Python with Ray")
	flag.StringVar(&s.cppDir, "cpp", "", "directory that scripts/ray_cpp.sh made: Ray with its C++ API, and the C++ caller; without one C++ is left out")
	flag.StringVar(&s.out, "out", "bench/actors.md", "file for the table")
	flag.StringVar(&s.profile, "profile", "", "directory for profiles: measure our calls of the Go actor alone")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds, each of which measures every row once")
	flag.DurationVar(&s.window, "window", 500*time.Millisecond, "time of one measurement")
	flag.IntVar(&s.fan, "n", 4, "the n of 1:n and n:n")
	flag.BoolVar(&s.short, "short", false, "a minimal run, as a check")
	flag.Parse()
	if s.short {
		s.rounds, s.window, s.fan = 1, 50*time.Millisecond, 2
	}
	ctx, stop := interrupt.Context(os.Stderr, "bench-actors")
	var err error
	switch {
	case *gcs != "":
		err = serveDirect(ctx, *gcs, os.Stdin, os.Stdout)
	case *plain != "":
		err = servePlainCaller(ctx, *plain, os.Stdin, os.Stdout)
	case *serve:
		err = servePlain(os.Stdin, os.Stdout)
	default:
		err = run(ctx, s)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/actors:", err)
		os.Exit(1)
	}
}
