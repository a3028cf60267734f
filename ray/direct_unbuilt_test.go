package ray_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// Ray reports an actor whose constructor raised as ALIVE for a moment. A call of that moment is told why the actor died, and
// that it did not run; not where anything else may have happened.
func testAnActorThatWasNeverBuilt(t *testing.T, x directSetup) {
	if raytest.RayBefore(t, "2.54") {
		return // a dead actor loses its name at once, so that the moment cannot be staged; TestADirectCallIsToldWhyItsActorDied meets real ones
	}
	ways := map[string]func(context.Context, directSetup) error{
		"call": func(ctx context.Context, x directSetup) error { return second(x.call(ctx, "unbuilt", "value")) },
	}
	if !raytest.RayBefore(t, "2.60") { // others have no streams
		ways["stream"] = func(ctx context.Context, x directSetup) error {
			return second(collect(x.stream(ctx, "unbuilt", "value")))
		}
	}
	ctx := deadline(t)
	actor, err := x.session.CreateActor(ctx, pythonClass(t, x.session, "Broken"), ray.ActorOptions{Name: "unbuilt", Namespace: x.namespace, NumCPUs: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release() // its name stays its own until then
	waitFor(t, "the actor is dead", func() bool {
		info, err := x.gcs.ActorByID(ctx, actor.ID())
		return err == nil && info.State == ray.ActorDead
	})
	ends := status.Error(codes.Unavailable, "Cancelling all calls")
	for name, c := range map[string]struct {
		answer   error                        // of its worker; nil: the worker does not even greet
		alive    int64                        // how many answers of the GCS say that it lives
		nameless bool                         // after that, it has its name no more
		change   func(*corepb.ActorTableData) // of the answers after that
		built    bool                         // as far as is known
	}{
		"the server ends":              {answer: ends, alive: 1},
		"the server ends, unhandled":   {answer: status.Error(codes.Canceled, "CANCELLED"), alive: 1},
		"the GCS takes a moment":       {answer: ends, alive: 4},
		"the worker refuses":           {answer: status.Error(codes.Aborted, "Invalid"), alive: 1},
		"its name is free":             {answer: status.Error(codes.Aborted, "Invalid"), alive: 1, nameless: true},
		"the worker is silent":         {alive: 1},
		"other words":                  {answer: status.Error(codes.Unavailable, "Socket closed"), alive: 1, built: true},
		"the GCS learns of nothing":    {answer: ends, alive: 1 << 30, built: true},
		"another death":                {answer: ends, alive: 1, built: true, change: func(data *corepb.ActorTableData) { data.DeathCause = nil }},
		"the death of another process": {answer: ends, alive: 1, built: true, change: func(data *corepb.ActorTableData) { data.NumRestarts++ }},
	} {
		t.Run(name, func(t *testing.T) {
			var answers atomic.Int64
			gcs := relayed(t, &gcsRelay{ask: func(_ context.Context, req *corepb.GetNamedActorInfoRequest) {
				if c.nameless && answers.Load() >= c.alive {
					req.Name = "nobody"
				}
			}, change: func(data *corepb.ActorTableData) {
				if answers.Add(1) <= c.alive {
					data.State, data.DeathCause = corepb.ActorTableData_ALIVE, nil
				} else if c.change != nil {
					c.change(data)
				}
			}})
			for how, call := range ways {
				server := grpc.NewServer()
				corepb.RegisterCoreWorkerServiceServer(server, &refusingWorker{err: c.answer})
				address := serve(t, server)
				if c.answer == nil {
					proxy := faultproxy.New(t, address)
					proxy.Stall()
					address = proxy.Address()
				}
				bounds := ray.DirectBounds{Burial: 500 * time.Millisecond, Dial: 500 * time.Millisecond}
				x := x.over(t, gcs, ray.DirectOptions{AddressMap: func(string) string { return address }}, bounds)
				answers.Store(0)
				err := call(ctx, x)
				if c.built {
					wantSent(t, err, ray.ErrActorUnavailable, ray.SentMaybe)
					continue
				}
				wantSent(t, err, ray.ErrActorDied, ray.SentNo)
				died, ok := errors.AsType[*ray.ActorDiedError](err)
				if !ok || !died.InitFailed || died.ActorID != actor.ID() {
					t.Errorf("%s: %+v", how, died)
				} else if cause, ok := errors.AsType[*ray.TaskError](died.Cause); !ok || cause.Message != "cannot be built" {
					t.Errorf("%s: its cause: %v", how, died.Cause)
				}
			}
		})
	}
}
