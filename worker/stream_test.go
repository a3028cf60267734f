package worker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/xlang"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// receiver is the owner of a stream, as a caller on Ray 2.60 or an older one is.
type receiver struct {
	corepb.UnimplementedCoreWorkerServiceServer
	limit   int64 // how many items it answers at once; further answers wait, as those of older versions do
	address *corepb.Address

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond
	items   map[int64]*corepb.ReportGeneratorItemReturnsRequest
	taken   int64
	refusal codes.Code // of all further items
}

func receive(t *testing.T, limit int64) *receiver {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{limit: limit, items: map[int64]*corepb.ReportGeneratorItemReturnsRequest{}}
	r.changed = sync.NewCond(&r.mu)
	r.address = &corepb.Address{WorkerId: caller.GetWorkerId(), IpAddress: "127.0.0.1", Port: int32(listener.Addr().(*net.TCPAddr).Port)}
	server := grpc.NewServer()
	corepb.RegisterCoreWorkerServiceServer(server, r)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return r
}

func (r *receiver) ReportGeneratorItemReturns(_ context.Context, req *corepb.ReportGeneratorItemReturnsRequest) (*corepb.ReportGeneratorItemReturnsReply, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != codes.OK {
		return nil, status.Error(r.refusal, "nobody wants it")
	}
	r.items[req.GetItemIndex()] = req
	r.changed.Broadcast()
	for r.limit > 0 && req.GetItemIndex()-r.taken >= r.limit-1 {
		r.changed.Wait()
	}
	return &corepb.ReportGeneratorItemReturnsReply{TotalNumObjectConsumed: r.taken}, nil
}

// take waits for the next item.
func (r *receiver) take() *corepb.ReportGeneratorItemReturnsRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.items[r.taken] == nil {
		r.changed.Wait()
	}
	r.taken++
	r.changed.Broadcast()
	return r.items[r.taken-1]
}

// streaming is a request of r for a stream.
func (h *host) streaming(r *receiver, limit int64, method string, args ...any) *corepb.PushTaskRequest {
	req := h.task(method, args...)
	spec := req.GetTaskSpec()
	spec.ReturnsDynamic, spec.StreamingGenerator, spec.CallerAddress, spec.GeneratorBackpressureNumObjects = true, true, r.address, limit
	return req
}

func (h *host) itemOf(req *corepb.PushTaskRequest, report *corepb.ReportGeneratorItemReturnsRequest) any {
	h.t.Helper()
	spec := req.GetTaskSpec()
	object := report.GetReturnedObjects()[0]
	id := binary.LittleEndian.AppendUint32(bytes.Clone(spec.GetTaskId()), uint32(report.GetItemIndex()+2))
	generator := binary.LittleEndian.AppendUint32(bytes.Clone(spec.GetTaskId()), 1)
	if !bytes.Equal(object.GetObjectId(), id) || !bytes.Equal(report.GetGeneratorId(), generator) ||
		len(report.GetWorkerAddr().GetNodeId()) == 0 || !bytes.Equal(report.GetWorkerAddr().GetWorkerId(), workerID) {
		h.t.Errorf("a report that would end a driver: %v", report)
	}
	v, err := xlang.Decode(object.GetData(), object.GetMetadata())
	if err != nil {
		h.t.Errorf("%v of %v", err, object)
	}
	return v
}

func numbers(n int64, end error) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if end != nil {
			yield(0, end)
		}
	}
}

func TestAMethodStreams(t *testing.T) {
	stopped := make(chan error, 1)
	h := actor(t, methods{
		"values": worker.Takes1(func(_ *thing, _ context.Context, n int64) (iter.Seq[any], error) {
			return func(yield func(any) bool) {
				for i := range n {
					if !yield(i) {
						return
					}
				}
			}, nil
		}),
		"numbers": worker.Takes1(func(_ *thing, _ context.Context, n int64) (iter.Seq2[int64, error], error) {
			return numbers(n, nil), nil
		}),
		"fails": worker.Takes1(func(_ *thing, _ context.Context, n int64) (iter.Seq2[int64, error], error) {
			return numbers(n, errors.New("in the middle")), nil
		}),
		"panics": worker.Takes0(func(*thing, context.Context) (iter.Seq[string], error) {
			return func(yield func(string) bool) { yield("first"); panic("in the middle") }, nil
		}),
		"unsendable": worker.Takes0(func(*thing, context.Context) (iter.Seq[any], error) {
			return func(yield func(any) bool) { _ = yield(1) && yield(func() {}) }, nil
		}),
		"later": worker.Takes0(func(*thing, context.Context) (worker.Async, error) {
			return func(context.Context) (any, error) { return numbers(2, nil), nil }, nil
		}),
		"endless": worker.Takes0(func(_ *thing, ctx context.Context) (iter.Seq[int], error) {
			return func(yield func(int) bool) {
				i := 0
				for yield(i) {
					i++
				}
				stopped <- ctx.Err()
			}, nil
		}),
	})
	for _, test := range []struct {
		method string
		args   []any
		items  int64
		text   string // of the error that ends it
		inside bool   // and comes as the last item
	}{
		{"values", []any{300}, 300, "", false},
		{"numbers", []any{300}, 300, "", false},
		{"numbers", []any{0}, 0, "", false},
		{"later", nil, 2, "", false},
		{"fails", []any{3}, 4, "in the middle", true},
		{"fails", []any{0}, 0, "in the middle", false},
		{"panics", nil, 2, "panic: in the middle\n\ngoroutine ", true},
		{"unsendable", nil, 2, "a result of type func() cannot be sent to the caller", true},
		{"numbers", []any{"text"}, 0, "argument 0", false},
		{"echo", []any{1}, 0, "the method does not stream its results: echo returned a int64", false},
		{"nope", nil, 0, `no method "nope"`, false},
	} {
		for _, limit := range []int64{-1, 2} {
			r := receive(t, limit)
			req := h.streaming(r, limit, test.method, test.args...)
			answered := make(chan *corepb.PushTaskReply, 1)
			go func() { answered <- h.push(req) }()
			values := test.items
			if test.inside {
				values--
			}
			for i := range values {
				if v := h.itemOf(req, r.take()); v != i && test.method != "panics" && test.method != "unsendable" {
					t.Errorf("%s: item %d is %v", test.method, i, v)
				}
			}
			var last *corepb.ReturnObject
			if test.inside {
				last = r.take().GetReturnedObjects()[0]
			}
			reply := <-answered
			if int64(len(reply.GetStreamingGeneratorReturnIds())) != test.items || reply.GetIsApplicationError() != (test.text != "") ||
				!strings.Contains(reply.GetTaskExecutionError(), test.text) {
				t.Errorf("%s: %d items, %.300v", test.method, len(reply.GetStreamingGeneratorReturnIds()), reply.GetTaskExecutionError())
			}
			own := reply.GetReturnObjects()[0]
			if test.text != "" && !test.inside {
				own, last = last, own
			}
			if (string(last.GetMetadata()) == "3") != (test.text != "") || string(own.GetMetadata()) == "3" {
				t.Errorf("%s: the error is not where it belongs", test.method)
			}
		}
	}
	as := h.task("numbers", 3)
	if text := h.exception(as, h.push(as)); !strings.Contains(text, worker.ErrStreaming.Error()) {
		t.Error(text)
	}
	h.streamsStop(stopped)
}

// streamsStop lets an endless stream be held back, and end in each way in which one does.
func (h *host) streamsStop(stopped <-chan error) {
	t := h.t
	r := receive(t, -1)
	req := h.streaming(r, 4, "endless")
	answered := make(chan *corepb.PushTaskReply, 2)
	go func() { answered <- h.push(req) }()
	for range 4 {
		r.take()
	}
	// Answered at once, as callers on Ray 2.60 do; they tell apart from that what was taken.
	generator := binary.LittleEndian.AppendUint32(bytes.Clone(req.GetTaskSpec().GetTaskId()), 1)
	update := &corepb.UpdateGeneratorBackpressureConsumedRequest{GeneratorId: generator, TotalNumObjectConsumed: 50}
	if _, err := h.client.UpdateGeneratorBackpressureConsumed(h.context(), update); err != nil {
		t.Fatal(err)
	}
	for range 46 {
		r.take()
	}
	if reply, err := h.client.CancelTask(h.context(), &corepb.CancelTaskRequest{IntendedTaskId: req.GetTaskSpec().GetTaskId()}); err != nil || !reply.GetAttemptSucceeded() {
		t.Errorf("%v, %v", reply, err)
	}
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	reply := <-answered
	if n := int64(len(reply.GetStreamingGeneratorReturnIds())); n < 50 || n > 54 || string(reply.GetReturnObjects()[0].GetMetadata()) != "5" {
		t.Errorf("%d items; %.200v", n, reply.GetTaskExecutionError())
	}

	for _, limit := range []int64{-1, 4} {
		for code, text := range map[codes.Code]string{codes.NotFound: "", codes.Aborted: "", codes.InvalidArgument: "takes no more items"} {
			unwilling := receive(t, -1)
			answered := make(chan *corepb.PushTaskReply, 1)
			go func() { answered <- h.push(h.streaming(unwilling, limit, "endless")) }()
			unwilling.mu.Lock()
			for len(unwilling.items) < 4 { // none is taken
				unwilling.changed.Wait()
			}
			unwilling.refusal = code // of items that come, or of the one that a stream offers again which is held back
			unwilling.mu.Unlock()
			if err := <-stopped; err != nil {
				t.Errorf("a caller that takes no more ended the context of the call: %v", err)
			}
			if got := (<-answered).GetTaskExecutionError(); (got != "") != (text != "") || !strings.Contains(got, text) {
				t.Errorf("%v, held back at %d: %q", code, limit, got)
			}
		}
	}

	idle := receive(t, -1)
	ctx, leave := context.WithCancel(h.context())
	held := h.streaming(idle, 4, "endless")
	go func() { _, _ = h.client.PushTask(ctx, held) }()
	for range 4 {
		idle.take()
	}
	leave() // while the method is held back
	if err := <-stopped; err != nil {
		t.Errorf("a caller that is gone ended the context of the call: %v", err)
	}
	if text := h.exception(req, h.push(h.streaming(r, 0, "endless"))); !strings.Contains(text, "generator_backpressure_num_objects") {
		t.Error(text)
	}
}

func TestAStreamIsRegistered(t *testing.T) {
	type streamer struct{ *thing }
	for _, test := range []struct {
		construct any
		options   worker.Option
	}{
		{func() *goodStreams { return nil }, nil},
		{func() streamer { return streamer{} }, worker.Methods[streamer]{"s": func(streamer, context.Context, worker.Args) (any, error) { return nil, nil }}},
	} {
		var r worker.Registry
		var options []worker.Option
		if test.options != nil {
			options = append(options, test.options)
		}
		if err := worker.RegisterIn(&r, "S", test.construct, options...); err != nil {
			t.Error(err)
		}
	}
	var r worker.Registry
	if err := worker.RegisterIn(&r, "S", func() *badStreams { return nil }); err == nil || !strings.Contains(err.Error(), "chan int cannot travel") {
		t.Error(err)
	}
	if err := worker.RegisterIn(&r, "S", func() *manyStreams { return nil }); err == nil || !strings.Contains(err.Error(), "only one") {
		t.Error(err)
	}

	if err := worker.RegisterIn(&r, "Good", func() *goodStreams { return &goodStreams{} }); err != nil {
		t.Fatal(err)
	}
	local, err := worker.LocalIn(&r, "Good")
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close(t.Context())
	var got []any
	for v, err := range local.Stream(t.Context(), "two", 5) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, v)
	}
	if len(got) != 3 || got[0] != int64(5) || got[1] != int64(6) || got[2] != "enough" {
		t.Errorf("%v", got)
	}
	for _, err := range local.Stream(t.Context(), "two", 5) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if _, err := local.Call(t.Context(), "two", 5); !errors.Is(err, worker.ErrStreaming) {
		t.Error(err)
	}
	for _, err := range local.Stream(t.Context(), "value") {
		if !errors.Is(err, worker.ErrNotStreaming) {
			t.Error(err)
		}
	}
}

type goodStreams struct{}

func (*goodStreams) Two(_ context.Context, n int64) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		_ = yield(n, nil) && yield(n+1, nil) && yield(0, errors.New("enough"))
	}
}

func (*goodStreams) Value(context.Context) int { return 1 }

type badStreams struct{}

func (*badStreams) Chans(context.Context) iter.Seq[chan int] { return nil }

type manyStreams struct{}

func (*manyStreams) Pair(context.Context) (iter.Seq[int], int) { return nil, 0 }

// streamsToGo goes through the streams of both actors from Go.
func streamsToGo(t *testing.T, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, name := range subjects {
		n := int64(0)
		var end error
		for v, err := range direct.Stream(ctx, namespace, name, "count", 2_000, "the end") {
			if end = err; err != nil {
				break
			}
			if v != n {
				t.Fatalf("%s: item %d is %v", name, n, v)
			}
			n++
		}
		task, ok := errors.AsType[*ray.TaskError](end)
		if n != 2_000 || !ok || task.Class != "RuntimeError" || task.Message != "the end" {
			t.Errorf("%s: %d items, %v", name, n, end)
		}
		for v, err := range direct.Stream(ctx, namespace, name, "count", 1_000_000, "") {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if v == int64(1000) {
				break
			}
		}
		// The actor makes one thing at a time: this is answered when the stream has ended there.
		if _, err := direct.Call(ctx, namespace, name, "add", 0); err != nil {
			t.Errorf("%s after a stream that was left: %v", name, err)
		}
		for _, err := range direct.Stream(ctx, namespace, name, "echo", 1) {
			if task, ok := errors.AsType[*ray.TaskError](err); !ok {
				t.Errorf("%s: %v, %v", name, task, err)
			}
		}
	}
}
