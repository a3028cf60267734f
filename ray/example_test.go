package ray_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/python"
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

// The items of a generator, as it makes them: leaving the loop stops it.
func ExampleDirect_Stream() {
	firstWith := func(ctx context.Context, direct *ray.Direct, path, word string) (string, error) {
		for line, err := range direct.Stream(ctx, "demo", "reader", "lines", path) {
			if err != nil {
				return "", err
			}
			if text, ok := line.(string); ok && strings.Contains(text, word) {
				return text, nil
			}
		}
		return "", nil
	}
	_ = firstWith
}

// Results in the types of the program: a dict or an instance of a dataclass fills a struct.
func ExampleAs() {
	type job struct {
		Name  string    `json:"name"`
		Due   time.Time `json:"due"`
		Sizes []int     `json:"sizes"`
	}
	next := func(ctx context.Context, queue *ray.ActorHandle) (job, error) {
		return ray.As[job](queue.Call(ctx, "next_job"))
	}
	_ = next
}

// An array of numpy, there and back.
func ExampleGet() {
	transpose := func(ctx context.Context, s *ray.Session) ([][]float64, error) {
		matrix, err := python.NewArray([]float64{1, 2, 3, 4, 5, 6}, 2, 3)
		if err != nil {
			return nil, err
		}
		ref, err := s.Submit(ctx, ray.Function{Module: "mypackage.matrices", Name: "transpose"}, matrix)
		if err != nil {
			return nil, err
		}
		defer ref.Release()
		return ray.Get[[][]float64](ctx, s, ref)
	}
	_ = transpose
}
