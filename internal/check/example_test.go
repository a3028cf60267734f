package check_test

import (
	"context"
	"os"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/check"
	"github.com/seedcore/seedcore/organism"
)

func Example() {
	ctx := context.Background()
	cfg, err := connector.FromEnv()
	if err != nil {
		panic(err)
	}
	bench := &check.Bench{Lookup: os.Getenv, Connection: cfg, Organism: organism.DefaultConfig()}
	defer func() { _ = bench.Close(ctx) }()
	for _, c := range check.All() {
		bench.Run(ctx, c).Print(os.Stdout)
	}
}
