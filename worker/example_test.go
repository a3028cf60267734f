package worker_test

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/worker"
)

// Tally is an actor: callers may use its exported methods that take a context.
type Tally struct{ n int64 }

func NewTally(start int64) *Tally { return &Tally{n: start} }

func (t *Tally) Add(_ context.Context, delta int64) (int64, error) {
	t.n += delta
	return t.n, nil
}

func Example() {
	worker.Register("Tally", NewTally)
	worker.Main() // runs the actor and does not return where a raylet started this process

	fmt.Println(worker.Classes())
	tally, err := worker.NewLocal("Tally", 40)
	if err != nil {
		panic(err)
	}
	defer tally.Close(context.Background())
	fmt.Println(tally.Call(context.Background(), "add", 2))
	// Output:
	// [{Tally [add] []}]
	// 42 <nil>
}
