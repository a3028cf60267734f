package ray_test

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// A session: run a Python function of the cluster on a value.
func Example() {
	ctx := context.Background()
	s, err := ray.Open(ctx, ray.Config{Address: "127.0.0.1:10001", Namespace: "demo"})
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close(ctx) }()
	ref, err := s.Submit(ctx, ray.Function{Module: "statistics", Name: "mean"}, []any{1, 2, 3})
	if err != nil {
		panic(err)
	}
	defer ref.Release()
	fmt.Println(s.Get(ctx, ref))
}

// Call a named actor in the process that hosts it, without a session.
func ExampleDirect() {
	ctx := context.Background()
	gcs, err := ray.DialGCS(ctx, "127.0.0.1:6379", ray.GCSOptions{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = gcs.Close() }()
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = direct.Close(ctx) }()
	fmt.Println(direct.Call(ctx, "demo", "counter", "incr", 1))
}
