package organism_test

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// Bring the built-in organism up and give it a task. The program also has to call organism.RegisterActors and
// worker.Main at its start, as seedcore.Main does, since it is what Ray starts as the actors.
func ExampleOrganism() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:10001"})
	if err != nil {
		panic(err)
	}
	org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
	if err != nil {
		panic(err)
	}
	conn.Start()
	go org.Run(ctx)
	if err := org.WaitReady(ctx); err != nil {
		panic(err)
	}
	done, err := org.Execute(ctx, "cognitive_organ_1", organism.Task{"type": "general"})
	fmt.Println(done.AgentID, done.Result, err)
}
