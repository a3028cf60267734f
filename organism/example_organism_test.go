package organism_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
)

// address is that of the cluster on which the example runs.
func address() string { return "ray://" + raytest.Head(raytest.Example{}).ClientAddress() }

// Bring the built-in organism up and give it a task. The program also has to call organism.RegisterActors and
// worker.Main at its start, as seedcore.Main does, since it is what Ray starts as the actors, and before that
// organism.RegisterHandler for each type of tasks that it has.
func ExampleOrganism() {
	ctx, stop := context.WithCancel(context.Background())
	conn, err := connector.New(connector.Config{Address: address()})
	if err != nil {
		panic(err)
	}
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		panic(err)
	}
	conn.Start()
	var running sync.WaitGroup
	running.Go(func() { org.Run(ctx) })
	if err := org.WaitReady(ctx); err != nil {
		panic(err)
	}
	done, err := org.Execute(ctx, "cognitive_organ_1", organism.Task{"type": "greet", "name": "Ada"})
	fmt.Println(done.AgentID, done.Result["output"], err)

	stop() // the actors live on
	running.Wait()
	fmt.Println(conn.Close(context.Background()))
	// Output:
	// cognitive_organ_1_agent_0 hello Ada <nil>
	// <nil>
}
