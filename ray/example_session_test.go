package ray_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// session stands for a session that the program has opened.
func session() *ray.Session { panic("open one with ray.Open") }

// Errors: what the code raised, what Ray says, and whether a call may be repeated.
func ExampleTaskError() {
	ctx, s := context.Background(), session()
	ref, err := s.Submit(ctx, ray.Function{Module: "shop", Name: "charge"}, "order-7")
	if err == nil {
		_, err = s.Get(ctx, ref)
	}
	var raised *ray.TaskError
	switch {
	case err == nil:
	case errors.As(err, &raised):
		fmt.Println(raised.Class, raised.Message, raised.Traceback)
	case errors.Is(err, ray.ErrOutOfMemory), errors.Is(err, ray.ErrWorkerCrashed):
		fmt.Println("Ray gave up on it")
	case ray.SentOf(err) == ray.SentNo:
		fmt.Println("it did not run: trying again is safe")
	}
}

// Wait for the first of several results.
func ExampleSession_Wait() {
	ctx, s := context.Background(), session()
	var refs []*ray.ObjectRef
	for _, city := range []string{"Oslo", "Lima"} {
		ref, err := s.Submit(ctx, ray.Function{Module: "weather", Name: "forecast"}, city)
		if err != nil {
			panic(err)
		}
		refs = append(refs, ref)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ready, notReady, err := s.Wait(ctx, refs, 1)
	if err != nil && !errors.Is(err, ray.ErrGetTimeout) {
		panic(err)
	}
	fmt.Println(len(ready), "are there,", len(notReady), "are not")
	values, err := s.GetAll(ctx, ready)
	fmt.Println(values, err)
}

// Options of a task: half a CPU, no retries, two results, on this node.
func ExampleSession_SubmitWith() {
	ctx, s := context.Background(), session()
	refs, err := s.SubmitWith(ctx, ray.Function{Module: "statistics", Name: "quantiles"}, ray.TaskOptions{
		NumCPUs: new(0.5), MaxRetries: new(0), NumReturns: new(2),
		SchedulingStrategy: ray.NodeAffinity{NodeID: s.Info().NodeID},
	}, []any{1, 2, 3, 4}, ray.Kwargs{"n": 3})
	fmt.Println(refs, err)
}

// A function of a few lines travels as source.
func ExampleFunction() {
	ctx, s := context.Background(), session()
	ref, err := s.Submit(ctx, ray.Function{Name: "double", Source: "def double(x):\n    return 2 * x\n"}, 21)
	if err != nil {
		panic(err)
	}
	n, err := ray.Get[int](ctx, s, ref)
	fmt.Println(n, err)
}

// Python code that a Go program brings along; go:embed serves as well as a directory.
func ExampleFilePackage() {
	ctx := context.Background()
	code, err := ray.FilePackage(os.DirFS("python"))
	if err != nil {
		panic(err)
	}
	s, err := ray.Open(ctx, ray.Config{
		Address: "127.0.0.1:10001", Namespace: "demo", Packages: []*ray.Package{code},
		RuntimeEnv: &ray.RuntimeEnv{PyModules: []string{code.URI()}, EnvVars: map[string]string{"MODE": "fast"}},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close(ctx) }()
}

// A named actor that outlives the session, made once however often this runs.
func ExampleSession_CreateActor() {
	ctx, s := context.Background(), session()
	class, err := s.PythonClass(ctx, "shop.stock", "Stock")
	if err != nil {
		panic(err)
	}
	stock, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "stock", Detached: true, GetIfExists: true, MaxRestarts: -1})
	if err != nil {
		panic(err)
	}
	left, err := ray.As[int](stock.Call(ctx, "take", "apples", 3))
	fmt.Println(left, err)
}

// Reserve resources together, and use them.
func ExampleSession_CreatePlacementGroup() {
	ctx, s := context.Background(), session()
	group, err := s.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: []map[string]float64{{"CPU": 2}, {"CPU": 2}}, Strategy: ray.StrictSpread})
	if err != nil {
		panic(err)
	}
	if err := s.WaitPlacementGroup(ctx, group); err != nil {
		panic(err)
	}
	_, err = s.SubmitWith(ctx, ray.Function{Module: "train", Name: "run"}, ray.TaskOptions{SchedulingStrategy: ray.InPlacementGroup{Group: group, Bundle: new(0)}})
	fmt.Println(err, s.RemovePlacementGroup(ctx, group))
}

// How far a large value is.
func ExampleWithProgress() {
	ctx, s := context.Background(), session()
	ctx = ray.WithProgress(ctx, func(p ray.Progress) { fmt.Printf("%d of %d bytes\n", p.Done, p.Total) })
	_, err := s.Put(ctx, make([]byte, 100<<20))
	fmt.Println(err)
}

// A cluster that wants a token or TLS, with what its tasks print in the program's own log.
func ExampleCredentialsFromEnv() {
	credentials, err := ray.CredentialsFromEnv(os.Getenv)
	if err != nil {
		panic(err)
	}
	s, err := ray.Open(context.Background(), ray.Config{Address: "head.example:10001", Namespace: "demo", Credentials: credentials, ClusterLog: slog.Default()})
	fmt.Println(s, err)
}

// Run a program on the cluster and follow what it prints.
func ExampleDashboard() {
	ctx := context.Background()
	d, err := ray.NewDashboard("127.0.0.1:8265", nil)
	if err != nil {
		panic(err)
	}
	defer d.Close()
	id, err := d.SubmitJob(ctx, ray.JobSpec{Entrypoint: "python -m shop.report"})
	if err != nil {
		panic(err)
	}
	if err := d.FollowJobLogs(ctx, id, os.Stdout); err != nil {
		panic(err)
	}
	job, err := d.WaitJob(ctx, id)
	fmt.Println(job.Status, err)

	alive, err := d.Actors(ctx, ray.StateOptions{Filters: []ray.StateFilter{{Key: "state", Value: "ALIVE"}}})
	fmt.Println(len(alive.Items), "of", alive.Matching, "actors", alive.Truncated, err)
}
