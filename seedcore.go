package seedcore

import (
	"os"

	"github.com/seedcore/seedcore/internal/command"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/worker"
)

// Register makes handler run the tasks whose "type" is taskType, on every agent of every program that is built with it.
// Call it before Main. A second handler for a type panics, as does an empty type.
func Register(taskType string, handler organism.Handler) {
	organism.RegisterHandler(taskType, handler)
}

// Main is the whole program: started by a raylet it hosts one actor, otherwise it is the command line, with os.Args and
// the process's standard streams. It does not return.
func Main() {
	organism.RegisterActors()
	worker.Main()
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr))
}
