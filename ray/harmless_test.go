package ray_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// oddArguments are what no actor is made for.
func oddArguments() [][]any {
	deep := any("bottom")
	for range 150 {
		deep = []any{deep}
	}
	return [][]any{
		nil,
		{nil},
		{1, 2, 3},
		{"\xff\xfe"},
		{math.NaN()},
		{math.Inf(-1)},
		{deep},
		{[]byte{}},
		{""},
		{map[string]any{"": nil}},
		{uint64(math.MaxUint64)},
		{make([]any, 5000)},
		{make([]byte, 1<<20)},
		{"__RAY_DUMMY__"},
		{[]byte("__RAY_DUMMY__"), "needed", 1},
	}
}

// No call that can be made ends the process of an actor of any kind, or a raylet, whatever nonsense it carries.
func TestNothingThatCanBeCalledKillsAnActor(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	nodes, err := x.gcs.Nodes(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]ray.ActorOptions{
		"Odd":      {Name: "odd", MaxConcurrency: 1},
		"AsyncOdd": {Name: "async", MaxConcurrency: 10},
		"Counter":  {Name: "threads", MaxConcurrency: 3},
		"Grouped":  {Name: "groups", ConcurrencyGroups: map[string]int{"io": 2}},
	}
	for class, opts := range kinds {
		opts.Namespace, opts.NumCPUs = x.namespace, 0.1
		handle, err := x.session.CreateActor(deadline(t), pythonClass(t, x.session, class), opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := x.session.Kill(ctx, handle, true); err != nil {
				t.Error(err)
			}
		})
	}
	odd := []string{
		"", "nope", "__init__", "__ray_terminate__", "__ray_call__", "__class__", "incr\x00", "seedtest.Counter.incr", "Counter.incr",
		"\xff", strings.Repeat("m", 100_000), "__ray_ready__",
	}
	methods := map[string][]string{
		"counter": {"get", "incr", "echo"},
		"threads": {"get", "incr", "value"},
		"odd":     {"echo", "none", "generator", "pair", "nothing", "ref", "refs", "handle", "large", "large_error", "lock", "locked_error", "keywords", "child"},
		"groups":  {"quick", "hold"},
		"async":   {"echo", "generator", "refs", "large", "fails", "plain"},
	}
	pids := map[string]int{}
	var callers sync.WaitGroup
	for name, own := range methods {
		if _, err := x.call(deadline(t), name, "__ray_ready__"); err != nil {
			t.Fatal(err)
		}
		pids[name] = x.pid(t, name)
		callers.Go(func() {
			for _, method := range append(own, odd...) {
				for _, args := range oddArguments() {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					_, err := x.call(ctx, name, method, args...)
					cancel()
					if errors.Is(err, ray.ErrActorUnavailable) || errors.Is(err, ray.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("%s.%.40q with %.40v: %v", name, method, args, err)
					}
				}
				for i, args := range oddArguments() { // given up, at different moments
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond/2)
					_, err := x.call(ctx, name, method, args...)
					cancel()
					if errors.Is(err, ray.ErrActorUnavailable) || errors.Is(err, ray.ErrUnreachable) {
						t.Errorf("%s.%.40q with %.40v, given up: %v", name, method, args, err)
					}
				}
				for _, args := range oddArguments()[:3] { // as streams, left after the first item or read to their end
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					for _, err := range x.direct.Stream(ctx, x.namespace, name, method, args...) {
						if errors.Is(err, ray.ErrActorUnavailable) || errors.Is(err, ray.ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("a stream of %s.%.40q with %.40v: %v", name, method, args, err)
						}
						if len(args) == 1 {
							break
						}
					}
					cancel()
				}
			}
		})
	}
	callers.Wait()
	for _, name := range []string{"", "\x00", "\xff\xfe", strings.Repeat("n", 1<<20)} {
		wantSentNo(t, second(x.call(deadline(t), name, "get")))
		wantSentNo(t, second(x.direct.Call(deadline(t), name, "counter", "get")))
	}
	for name, pid := range pids {
		if now := x.pid(t, name); now != pid {
			t.Errorf("the process of %s was %d and is %d", name, pid, now)
		}
		if _, err := x.call(deadline(t), name, "__ray_ready__"); err != nil {
			t.Error(err)
		}
	}
	if now, err := x.gcs.Nodes(deadline(t)); err != nil || fmt.Sprint(now) != fmt.Sprint(nodes) {
		t.Errorf("the nodes were %v and are %v, %v", nodes, now, err)
	}
}

func wantSentNo(t *testing.T, err error) {
	t.Helper()
	if err == nil || ray.SentOf(err) != ray.SentNo {
		t.Errorf("got %v (sent %v), want an error with sent no", err, ray.SentOf(err))
	}
}

// watchingWorker checks what reaches it.
type watchingWorker struct {
	corepb.UnimplementedCoreWorkerServiceServer
	actor, worker []byte
	class         string
	methods       map[string]bool

	mu       sync.Mutex // guards the fields below
	requests int
	next     map[string]int64 // of each caller
	tasks    map[string]bool
	problems []string
	arrived  chan struct{} // of a call that waits to be cancelled
	cancel   chan struct{} // closed when it is
	waits    *corepb.TaskSpec
}

// PushTask looks for everything that ends the process of a Python actor on Ray 2.60.
func (w *watchingWorker) PushTask(_ context.Context, req *corepb.PushTaskRequest) (*corepb.PushTaskReply, error) {
	if req.GetTaskSpec().GetFunctionDescriptor().GetPythonFunctionDescriptor().GetFunctionName() == "sleep" {
		defer func() { <-w.cancel }()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests++
	spec := req.GetTaskSpec()
	function := spec.GetFunctionDescriptor().GetPythonFunctionDescriptor()
	caller := string(spec.GetCallerAddress().GetWorkerId())
	complete := true
	for _, arg := range spec.GetArgs() {
		complete = complete && (len(arg.GetData()) > 0 || len(arg.GetMetadata()) > 0)
	}
	for problem, found := range map[string]bool{
		"another worker":           !bytes.Equal(req.GetIntendedWorkerId(), w.worker),
		"length of a task id":      len(spec.GetTaskId()) != 24 || !bytes.HasSuffix(spec.GetTaskId(), w.actor),
		"a task id twice":          w.tasks[derivedFrom(spec)],
		"length of a caller's id":  len(caller) != 28,
		"another actor":            !bytes.Equal(spec.GetActorTaskSpec().GetActorId(), w.actor),
		"another job":              !bytes.Equal(spec.GetJobId(), w.actor[12:]),
		"back-pressure":            !spec.GetStreamingGenerator() && spec.GetGeneratorBackpressureNumObjects() != -1,
		"a stream without end":     spec.GetStreamingGenerator() && spec.GetGeneratorBackpressureNumObjects() <= 0,
		"half of a stream":         spec.GetReturnsDynamic() != spec.GetStreamingGenerator() || spec.GetStreamingGenerator() && spec.GetNumObjectsPerYield() != 1,
		"a stream to nowhere":      spec.GetStreamingGenerator() && (spec.GetCallerAddress().GetPort() < 2 || spec.GetCallerAddress().GetIpAddress() == ""),
		"a number out of order":    req.GetSequenceNumber() != w.next[caller] || uint64(w.next[caller]) != spec.GetActorTaskSpec().GetConcurrencyGroupSequenceNumber(),
		"numbers that are done":    req.GetClientProcessedUpTo() != -1,
		"another type":             spec.GetType() != corepb.TaskType_ACTOR_TASK,
		"a concurrency group":      spec.GetConcurrencyGroupName() != "",
		"an incomplete argument":   !complete,
		"an odd argument":          len(spec.GetArgs())%2 != 0,
		"another method":           !w.methods[function.GetFunctionName()],
		"another class":            function.GetClassName() != w.class || function.GetModuleName() != "seedtest",
		"a hash":                   function.GetFunctionHash() != "",
		"another number of values": spec.GetNumReturns() != 1,
		"another attempt":          spec.GetAttemptNumber() != 0,
	} {
		if found {
			w.problems = append(w.problems, fmt.Sprintf("%s: %.300v", problem, req))
		}
	}
	w.next[caller]++
	w.tasks[derivedFrom(spec)] = true
	if function.GetFunctionName() == "sleep" {
		w.waits = spec
		close(w.arrived)
	}
	return &corepb.PushTaskReply{ReturnObjects: []*corepb.ReturnObject{{Metadata: []byte("RAW")}}}, nil
}

// CancelTask looks for what ends the process there.
func (w *watchingWorker) CancelTask(_ context.Context, req *corepb.CancelTaskRequest) (*corepb.CancelTaskReply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !bytes.Equal(req.GetIntendedTaskId(), w.waits.GetTaskId()) || !bytes.Equal(req.GetCallerWorkerId(), w.waits.GetCallerAddress().GetWorkerId()) || req.GetForceKill() {
		w.problems = append(w.problems, fmt.Sprintf("cancels something else, or by force: %v of %v", req, w.waits))
	}
	close(w.cancel)
	return &corepb.CancelTaskReply{AttemptSucceeded: true}, nil
}

// derivedFrom is the part of a task's id that makes the ids of its objects: all but the first byte.
func derivedFrom(spec *corepb.TaskSpec) string {
	return string(spec.GetTaskId()[min(1, len(spec.GetTaskId())):])
}

// Whatever is asked for, and whatever the GCS answers: nothing leaves that would be fatal where it arrives.
func TestRequestsAreHarmless(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	watching := &watchingWorker{class: "Counter", methods: map[string]bool{}, next: map[string]int64{}, tasks: map[string]bool{}, arrived: make(chan struct{}), cancel: make(chan struct{})}
	for _, method := range []string{"incr", "get", "sleep", "boom", "pid", "__ray_ready__"} {
		watching.methods[method] = true
	}
	server := grpc.NewServer()
	corepb.RegisterCoreWorkerServiceServer(server, watching)
	address := serve(t, server)
	toWorker := ray.DirectOptions{AddressMap: func(string) string { return address }}
	relay := &gcsRelay{change: func(data *corepb.ActorTableData) {
		watching.actor, watching.worker = data.GetActorId(), data.GetAddress().GetWorkerId()
	}}
	y := x.over(t, relayed(t, relay), toWorker, ray.DirectBounds{})
	for _, method := range []string{"incr", "get", "boom", "__ray_ready__", "nope", "", "__init__", "__ray_terminate__", "__ray_call__", "counter.incr", "\xff"} {
		for _, args := range oddArguments() {
			_, err := y.call(deadline(t), "counter", method, args...)
			if err != nil && ray.SentOf(err) != ray.SentNo {
				t.Error(err)
			}
			if _, err := collect(y.stream(deadline(t), "counter", method, args...)); err != nil && ray.SentOf(err) != ray.SentNo {
				t.Error(err)
			}
		}
	}
	ctx, giveUp := context.WithCancel(deadline(t))
	go func() { <-watching.arrived; giveUp() }()
	wantSent(t, second(y.call(ctx, "counter", "sleep", 1)), context.Canceled, ray.SentMaybe)
	<-watching.cancel
	if watching.requests == 0 || len(watching.problems) > 0 {
		t.Errorf("%d requests, and these problems: %s", watching.requests, strings.Join(watching.problems, "\n"))
	}

	arrived := watching.requests
	for name, change := range map[string]func(*corepb.ActorTableData){
		"a short actor id": func(data *corepb.ActorTableData) { data.ActorId = data.ActorId[:15] },
		"no actor id":      func(data *corepb.ActorTableData) { data.ActorId = nil },
		"a long worker id": func(data *corepb.ActorTableData) { data.Address.WorkerId = make([]byte, 29) },
		"no address":       func(data *corepb.ActorTableData) { data.Address = nil },
		"no port":          func(data *corepb.ActorTableData) { data.Address.Port = 0 },
		"an unknown class": func(data *corepb.ActorTableData) { data.FunctionDescriptor = nil },
		"a dead actor":     func(data *corepb.ActorTableData) { data.State = corepb.ActorTableData_DEAD },
		"a class elsewhere": func(data *corepb.ActorTableData) {
			data.FunctionDescriptor.GetPythonFunctionDescriptor().ModuleName = "other"
		},
	} {
		z := x.over(t, relayed(t, &gcsRelay{change: change}), toWorker, ray.DirectBounds{})
		if err := second(z.call(deadline(t), "counter", "get")); err == nil || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v", name, err)
		}
	}
	if watching.requests != arrived {
		t.Errorf("%d requests were sent to an actor that the GCS does not describe", watching.requests-arrived)
	}
}
