package worker

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Main is one line of a program that is an actor when Ray wants one and something else otherwise. Started by a raylet, it
// runs the actor, of one of the classes that are registered, and ends the process when the actor does. Otherwise it
// returns at once. Register first, and do nothing before it that an actor does not need.
//
// The process logs to its standard error, as the default logger of log/slog and log, with time and level. From the
// creation of the actor on, standard output and error go to the files of the job in Ray's log directory, which Ray
// streams to the driver.
//
// It exits with 0 after an orderly end (the actor was terminated, SIGTERM, an unused worker), and with 1 when it could
// not start, the constructor failed, it was killed, or the raylet went away.
func Main() {
	if requested(os.Args[1:]) {
		os.Exit(run(os.Args[1:]))
	}
}

func run(args []string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	slog.SetDefault(log)
	l, err := parseLaunch(args, os.Getenv)
	if err != nil {
		log.Error("this process cannot be a Ray worker", "error", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return newProcess(l, &classes, log).run(ctx)
}
