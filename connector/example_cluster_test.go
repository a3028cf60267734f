package connector_test

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// cluster makes the environment name the cluster on which the examples run, where an actor greets. It returns what undoes it.
func cluster() (undo func()) {
	address := raytest.Head(raytest.Example{}).ClientAddress()
	before, was := os.LookupEnv("RAY_ADDRESS")
	if err := os.Setenv("RAY_ADDRESS", "ray://"+address); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	s, err := ray.Open(ctx, ray.Config{Address: address, Namespace: connector.DefaultNamespace})
	if err != nil {
		panic(err)
	}
	class, err := s.Class(ctx, ray.Function{Name: "Greeter", Source: "class Greeter:\n    def greet(self, name):\n        return 'hello ' + name\n"})
	if err != nil {
		panic(err)
	}
	if _, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "greeter"}); err != nil { // it ends with the session
		panic(err)
	}
	return func() {
		defer cancel()
		err := s.Close(ctx)
		if was {
			err = errors.Join(err, os.Setenv("RAY_ADDRESS", before))
		} else {
			err = errors.Join(err, os.Unsetenv("RAY_ADDRESS"))
		}
		if err != nil {
			panic(err)
		}
	}
}
