package seedcore_test

import (
	"context"

	"github.com/seedcore/seedcore"
	"github.com/seedcore/seedcore/organism"
)

// A program of one's own: server, command line and actor at once.
func Example() {
	seedcore.Register("greet", func(_ context.Context, task organism.Task) (organism.Outcome, error) {
		return organism.Outcome{Success: true, Quality: 1, Output: task["name"]}, nil
	})
	seedcore.Main()
}
