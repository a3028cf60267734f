// Command holder is seedcore with agents whose tasks of type "hold" last until the tests say so.
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/seedcore/seedcore"
	"github.com/seedcore/seedcore/organism"
)

func main() {
	organism.RegisterHandler("hold", hold)
	seedcore.Main()
}

// hold makes the file that the task names and returns when somebody has removed it.
func hold(ctx context.Context, task organism.Task) (organism.Outcome, error) {
	file, _ := task["file"].(string)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return organism.Outcome{}, err
	}
	for {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return organism.Outcome{Success: true, Quality: 1}, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return organism.Outcome{}, ctx.Err()
		}
	}
}
