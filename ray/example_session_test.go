package ray_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/seedcore/seedcore/ray"
)

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
		fmt.Printf("%s: %s\n", raised.Class, raised.Message)
	case errors.Is(err, ray.ErrOutOfMemory), errors.Is(err, ray.ErrWorkerCrashed):
		fmt.Println("Ray gave up on it")
	case ray.SentOf(err) == ray.SentNo:
		fmt.Println("it did not run: trying again is safe")
	}
	// Output: ValueError: order-7 is paid already
}

// Wait for the first of several results.
func ExampleSession_Wait() {
	ctx, s := context.Background(), session()
	var refs []*ray.ObjectRef
	for _, city := range []string{"Oslo", "Lima"} {
		ref, err := s.Submit(ctx, ray.Function{Module: "shop", Name: "forecast"}, city)
		if err != nil {
			panic(err)
		}
		refs = append(refs, ref)
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	ready, notReady, err := s.Wait(bounded, refs, 1)
	if err != nil && !errors.Is(err, ray.ErrGetTimeout) {
		panic(err)
	}
	fmt.Println(len(ready), "is there,", len(notReady), "is not")
	fmt.Println(s.GetAll(ctx, ready))
	fmt.Println(s.Cancel(ctx, notReady[0], true, true))
	// Output:
	// 1 is there, 1 is not
	// [snow in Oslo] <nil>
	// <nil>
}

// Options of a task: half a CPU, no retries, two results, on this node.
func ExampleSession_SubmitWith() {
	ctx, s := context.Background(), session()
	refs, err := s.SubmitWith(ctx, ray.Function{Module: "statistics", Name: "quantiles"}, ray.TaskOptions{
		NumCPUs: new(0.5), MaxRetries: new(0), NumReturns: new(2),
		SchedulingStrategy: ray.NodeAffinity{NodeID: s.Info().NodeID},
	}, []any{1, 2, 3, 4, 5}, ray.Kwargs{"n": 3})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.GetAll(ctx, refs))
	// Output: [2 4] <nil>
}

// A function of a few lines travels as source.
func ExampleFunction() {
	ctx, s := context.Background(), session()
	ref, err := s.Submit(ctx, ray.Function{Name: "double", Source: "def double(x):\n    return 2 * x\n"}, 21)
	if err != nil {
		panic(err)
	}
	fmt.Println(ray.Get[int](ctx, s, ref))
	// Output: 42 <nil>
}

// Python code that a Go program brings along; go:embed serves as well as a directory.
func ExampleFilePackage() {
	ctx := context.Background()
	code, err := ray.FilePackage(os.DirFS("testdata/package"))
	if err != nil {
		panic(err)
	}
	s, err := ray.Open(ctx, ray.Config{
		Address: clientAddress(), Namespace: "demo", Packages: []*ray.Package{code},
		RuntimeEnv: &ray.RuntimeEnv{PyModules: []string{code.URI()}, EnvVars: map[string]string{"MODE": "fast"}},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close(ctx) }()
	fmt.Println(ray.NewFunction[string](s, ray.Function{Name: "mode", Source: "def mode():\n    import os, shipped\n    return os.environ['MODE']\n"}).Call(ctx))
	// Output: fast <nil>
}

// A named actor that outlives the session, made once however often this runs.
func ExampleSession_CreateActor() {
	ctx, s := context.Background(), session()
	class, err := s.PythonClass(ctx, "shop", "Stock")
	if err != nil {
		panic(err)
	}
	stock, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "stock", Detached: true, GetIfExists: true, MaxRestarts: -1})
	if err != nil {
		panic(err)
	}
	fmt.Println(ray.As[int](stock.Call(ctx, "take", 3)))
	fmt.Println(s.Kill(ctx, stock, true)) // it would live on
	// Output:
	// 7 <nil>
	// <nil>
}

// Reserve resources together, and use them.
func ExampleSession_CreatePlacementGroup() {
	ctx, s := context.Background(), session()
	group, err := s.CreatePlacementGroup(ctx, ray.PlacementGroupOptions{Bundles: []map[string]float64{{"CPU": 1}, {"CPU": 1}}, Strategy: ray.Pack})
	if err != nil {
		panic(err)
	}
	if err := s.WaitPlacementGroup(ctx, group); err != nil {
		panic(err)
	}
	area := ray.NewFunction[int](s, ray.Function{Module: "shop", Name: "area"})
	fmt.Println(area.Options(ray.TaskOptions{SchedulingStrategy: ray.InPlacementGroup{Group: group, Bundle: new(0)}}).Call(ctx, 5, 6))
	fmt.Println(s.RemovePlacementGroup(ctx, group))
	// Output:
	// 30 <nil>
	// <nil>
}

// How far a large value is.
func ExampleWithProgress() {
	var last ray.Progress
	ctx := ray.WithProgress(context.Background(), func(p ray.Progress) { last = p })
	ref, err := session().Put(ctx, make([]byte, 10<<20))
	if err != nil {
		panic(err)
	}
	defer ref.Release()
	fmt.Println(last.Done == last.Total, last.Total >= 10<<20)
	// Output: true true
}

// A cluster that wants a token or TLS, with what its tasks print in the program's own log.
func ExampleCredentialsFromEnv() {
	ctx := context.Background()
	credentials, err := ray.CredentialsFromEnv(os.Getenv)
	if err != nil {
		panic(err)
	}
	s, err := ray.Open(ctx, ray.Config{Address: clientAddress(), Namespace: "demo", Credentials: credentials, ClusterLog: slog.Default()})
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Close(ctx))
	// Output: <nil>
}

// A cluster that wants TLS with certificates of both sides, and a token, each from files that are read again when they change.
func ExampleTLSFiles() {
	ctx := context.Background()
	files := ray.TLSFiles{Cert: certificates().Cert, Key: certificates().Key, CA: certificates().CA}
	tls, err := files.Config()
	if err != nil {
		panic(err)
	}
	s, err := ray.Open(ctx, ray.Config{
		Address: securedAddress(), Namespace: "demo",
		Credentials: &ray.Credentials{TLS: tls, Token: ray.TokenFile(tokenFile())},
	})
	if err != nil {
		panic(err)
	}
	defer func() { _ = s.Close(ctx) }()
	fmt.Println(ray.NewFunction[int](s, ray.Function{Module: "statistics", Name: "median"}).Call(ctx, []any{1, 2, 3}))
	// Output: 2 <nil>
}

// Run a program of this machine on the cluster, follow what it prints, and see what runs there.
func ExampleDashboard() {
	ctx := context.Background()
	d, err := ray.NewDashboard(dashboardAddress(), credentials()) // without a token: nil
	if err != nil {
		panic(err)
	}
	defer d.Close()
	program, err := ray.FilePackage(os.DirFS("testdata/job"))
	if err != nil {
		panic(err)
	}
	uri, err := d.UploadPackage(ctx, program)
	if err != nil {
		panic(err)
	}
	id, err := d.SubmitJob(ctx, ray.JobSpec{
		Entrypoint: "python report.py", RuntimeEnv: &ray.RuntimeEnv{WorkingDir: uri, EnvVars: map[string]string{"MONTH": "May"}},
	})
	if err != nil {
		panic(err)
	}
	var log strings.Builder
	if err := d.FollowJobLogs(ctx, id, &log); err != nil {
		panic(err)
	}
	fmt.Println(strings.Contains(log.String(), "the report of May is ready"))
	job, err := d.WaitJob(ctx, id)
	fmt.Println(job.Status, err)

	actors, err := d.Actors(ctx, ray.StateOptions{Filters: []ray.StateFilter{{Key: "state", Value: "ALIVE"}}})
	fmt.Println(len(actors.Items), "actors, cut short:", actors.Truncated, err)
	// Output:
	// true
	// SUCCEEDED <nil>
	// 0 actors, cut short: false <nil>
}

// The key-value store of the cluster's control store.
func ExampleSession_KVPut() {
	ctx, s := context.Background(), session()
	if _, err := s.KVPut(ctx, "demo", "greeting", []byte("hello"), true); err != nil {
		panic(err)
	}
	value, found, err := s.KVGet(ctx, "demo", "greeting")
	fmt.Printf("%s %v %v\n", value, found, err)
	fmt.Println(s.KVDel(ctx, "demo", "greeting"))
	// Output:
	// hello true <nil>
	// true <nil>
}

// What the cluster has.
func ExampleSession_ClusterResources() {
	ctx, s := context.Background(), session()
	resources, err := s.ClusterResources(ctx)
	if err != nil {
		panic(err)
	}
	nodes, err := s.Nodes(ctx)
	fmt.Println(resources["CPU"], "CPUs on", len(nodes), "node", err)
	// Output: 8 CPUs on 1 node <nil>
}

// What Ray says of a call that did not end as it should has a type each.
func ExampleActorDiedError() {
	ctx, s := context.Background(), session()
	class, err := s.Class(ctx, ray.Function{Name: "Mortal", Source: "class Mortal:\n    def die(self):\n        import os\n        os._exit(1)\n"})
	if err != nil {
		panic(err)
	}
	actor, err := s.CreateActor(ctx, class, ray.ActorOptions{})
	if err != nil {
		panic(err)
	}
	_, err = actor.Call(ctx, "die")
	if died, ok := errors.AsType[*ray.ActorDiedError](err); ok {
		fmt.Println(died.ActorClass, "is dead:", died.ActorID == actor.ID(), ray.SentOf(err))
	}
	// Output: Mortal is dead: true maybe
}

// Look actors up by their names, and see which there are.
func ExampleSession_GetActor() {
	defer create("Stock")()
	ctx, s := context.Background(), session()
	stock, err := s.GetActor(ctx, "Stock", "") // of the session's namespace
	if err != nil {
		panic(err)
	}
	defer stock.Release()
	fmt.Println(ray.As[int](stock.Call(ctx, "take", 1)))
	names, err := s.ListNamedActors(ctx, true)
	fmt.Println(slices.Contains(names, ray.NamedActor{Name: "Stock", Namespace: "demo"}), err)
	_, err = s.GetActor(ctx, "Nobody", "")
	fmt.Println(errors.Is(err, ray.ErrActorNotFound))
	// Output:
	// 9 <nil>
	// true <nil>
	// true
}

// A generator that yields as many results as it wants, each of which is a ref.
func ExampleSession_DynamicRefs() {
	ctx, s := context.Background(), session()
	squares := ray.Function{Name: "squares", Source: "def squares(n):\n    for i in range(n):\n        yield i * i\n"}
	refs, err := s.SubmitWith(ctx, squares, ray.TaskOptions{DynamicReturns: true}, 4)
	if err != nil {
		panic(err)
	}
	items, err := s.DynamicRefs(ctx, refs[0])
	if err != nil {
		panic(err)
	}
	fmt.Println(s.GetAll(ctx, items))
	// Output: [0 1 4 9] <nil>
}

// Methods in concurrency groups do not wait for each other.
func ExampleActorOptions() {
	ctx, s := context.Background(), session()
	class, err := s.Class(ctx, ray.Function{Name: "Desk", Source: `
import ray, threading

class Desk:
    def __init__(self):
        self.bell = threading.Event()

    @ray.method(concurrency_group="front")
    def ring(self):
        self.bell.set()

    def wait(self):
        return self.bell.wait(60)
`})
	if err != nil {
		panic(err)
	}
	desk, err := s.CreateActor(ctx, class, ray.ActorOptions{ConcurrencyGroups: map[string]int{"front": 2}})
	if err != nil {
		panic(err)
	}
	defer desk.Release()
	waiting, err := desk.Submit(ctx, "wait")
	if err != nil {
		panic(err)
	}
	fmt.Println(desk.Call(ctx, "ring"))
	fmt.Println(s.Get(ctx, waiting))
	// Output:
	// <nil> <nil>
	// true <nil>
}
