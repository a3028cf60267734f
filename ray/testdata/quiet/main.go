// Command quiet makes many calls through a session, a large one among them, and ends without closing it: all that is seen
// of it is what it prints itself.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/seedcore/seedcore/ray"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address, namespace string) error {
	ctx := context.Background()
	s, err := ray.Open(ctx, ray.Config{Address: address, Namespace: namespace, ReconnectGrace: time.Second})
	if err != nil {
		return err
	}
	class, err := s.PythonClass(ctx, "drivertest", "Counter")
	if err != nil {
		return err
	}
	actor, err := s.CreateActor(ctx, class, ray.ActorOptions{})
	if err != nil {
		return err
	}
	if _, err := actor.Call(ctx, "echo", make([]byte, 11<<20)); err != nil {
		return err
	}
	var last *ray.ObjectRef
	for range 1100 {
		if last, err = actor.Submit(ctx, "incr"); err != nil {
			return err
		}
	}
	total, err := ray.Get[int](ctx, s, last)
	if err != nil {
		return err
	}
	fmt.Println("counted", total)
	return nil
}
