package ray_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// carrier sends the headers that the caller's context holds, and notes what comes back.
type carrier struct{ came []string }

type headersKey struct{}

func (c *carrier) TraceCallResponse(ctx context.Context, traceresponse string) {
	c.came = append(c.came, fmt.Sprint(ctx.Value(headersKey{}) != nil, " ", traceresponse))
}

func (*carrier) TraceCallStart(ctx context.Context, call ray.TracedCall) context.Context { return ctx }
func (*carrier) TraceCallEnd(context.Context, error)                                     {}
func (*carrier) TraceContext(ctx context.Context) (traceparent, tracestate string) {
	h, _ := ctx.Value(headersKey{}).([2]string)
	return h[0], h[1]
}

// headerWorker notes the headers of what reaches it, and answers with one.
type headerWorker struct {
	corepb.UnimplementedCoreWorkerServiceServer

	mu     sync.Mutex // guards the fields below
	seen   metadata.MD
	answer string
	fails  error
}

func (w *headerWorker) PushTask(ctx context.Context, _ *corepb.PushTaskRequest) (*corepb.PushTaskReply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, _ = metadata.FromIncomingContext(ctx)
	if w.answer != "" {
		_ = grpc.SetTrailer(ctx, metadata.Pairs("traceresponse", w.answer))
	}
	if w.fails != nil {
		return nil, w.fails
	}
	return &corepb.PushTaskReply{ReturnObjects: []*corepb.ReturnObject{{Metadata: []byte("RAW")}}}, nil
}

// The headers of a trace arrive, those that would break a call are left out, and a Python actor minds none of them.
func TestATraceIsCarriedAlong(t *testing.T) {
	tracer := &carrier{}
	x := directly(t, ray.DirectOptions{Tracer: tracer})
	x.actor(t, "counter", 0)
	watching := &headerWorker{}
	server := grpc.NewServer()
	corepb.RegisterCoreWorkerServiceServer(server, watching)
	address := serve(t, server)
	y := x.over(t, x.gcs, ray.DirectOptions{Tracer: tracer, AddressMap: func(string) string { return address }}, ray.DirectBounds{})
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	calls := int64(0)
	for _, test := range []struct{ parent, state, wantParent, wantState string }{
		{parent, "vendor=value", parent, "vendor=value"},
		{parent, "", parent, ""},
		{"", "vendor=value", "", ""},
		{parent, "line\nbreak", parent, ""},
		{parent, "\u00e4", parent, ""},
		{parent, strings.Repeat("x", 1025), parent, ""},
		{"\x00", "vendor=value", "", ""},
	} {
		ctx := context.WithValue(deadline(t), headersKey{}, [2]string{test.parent, test.state})
		calls++
		if v, err := x.call(ctx, "counter", "incr"); err != nil || v != calls {
			t.Errorf("a Python actor, with %q: %v, %v", test, v, err)
		}
		if _, err := y.call(ctx, "counter", "get"); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"traceparent": test.wantParent, "tracestate": test.wantState} {
			if got := strings.Join(watching.seen.Get(name), "|"); got != want {
				t.Errorf("%s: %q, not %q", name, got, want)
			}
		}
	}
	watching.seen = nil
	ctx := context.WithValue(deadline(t), headersKey{}, [2]string{parent, ""})
	streams := !raytest.RayBefore(t, "2.60")
	if _, err := collect(y.stream(ctx, "counter", "get")); (watching.seen.Get("traceparent") != nil) != streams {
		t.Errorf("the headers of a stream are %v, %v", watching.seen, err)
	}
	if tracer.came != nil {
		t.Errorf("nothing was answered, and %q came", tracer.came)
	}

	watching.answer = "an answer"
	if _, err := y.call(ctx, "counter", "get"); err != nil {
		t.Error(err)
	}
	_, _ = collect(y.stream(ctx, "counter", "get")) // which gets no items
	watching.fails = status.Error(codes.Internal, "no")
	if _, err := y.call(ctx, "counter", "get"); err == nil {
		t.Error("a call that failed did not")
	}
	want := []string{"true an answer", "true an answer"}
	if streams {
		want = append(want, want[0])
	}
	if !slices.Equal(tracer.came, want) {
		t.Errorf("%q came, not %q", tracer.came, want)
	}
}
