package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"

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

func (h *hearing) TraceMethodResponse(ctx context.Context) string {
	if parent := ctx.Value(heardKey{}); parent != "" {
		return fmt.Sprint("answer to ", parent)
	}
	return ""
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
		"{Method:__init__ TraceParent: TraceState:} of Thing", "end  <nil>",
		"{Method:seen TraceParent: TraceState:} of Thing", "end  <nil>",
		"{Method:seen TraceParent:a parent TraceState:a state} of Thing", "end a parent <nil>",
		"{Method:later TraceParent:a parent TraceState:} of Thing", "end a parent later failed",
		"{Method:panics TraceParent:a parent TraceState:} of Thing", "end a parent panic: explosion",
	}
	if !slices.Equal(tracer.heard, want) {
		t.Errorf("heard\n%s, not\n%s", strings.Join(tracer.heard, "\n"), strings.Join(want, "\n"))
	}
}

// A trace comes in three ways, of which a method sees nothing in its arguments, and its span goes back in the first.
func TestATraceComesWithATask(t *testing.T) {
	registry := things(t, methods{"seen": func(_ *thing, ctx context.Context, args worker.Args) (any, error) {
		_, named, _ := args.Named("_ray_trace_ctx")
		return fmt.Sprintf("%v%d%v", ctx.Value(heardKey{}), args.Len(), named), nil
	}})
	tracer := &hearing{}
	registry.Trace(tracer)
	rays := func(dict any) keyword { return keyword{"_ray_trace_ctx", dict} }
	type dict = map[string]any
	h := start(t, registry, worker.DefaultLimits).serve().create(1, rays(dict{"traceparent": "the creator"}))
	if want := "{Method:__init__ TraceParent:the creator TraceState:} of Thing"; tracer.heard[0] != want {
		t.Errorf("%q, not %q", tracer.heard[0], want)
	}
	long := strings.Repeat("x", 1025)
	for name, test := range map[string]struct {
		header string
		labels []byte
		args   []any
		want   string
		answer []string
	}{
		"a header":                   {"a", nil, nil, "a0false", []string{"answer to a"}},
		"a header without an answer": {long, nil, nil, long + "0false", nil},
		"labels":                     {"", labels("other", "x", "traceparent", "b"), nil, "b0false", nil},
		"other labels":               {"", labels("other", "x"), nil, "0false", nil},
		"a field that is no label":   {"", protowire.AppendBytes(protowire.AppendTag(nil, 41, protowire.BytesType), []byte{0xff}), nil, "0false", nil},
		"Ray's argument":             {"", nil, []any{1, rays(dict{"traceparent": "c", "baggage": "x"})}, "c1false", nil},
		"Ray's argument without one": {"", nil, []any{rays(dict{})}, "0false", nil},
		"a dict of numbers":          {"", nil, []any{rays(dict{"traceparent": 1})}, "0false", nil},
		"no dict":                    {"", nil, []any{rays("traceparent")}, "0false", nil},
		"labels and an argument":     {"", labels("traceparent", "b"), []any{rays(dict{"traceparent": "c"})}, "b0false", nil},
		"all":                        {"a", labels("traceparent", "b"), []any{rays(dict{"traceparent": "c"})}, "a0false", []string{"answer to a"}},
	} {
		req := h.task("seen", test.args...)
		req.TaskSpec.ProtoReflect().SetUnknown(test.labels)
		ctx := h.context()
		if test.header != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "traceparent", test.header)
		}
		var trailer metadata.MD
		reply, err := h.client.PushTask(ctx, req, grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(h.values(req, reply)...); got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
		if got := trailer.Get("traceresponse"); !slices.Equal(got, test.answer) {
			t.Errorf("%s is answered with %q, not %q", name, got, test.answer)
		}
	}
}

// Without a tracer, Ray's own tracing does no harm.
func TestRaysTracingIsNoArgument(t *testing.T) {
	h := actor(t, methods{"one": worker.Takes1(func(_ *thing, _ context.Context, v int64) (int64, error) { return v, nil })})
	if v := h.call("one", 7, keyword{"_ray_trace_ctx", map[string]any{"traceparent": "x"}}); v != int64(7) {
		t.Errorf("%v", v)
	}
}

// labels are TaskSpec.labels on the wire.
func labels(pairs ...string) []byte {
	var b []byte
	for pair := range slices.Chunk(pairs, 2) {
		var entry []byte
		for i, text := range pair {
			entry = protowire.AppendString(protowire.AppendTag(entry, protowire.Number(i+1), protowire.BytesType), text)
		}
		b = protowire.AppendBytes(protowire.AppendTag(b, 41, protowire.BytesType), entry)
	}
	return b
}
