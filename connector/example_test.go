package connector_test

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/connector"
)

// One connection for the whole process, from the environment.
func Example() {
	defer cluster()() // sets RAY_ADDRESS, and makes the actor
	ctx := context.Background()
	cfg, err := connector.FromEnv()
	if err != nil {
		panic(err)
	}
	conn, err := connector.New(cfg)
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.Connect(ctx); err != nil {
		panic(err) // the cluster is not there; conn.Start() would wait for it in the background
	}
	client, err := conn.Client()
	if err != nil {
		panic(err)
	}
	v, err := client.Call(ctx, conn.Info().Namespace, "greeter", "greet", "Ada")
	fmt.Println(v, err)
	// Output: hello Ada <nil>
}
