package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/worker"
)

// hearing is a tracer that notes what it hears.
type hearing struct {
	mu    sync.Mutex // guards heard
	heard []string
}

type heardKey struct{}

func (h *hearing) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, fmt.Sprintf(format, args...))
}

func (h *hearing) TraceMethodStart(ctx context.Context, call worker.TracedMethod) context.Context {
	if call.TraceState == "panic" {
		panic("the tracer panics")
	}
	h.note("%+v of %s", call, worker.FromContext(ctx).Class)
	return context.WithValue(ctx, heardKey{}, call.TraceParent)
}

func (h *hearing) TraceMethodEnd(ctx context.Context, err error) {
	text, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	h.note("end %v %s", ctx.Value(heardKey{}), text)
}

func TestATracerHearsOfEveryMethod(t *testing.T) {
	tracer := &hearing{}
	seen := func(_ *thing, ctx context.Context, _ worker.Args) (any, error) { return ctx.Value(heardKey{}), nil }
	registry := things(t, methods{
		"seen":   seen,
		"panics": func(*thing, context.Context, worker.Args) (any, error) { panic("explosion") },
		"later": func(_ *thing, ctx context.Context, _ worker.Args) (any, error) {
			return worker.Async(func(ctx context.Context) (any, error) { return nil, errors.New("later failed") }), nil
		},
	})
	registry.Trace(tracer)
	h := start(t, registry, worker.DefaultLimits).serve().create(1)
	if v := h.call("seen"); v != "" {
		t.Errorf("without headers: %v", v)
	}
	push := func(state, method string) string {
		req := h.task(method)
		ctx := metadata.AppendToOutgoingContext(h.context(), "traceparent", "a parent", "tracestate", state)
		reply, err := h.client.PushTask(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if reply.GetIsApplicationError() {
			return h.exception(req, reply)
		}
		return fmt.Sprint(h.values(req, reply)...)
	}
	for _, test := range []struct{ state, method, want string }{
		{"a state", "seen", "a parent"},
		{"", "later", "later failed"},
		{"", "panics", "explosion"},
		{"panic", "seen", "the tracer panics"},
	} {
		if got := push(test.state, test.method); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, not %q", test.method, got, test.want)
		}
	}
	want := []string{
		"{Method:seen TraceParent: TraceState:} of Thing", "end  <nil>",
		"{Method:seen TraceParent:a parent TraceState:a state} of Thing", "end a parent <nil>",
		"{Method:later TraceParent:a parent TraceState:} of Thing", "end a parent later failed",
		"{Method:panics TraceParent:a parent TraceState:} of Thing", "end a parent panic: explosion",
	}
	if !slices.Equal(tracer.heard, want) {
		t.Errorf("heard\n%s, not\n%s", strings.Join(tracer.heard, "\n"), strings.Join(want, "\n"))
	}
}
