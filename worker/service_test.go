package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
	"github.com/seedcore/seedcore/worker"
)

type methods = worker.Methods[*thing]

// things is a registry with class Thing, whose constructor fails with its first argument if it is a string.
func things(t *testing.T, extra methods) *worker.Registry {
	t.Helper()
	all := methods{
		"echo": func(_ *thing, _ context.Context, args worker.Args) (any, error) { return args.Value(0) },
		"fail": func(*thing, context.Context, worker.Args) (any, error) { return nil, errors.New("it failed") },
	}
	for name, m := range extra {
		all[name] = m
	}
	var r worker.Registry
	err := worker.RegisterIn(&r, "Thing", func(_ context.Context, args worker.Args) (*thing, error) {
		if args.Len() == 0 {
			return &thing{}, nil
		}
		switch v, err := args.Value(0); v {
		case "panic":
			panic("constructor panics")
		case "goexit":
			runtime.Goexit()
			return nil, nil
		default:
			return nil, errors.Join(err, fmt.Errorf("constructor fails with %v", v))
		}
	}, all)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// actor starts a worker with an actor of one slot.
func actor(t *testing.T, extra methods) *host {
	t.Helper()
	return start(t, things(t, extra), worker.DefaultLimits).serve().create(1)
}

func TestWhateverAMethodDoesIsAnException(t *testing.T) {
	h := actor(t, methods{
		"panics":   func(*thing, context.Context, worker.Args) (any, error) { return explode(), nil },
		"goexit":   func(*thing, context.Context, worker.Args) (any, error) { runtime.Goexit(); return nil, nil },
		"nilpanic": func(*thing, context.Context, worker.Args) (any, error) { panic(nil) },
		"silent":   func(*thing, context.Context, worker.Args) (any, error) { return nil, errors.New("") },
		"binary":   func(*thing, context.Context, worker.Args) (any, error) { return nil, errors.New("\xff\xfe") },
		"endless": func(*thing, context.Context, worker.Args) (any, error) {
			return nil, errors.New(strings.Repeat("long ", 1<<20))
		},
		"unsendable": func(*thing, context.Context, worker.Args) (any, error) { return func() {}, nil },
	})
	for _, test := range []struct{ method, want string }{
		{"fail", "it failed"},
		{"panics", "panic: explosion\n\ngoroutine "},
		{"panics", "worker_test.explode("},
		{"goexit", "runtime.Goexit"},
		{"nilpanic", "panic called with nil argument"},
		{"silent", "errors.errorString without a text"},
		{"binary", "?"},
		{"endless", "(cut)"},
		{"unsendable", "func() cannot be sent"},
		{"nothing", `the Go actor class Thing has no method "nothing"`},
		{"__init__", "no method"},
		{"", "no method"},
	} {
		req := h.task(test.method)
		text := h.exception(req, h.push(req))
		if !strings.Contains(text, test.want) || len(text) > 100_000 {
			t.Errorf("%s: %.1000s", test.method, text)
		}
	}
	h.call("echo", "still here")
	h.idle()
}

func TestCallsBehindOneThatEndsItsGoroutineRun(t *testing.T) {
	h := actor(t, methods{
		"goexit": func(*thing, context.Context, worker.Args) (any, error) { runtime.Goexit(); return nil, nil },
		"panics": func(*thing, context.Context, worker.Args) (any, error) { return explode(), nil },
	})
	wants := map[string]string{"echo": "", "goexit": "runtime.Goexit", "panics": "panic: explosion"}
	var requests []*corepb.PushTaskRequest
	for i := range 30 {
		requests = append(requests, h.task([]string{"echo", "goexit", "panics"}[i%3], i))
	}
	var wg sync.WaitGroup
	for _, req := range slices.Backward(requests) { // all but the last wait for their turn
		wg.Go(func() {
			method := req.GetTaskSpec().GetFunctionDescriptor().GetPythonFunctionDescriptor().GetFunctionName()
			reply, err := h.client.PushTask(h.context(), req)
			if err != nil || !strings.Contains(reply.GetTaskExecutionError(), wants[method]) || reply.GetIsApplicationError() != (wants[method] != "") {
				t.Errorf("%s: %v, %v", method, reply, err)
			}
		})
	}
	wg.Wait()
	h.idle()
}

func TestTheContextOfACallEndsWithIt(t *testing.T) {
	kept := make(chan context.Context, 1)
	h := actor(t, methods{
		"keep": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) { kept <- ctx; return nil, nil },
		"look": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
			derived, cancel := context.WithCancel(ctx)
			context.AfterFunc(derived, cancel)
			kept <- derived
			return nil, errors.Join(ctx.Err(), derived.Err())
		},
	})
	for _, method := range []string{"keep", "look"} {
		h.call(method)
		ctx := <-kept
		<-ctx.Done()
		if err := ctx.Err(); !errors.Is(err, context.Canceled) || !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("%s: %v", method, err)
		}
		if runtime := worker.FromContext(ctx); runtime == nil || runtime.Class != "Thing" {
			t.Errorf("%s: %+v", method, runtime)
		}
		after, cancel := context.WithCancel(ctx)
		if after.Err() == nil {
			t.Errorf("%s: a context of one that has ended goes on", method)
		}
		cancel()
	}
}

func explode() any { panic("explosion") }

func TestTheTransportMayReorderCalls(t *testing.T) {
	var order []any
	h := actor(t, methods{"record": func(_ *thing, _ context.Context, args worker.Args) (any, error) {
		v, err := args.Value(0)
		order = append(order, v)
		return nil, err
	}})
	const n = 50
	var requests []*corepb.PushTaskRequest
	for i := range n {
		requests = append(requests, h.task("record", i))
	}
	var wg sync.WaitGroup
	for _, req := range slices.Backward(requests) {
		wg.Go(func() {
			if _, err := h.client.PushTask(h.context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, v := range order {
		if v != int64(i) {
			t.Fatalf("ran in the order %v", order)
		}
	}
	h.refuses(requests[7], "stale sequence number")
	if len(order) != n {
		t.Errorf("%d calls ran", len(order))
	}
	group := h.task("record", "in a group")
	group.SequenceNumber, group.TaskSpec.ConcurrencyGroupName = 0, "io" // numbered on its own
	h.push(group)
}

func TestCallsForOthersAreRefused(t *testing.T) {
	h := start(t, things(t, nil), worker.DefaultLimits).serve()
	h.refuses(h.task("echo", 1), "no actor lives in this process")
	h.seq = 0
	wrongWorker := creation(t, "Thing", 1)
	wrongWorker.IntendedWorkerId = bytes.Repeat([]byte{9}, 28)
	h.refuses(wrongWorker, "mismatched WorkerID")
	h.create(1)
	h.refuses(creation(t, "Thing", 1), "has an actor already")
	for text, change := range map[string]func(*corepb.PushTaskRequest){
		"mismatched WorkerID":              func(r *corepb.PushTaskRequest) { r.IntendedWorkerId = nil },
		"mismatched ActorID":               func(r *corepb.PushTaskRequest) { r.TaskSpec.ActorTaskSpec.ActorId = bytes.Repeat([]byte{1}, 16) },
		"a task id has 24 bytes, not 3":    func(r *corepb.PushTaskRequest) { r.TaskSpec.TaskId = []byte("abc") },
		"a task id has 24 bytes, not 0":    func(r *corepb.PushTaskRequest) { r.TaskSpec = nil },
		"worker id has 0 bytes":            func(r *corepb.PushTaskRequest) { r.TaskSpec.CallerAddress = nil },
		"sequence number out of range":     func(r *corepb.PushTaskRequest) { r.SequenceNumber = -1 },
		"out of range: 0, processed up to": func(r *corepb.PushTaskRequest) { r.ClientProcessedUpTo = 100 },
	} {
		req := h.task("echo", 1)
		h.seq = 0
		change(req)
		h.refuses(req, text)
	}
	if h.call("echo", "first") != "first" { // nothing above has used a number
		t.Error("echo")
	}
	normal := h.task("f")
	normal.TaskSpec.Type, normal.TaskSpec.Name = corepb.TaskType_NORMAL_TASK, "f"
	if text := h.exception(normal, h.push(normal)); !strings.Contains(text, "not of the job or of a task") {
		t.Error(text)
	}
	h.idle()
}

func TestTooManyCallsAreTurnedAway(t *testing.T) {
	release := make(chan struct{})
	h := start(t, things(t, methods{"wait": func(*thing, context.Context, worker.Args) (any, error) { <-release; return "done", nil }}),
		worker.NewLimits(2, 1<<20, 10, 10, patience)).serve().create(1)
	results := make(chan error, 3)
	for i := range int32(3) {
		req := h.task("wait")
		go func() {
			_, err := h.client.PushTask(h.context(), req)
			results <- err
		}()
		h.eventually(func(s *corepb.CoreWorkerStats) bool {
			return int32(s.GetNumRunningTasks())+s.GetTaskQueueLength() == i+1
		})
	}
	h.eventually(func(s *corepb.CoreWorkerStats) bool {
		return s.GetNumRunningTasks() == 1 && s.GetTaskQueueLength() == 2
	})
	_, err := h.client.PushTask(h.context(), h.task("wait"))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "too many calls wait") {
		t.Error(err)
	}
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	h.call("echo", "the refused call left no hole")
}

// eventually polls the statistics of the worker.
func (h *host) eventually(condition func(*corepb.CoreWorkerStats) bool) *corepb.CoreWorkerStats {
	h.t.Helper()
	ctx := h.context()
	for {
		reply, err := h.client.GetCoreWorkerStats(ctx, &corepb.GetCoreWorkerStatsRequest{IntendedWorkerId: workerID})
		if err != nil {
			h.t.Fatalf("%v; last: %v", err, reply)
		}
		if condition(reply.GetCoreWorkerStats()) {
			return reply.GetCoreWorkerStats()
		}
	}
}

func TestConcurrentCallsOverlap(t *testing.T) {
	var inside sync.WaitGroup
	inside.Add(4)
	h := start(t, things(t, methods{"meet": func(*thing, context.Context, worker.Args) (any, error) {
		inside.Done()
		inside.Wait() // returns when four calls are here
		return nil, nil
	}}), worker.DefaultLimits).serve().create(4)
	var wg sync.WaitGroup
	for i := range 4 {
		req := h.task("meet")
		req.SequenceNumber = int64(100 - i) // numbers do not matter here
		wg.Go(func() {
			if _, err := h.client.PushTask(h.context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestACallOutlivesItsCaller(t *testing.T) {
	entered, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	h := actor(t, methods{"wait": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
		close(entered)
		<-release
		ended <- ctx.Err()
		return nil, nil
	}})
	ctx, cancel := context.WithCancel(h.context())
	req := h.task("wait")
	result := make(chan error, 1)
	go func() {
		_, err := h.client.PushTask(ctx, req)
		result <- err
	}()
	<-entered
	cancel()
	if err := <-result; status.Code(err) != codes.Canceled {
		t.Error(err)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the method's context ended with that of its caller: %v", err)
	}
	h.call("echo", "next")
}

func TestCancelTask(t *testing.T) {
	entered := make(chan struct{})
	h := actor(t, methods{"wait": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
		close(entered)
		<-ctx.Done()
		return nil, fmt.Errorf("gave up: %w", ctx.Err())
	}})
	type result struct {
		reply   *corepb.PushTaskReply
		err     error
		trailer metadata.MD
	}
	push := func(req *corepb.PushTaskRequest) <-chan result {
		done := make(chan result, 1)
		go func() {
			var r result
			r.reply, r.err = h.client.PushTask(h.context(), req, grpc.Trailer(&r.trailer))
			done <- r
		}()
		return done
	}
	cancel := func(id []byte, force bool) (running, succeeded bool) {
		reply, err := h.client.CancelTask(h.context(), &corepb.CancelTaskRequest{IntendedTaskId: id, ForceKill: force})
		if err != nil {
			t.Fatal(err)
		}
		return reply.GetRequestedTaskRunning(), reply.GetAttemptSucceeded()
	}
	running := push(h.task("wait"))
	<-entered
	queued := push(h.task("echo", "never"))
	h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetTaskQueueLength() == 1 })
	if running, ok := cancel(taskID(77), false); running || ok {
		t.Error("an unknown task was cancelled")
	}
	if running, ok := cancel(taskID(0), true); running || ok {
		t.Error("an actor cannot be killed for one task")
	}
	if running, ok := cancel(taskID(1), false); running || !ok {
		t.Error("a queued task was not cancelled")
	}
	r := <-queued
	refused(t, r.err, r.trailer, "SchedulingCancelled", "cancelled before it ran")
	if running, ok := cancel(taskID(0), false); !running || !ok {
		t.Error("a running task was not cancelled")
	}
	r = <-running
	if r.err != nil || !r.reply.GetIsApplicationError() || string(r.reply.GetReturnObjects()[0].GetMetadata()) != "5" ||
		!strings.Contains(r.reply.GetTaskExecutionError(), "gave up: context canceled") {
		t.Errorf("%v, %v", r.reply, r.err)
	}
	h.call("echo", "next")
}

func TestTheConstructorsErrorReachesTheRaylet(t *testing.T) {
	for class, test := range map[string]struct {
		arg        any
		text, more string
	}{
		"Thing":             {"nothing", "constructor fails with nothing", ""},
		"f.<locals>.Thing":  {"panic", "panic: constructor panics", "goroutine "},
		"Outer.Inner.Thing": {"goexit", "runtime.Goexit", ""},
		"Unknown":           {"x", `no Go actor class "Unknown"; it has ["Thing"]`, ""},
	} {
		h := start(t, things(t, nil), worker.DefaultLimits).serve()
		answered := make(chan error, 1)
		go func() {
			_, err := h.client.PushTask(h.context(), creation(t, class, 1, test.arg))
			answered <- err
		}()
		m, err := rayletipc.UnmarshalDisconnectClientRequest(h.receives(rayletipc.TypeDisconnectClientRequest))
		if err != nil {
			t.Fatal(err)
		}
		if m.ExitType != int32(corepb.WorkerExitType_USER_ERROR) || !strings.Contains(m.Detail, test.text) {
			t.Errorf("%+v", m)
		}
		died, formatted := rayException(t, m.CreationTaskException)
		if died.Class != (pickle.Global{Module: "ray.exceptions", Name: "ActorDiedError"}) || !strings.Contains(formatted, test.text) || !strings.Contains(formatted, test.more) {
			t.Errorf("%v of %q", died, formatted)
		}
		cause, ok := died.Args[0].(*pickle.Object)
		if !ok || cause.Class != (pickle.Global{Module: "ray.exceptions", Name: "RayTaskError"}) || !strings.Contains(fmt.Sprint(cause.Args[1]), test.text) {
			t.Errorf("cause %v", died.Args[0])
		}
		select {
		case err := <-answered:
			t.Errorf("the creation was answered (%v) before the raylet knew", err)
		default:
		}
		h.send(rayletipc.TypeDisconnectClientReply, nil)
		h.exits(1)
		h.logged("constructor failed")
		if err := <-answered; status.Code(err) != codes.Unavailable {
			t.Errorf("answered with %v", err)
		}
	}
}

func TestStatistics(t *testing.T) {
	h := start(t, things(t, nil), worker.DefaultLimits).serve()
	stats := func() *corepb.CoreWorkerStats {
		return h.eventually(func(*corepb.CoreWorkerStats) bool { return true })
	}
	if s := stats(); s.GetPid() != uint32(os.Getpid()) || !bytes.Equal(s.GetWorkerId(), workerID) || s.GetPort() != int64(h.port) ||
		s.GetIpAddress() != "127.0.0.1" || len(s.GetActorId()) != 0 {
		t.Errorf("%v", s)
	}
	h.create(1)
	h.call("echo", 1)
	if s := stats(); !bytes.Equal(s.GetActorId(), actorID) || !bytes.Equal(s.GetJobId(), jobID) || s.GetNumExecutedTasks() != 1 {
		t.Errorf("%v", s)
	}
	var trailer metadata.MD
	_, err := h.client.GetCoreWorkerStats(h.context(), &corepb.GetCoreWorkerStatsRequest{IntendedWorkerId: []byte("x")}, grpc.Trailer(&trailer))
	refused(t, err, trailer, "Invalid", "mismatched WorkerID")
	if reply, err := h.client.NumPendingTasks(h.context(), &corepb.NumPendingTasksRequest{}); err != nil || reply.GetNumPendingTasks() != 0 {
		t.Errorf("%v, %v", reply, err)
	}
	if _, err := h.client.LocalGC(h.context(), &corepb.LocalGCRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := h.client.RayletNotifyGCSRestart(h.context(), &corepb.RayletNotifyGCSRestartRequest{}); err != nil {
		t.Error(err)
	}
	h.idle()
}
