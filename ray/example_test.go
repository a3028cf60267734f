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
	s, err := ray.Open(ctx, ray.Config{Address: clientAddress(), Namespace: "demo"})
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
	// Output: 2 <nil>
}

// Call a named actor in the process that hosts it, without a session.
func ExampleDirect() {
	defer create("Stock")()
	ctx := context.Background()
	gcs, err := ray.DialGCS(ctx, gcsAddress(), ray.GCSOptions{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = gcs.Close() }()
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = direct.Close(ctx) }()
	fmt.Println(direct.Call(ctx, "demo", "Stock", "take", 1))
	// Output: 9 <nil>
}

// The items of a generator, as it makes them: leaving the loop stops it.
func ExampleDirect_Stream() {
	defer create("Reader")()
	for line, err := range direct().Stream(context.Background(), "demo", "Reader", "lines", "/proc/self/status") {
		if err != nil {
			panic(err)
		}
		if text, ok := line.(string); ok && strings.HasPrefix(text, "Threads:") {
			fmt.Println("found")
			break
		}
	}
	// Output: found
}

// A client makes calls of named actors directly where that is possible, and through the session elsewhere.
func ExampleClient() {
	defer create("Stock")()
	ctx := context.Background()
	client := ray.NewClient(session(), nil, direct(), nil)
	fmt.Println(client.Call(ctx, "demo", "Stock", "take", 2))
	fmt.Println(client.WithDirect(ray.DirectOff).Call(ctx, "demo", "Stock", "take", 3))
	fmt.Println(client.Paths().Direct, client.Paths().Session)
	// Output:
	// 8 <nil>
	// 5 <nil>
	// 1 1
}

// Results in the types of the program: a dict or an instance of a dataclass fills a struct.
func ExampleAs() {
	defer create("Queue")()
	ctx, s := context.Background(), session()
	queue, err := s.GetActor(ctx, "Queue", "demo")
	if err != nil {
		panic(err)
	}
	job, err := ray.As[struct {
		Name  string    `json:"name"`
		Due   time.Time `json:"due"`
		Sizes []int     `json:"sizes"`
	}](queue.Call(ctx, "next_job"))
	fmt.Println(job.Name, job.Due.Format(time.DateOnly), job.Sizes, err)
	// Output: report 2026-12-24 [1 2] <nil>
}

// An array of numpy, there and back.
func ExampleGet() {
	ctx, s := context.Background(), session()
	matrix, err := python.NewArray([]float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if err != nil {
		panic(err)
	}
	ref, err := s.Submit(ctx, ray.Function{Module: "shop", Name: "transpose"}, matrix)
	if err != nil {
		panic(err)
	}
	defer ref.Release()
	fmt.Println(ray.Get[[][]float64](ctx, s, ref))
	// Output: [[1 4] [2 5] [3 6]] <nil>
}

// A function with a typed result.
func ExampleNewFunction() {
	ctx := context.Background()
	area := ray.NewFunction[float64](session(), ray.Function{Module: "shop", Name: "area"})
	ref, err := area.Remote(ctx, 3, 4)
	if err != nil {
		panic(err)
	}
	defer ref.Release()
	fmt.Println(ref.Get(ctx))
	fmt.Println(area.Call(ctx, ref, 0.5)) // the ref stands for its value
	// Output:
	// 12 <nil>
	// 6 <nil>
}

// Methods with typed results, of a handle and of a name.
func ExampleNewMethod() {
	defer create("Stock")()
	ctx, s := context.Background(), session()
	stock, err := s.GetActor(ctx, "Stock", "demo")
	if err != nil {
		panic(err)
	}
	fmt.Println(ray.NewMethod[int](stock, "take").Call(ctx, 4))
	fmt.Println(ray.NewNamedMethod[int](direct(), "demo", "Stock", "take").Call(ctx, 4))
	// Output:
	// 6 <nil>
	// 2 <nil>
}
