// Command server is a seedcore whose agents write down each task that they run: the drills compare that with what the
// callers were told.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/seedcore/seedcore"
	"github.com/seedcore/seedcore/organism"
)

func main() {
	seedcore.Register("note", note)
	seedcore.Main()
}

// note appends the task's id to the ledger that it names.
func note(_ context.Context, task organism.Task) (_ organism.Outcome, err error) {
	id, named := task["id"].(string)
	ledger, placed := task["ledger"].(string)
	if !named || !placed {
		return organism.Outcome{}, errors.New(`a task of type "note" has an "id" and a "ledger"`)
	}
	file, err := os.OpenFile(ledger, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return organism.Outcome{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	// One write, so that the lines of several processes do not mix.
	if _, err := fmt.Fprintf(file, "%s\n", id); err != nil {
		return organism.Outcome{}, err
	}
	return organism.Outcome{Success: true, Quality: 1}, nil
}
