package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
	"github.com/seedcore/seedcore/worker"
)

// A method that returns an Async lets the next call start, and stays one that can be cancelled.
func TestAResultMayComeLater(t *testing.T) {
	release := make(chan struct{})
	h := actor(t, methods{
		"later": func(*thing, context.Context, worker.Args) (any, error) {
			return worker.Async(func(ctx context.Context) (any, error) {
				select {
				case <-release:
					return "late", nil
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}), nil
		},
		"nested": func(*thing, context.Context, worker.Args) (any, error) {
			return worker.Async(func(context.Context) (any, error) {
				return worker.Async(func(context.Context) (any, error) { return nil, errors.New("in the end") }), nil
			}), nil
		},
	})
	first, second := h.task("later"), h.task("later")
	one, two := h.async(first), h.async(second)
	h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetNumRunningTasks() == 2 })
	h.call("echo", "the actor has one slot, and it is free")
	if reply, err := h.client.CancelTask(h.context(), &corepb.CancelTaskRequest{IntendedTaskId: second.TaskSpec.TaskId}); err != nil || !reply.GetAttemptSucceeded() {
		t.Errorf("%v, %v", reply, err)
	}
	if r := <-two; r.err != nil || string(r.reply.GetReturnObjects()[0].GetMetadata()) != "5" {
		t.Errorf("%v, %v", r.reply, r.err)
	}
	close(release)
	r := <-one
	if r.err != nil || h.values(first, r.reply)[0] != "late" {
		t.Errorf("%v, %v", r.reply, r.err)
	}
	req := h.task("nested")
	if text := h.exception(req, h.push(req)); text != "in the end" {
		t.Error(text)
	}
	h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetNumRunningTasks() == 0 })
}

func TestLateResultsAreBounded(t *testing.T) {
	release := make(chan struct{})
	h := start(t, things(t, methods{"later": func(*thing, context.Context, worker.Args) (any, error) {
		return worker.Async(func(context.Context) (any, error) { <-release; return nil, nil }), nil
	}}), worker.NewLimits(1, 1<<20, 10, 10, patience)).serve().create(1)
	one := h.async(h.task("later"))
	h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetNumRunningTasks() == 1 })
	h.call("echo", "the first one is detached")
	req := h.task("later")
	if text := h.exception(req, h.push(req)); !strings.Contains(text, "too many results of this actor are outstanding: 1") {
		t.Error(text)
	}
	close(release)
	if r := <-one; r.err != nil {
		t.Error(r.err)
	}
}

// withGroup adds a concurrency group to a creation, as drivers send it.
func withGroup(req *corepb.PushTaskRequest, name string, slots uint64, methods ...string) *corepb.PushTaskRequest {
	group := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), name)
	group = protowire.AppendVarint(protowire.AppendTag(group, 2, protowire.VarintType), slots)
	for _, m := range methods {
		f, err := proto.Marshal(descriptor("Thing", m))
		if err != nil {
			panic(err)
		}
		group = protowire.AppendBytes(protowire.AppendTag(group, 3, protowire.BytesType), f)
	}
	m := req.GetTaskSpec().GetActorCreationTaskSpec().ProtoReflect()
	m.SetUnknown(protowire.AppendBytes(protowire.AppendTag(m.GetUnknown(), 12, protowire.BytesType), group))
	return req
}

func TestConcurrencyGroupsDoNotWaitForEachOther(t *testing.T) {
	release := make(chan struct{})
	wait := func(_ *thing, _ context.Context, args worker.Args) (any, error) { <-release; return args.Value(0) }
	h := start(t, things(t, methods{"wait": wait, "read": wait}), worker.DefaultLimits).serve()
	reply, err := h.client.PushTask(h.context(), withGroup(creation(t, "Thing", 1), "io", 2, "read"))
	if err != nil || proto.Size(reply) != 0 {
		t.Fatal(reply, err)
	}
	h.receives(rayletipc.TypeActorCreationTaskDone)
	running := func(n int64, waiting int32) {
		t.Helper()
		h.eventually(func(s *corepb.CoreWorkerStats) bool {
			return s.GetNumRunningTasks() == n && s.GetTaskQueueLength() == waiting
		})
	}
	ioSeq := int64(0)
	inGroup := func(method, group string) *corepb.PushTaskRequest {
		req := h.task(method, "x")
		h.seq--
		req.SequenceNumber, req.TaskSpec.ConcurrencyGroupName = ioSeq, group
		req.TaskSpec.TaskId = taskID(1000 + ioSeq)
		ioSeq++
		return req
	}
	var results []<-chan outcome
	results = append(results, h.async(h.task("wait", "x")))
	running(1, 0)
	results = append(results, h.async(h.task("wait", "x")), h.async(h.task("read", "x"))) // the group of the method
	running(2, 1)
	results = append(results, h.async(inGroup("wait", "io"))) // the group that the caller names
	running(3, 1)
	results = append(results, h.async(inGroup("wait", "io")))
	running(3, 2)
	req := h.task("echo", 1)
	h.seq--
	req.SequenceNumber, req.TaskSpec.ConcurrencyGroupName = 0, "none"
	if text := h.exception(req, h.push(req)); !strings.Contains(text, `no such concurrency group: "none"; the actor has ["io"]`) {
		t.Error(text)
	}
	close(release)
	for _, r := range results {
		if got := <-r; got.err != nil {
			t.Error(got.err)
		}
	}
}

// Before Ray 2.60 all groups of a caller share one sequence.
func TestTheOldLayout(t *testing.T) {
	h := startAs(t, things(t, nil), worker.DefaultLimits, &worker.Launch{Old: true, StartupToken: 77}).serve()
	if r := h.request; !r.HasStartupToken || r.StartupToken != 77 || r.RuntimeEnvHash != -7 || r.IP != "127.0.0.1" {
		t.Errorf("%+v", r)
	}
	spec := &corepb.ActorCreationTaskSpec{}
	var raw []byte
	for number, text := range map[protowire.Number]string{2: string(actorID), 8: "thing", 9: "tests"} {
		raw = protowire.AppendString(protowire.AppendTag(raw, number, protowire.BytesType), text)
	}
	raw = protowire.AppendVarint(protowire.AppendTag(raw, 6, protowire.VarintType), 3)
	raw = protowire.AppendVarint(protowire.AppendTag(raw, 7, protowire.VarintType), 1) // is_detached
	raw = protowire.AppendVarint(protowire.AppendTag(raw, 14, protowire.VarintType), 0)
	raw = protowire.AppendString(protowire.AppendTag(raw, 5, protowire.BytesType), "dynamic worker option")
	if err := proto.Unmarshal(raw, spec); err != nil {
		t.Fatal(err)
	}
	req := creation(t, "Thing", 1)
	req.TaskSpec.ActorCreationTaskSpec = spec
	if _, err := h.client.PushTask(h.context(), req); err != nil {
		t.Fatal(err)
	}
	h.receives(rayletipc.TypeActorCreationTaskDone)
	h.call("echo", 1)
	group := h.task("echo", "in a group")
	group.TaskSpec.ConcurrencyGroupName = "none"
	h.exception(group, h.push(group))
	h.call("echo", "next in the same sequence")
	stream := h.task("echo", "one by one")
	stream.TaskSpec.StreamingGenerator = true
	if text := h.exception(stream, h.push(stream)); !strings.Contains(text, worker.ErrStreamsUntested.Error()) {
		t.Error(text)
	}
	for _, text := range []string{"name=thing", "namespace=tests", "max_concurrency=3"} {
		h.logged(text)
	}
}

// What this binary does not know of the cluster's Ray is the actor's death cause.
func TestAnUntestedVersionIsTheDeathCause(t *testing.T) {
	h := startAs(t, things(t, nil), worker.DefaultLimits, &worker.Launch{Refusal: errors.New("tested on others")}).serve()
	go func() { _, _ = h.client.PushTask(h.context(), creation(t, "Thing", 1)) }()
	if m := h.goodbye(); m.ExitType != int32(corepb.WorkerExitType_USER_ERROR) || !strings.Contains(m.Detail, "tested on others") || m.CreationTaskException == nil {
		t.Errorf("%+v", m)
	}
	h.exits(1)
}

// exiting has an OnExit that tells when it runs.
type exiting struct {
	told chan string
	hang bool
}

func (e *exiting) Hold(ctx context.Context) string {
	<-ctx.Done()
	e.told <- "method over"
	return "let go"
}

func (e *exiting) OnExit(ctx context.Context) {
	r := worker.FromContext(ctx)
	if _, bounded := ctx.Deadline(); r == nil || r.ActorName != "thing" || !bounded {
		e.told <- "wrong context"
		return
	}
	if e.hang {
		<-ctx.Done()
	}
	e.told <- "told"
}

func TestOnExitRunsAfterTheMethods(t *testing.T) {
	for _, hang := range []bool{false, true} {
		e := &exiting{told: make(chan string, 2), hang: hang}
		var r worker.Registry
		if err := worker.RegisterIn(&r, "Exiting", func() *exiting { return e }); err != nil {
			t.Fatal(err)
		}
		h := start(t, &r, worker.DefaultLimits).serve()
		if _, err := h.client.PushTask(h.context(), creation(t, "Exiting", 1)); err != nil {
			t.Fatal(err)
		}
		h.receives(rayletipc.TypeActorCreationTaskDone)
		held := h.async(h.task("hold"))
		h.eventually(func(s *corepb.CoreWorkerStats) bool { return s.GetNumRunningTasks() == 1 })
		h.sigterm()
		h.goodbye()
		h.exits(0)
		if r := <-held; r.err != nil {
			t.Error(r.err)
		}
		if first, second := <-e.told, <-e.told; first != "method over" || second != "told" {
			t.Errorf("%s, then %s", first, second)
		}
	}
}
