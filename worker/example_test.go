package worker_test

import (
	"context"
	"fmt"
	"os"

	"github.com/seedcore/seedcore/worker"
)

// Tally is an actor: its methods get the arguments of a call and return a value for the caller.
type Tally struct{ n int64 }

func NewTally(_ context.Context, args worker.Args) (*Tally, error) {
	t := &Tally{}
	if args.Len() > 0 {
		return t, args.Decode(0, &t.n)
	}
	return t, nil
}

func (t *Tally) Add(_ context.Context, args worker.Args) (any, error) {
	var delta int64
	if err := args.Decode(0, &delta); err != nil {
		return nil, err
	}
	t.n += delta
	return t.n, nil
}

func Example() {
	worker.Register("Tally", NewTally, map[string]worker.Method[*Tally]{"add": (*Tally).Add})
	if worker.Requested(os.Args) {
		worker.Main() // a raylet started this process: it does not return
	}
	fmt.Println(worker.Classes())
	// Output: [{Tally [add]}]
}
