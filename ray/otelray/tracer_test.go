package otelray_test

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/otelray"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

// place is what a method of the test actor tells of a span.
type place struct {
	Trace, Span, Parent, Name, Kind string
	Links                           []string
}

// traces are the spans of the caller, and actors that have spans of their own.
type traces struct {
	recorder *tracetest.SpanRecorder
	provider *sdktrace.TracerProvider
	conn     *connector.Connector
	session  *ray.Session
	uri      string
	class    *ray.ActorClass
}

func begin(t *testing.T, ctx context.Context) *traces {
	t.Helper()
	x := &traces{recorder: tracetest.NewSpanRecorder()}
	x.provider = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(x.recorder))
	var err error
	x.conn, err = connector.New(connector.Config{
		Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), Tracer: otelray.New(x.provider),
		Metrics: promray.New(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := x.conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := x.conn.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	client, err := x.conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	x.session = client.Session()
	pkg, err := ray.BinaryPackage(raytest.BuildGo(t, "./ray/otelray/internal/testactor"))
	if err != nil {
		t.Fatal(err)
	}
	if x.uri, err = x.session.UploadPackage(ctx, pkg); err != nil {
		t.Fatal(err)
	}
	if x.class, err = x.session.GoClass(ctx, "Traced", []string{"place", "places", "fail", "ask", "ended"}); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *traces) create(t *testing.T, ctx context.Context, class *ray.ActorClass, opts ray.ActorOptions) *ray.ActorHandle {
	t.Helper()
	opts.NumCPUs = 0.1
	handle, err := x.session.CreateActor(ctx, class, opts)
	if err != nil {
		t.Fatal(err)
	}
	return handle
}

// root begins a trace.
func (x *traces) root(ctx context.Context) (_ context.Context, trace, span string) {
	ctx, root := x.provider.Tracer("test").Start(ctx, "the caller")
	return ctx, root.SpanContext().TraceID().String(), root.SpanContext().SpanID().String()
}

// last returns the newest span of that name that has ended.
func (x *traces) last(t *testing.T, name string) place {
	t.Helper()
	for _, s := range slices.Backward(x.recorder.Ended()) {
		if s.Name() != name {
			continue
		}
		p := place{Trace: s.SpanContext().TraceID().String(), Span: s.SpanContext().SpanID().String(), Parent: s.Parent().SpanID().String(), Name: name, Kind: s.SpanKind().String()}
		for _, link := range s.Links() {
			p.Links = append(p.Links, link.SpanContext.SpanID().String())
		}
		return p
	}
	t.Fatalf("no span %q ended", name)
	return place{}
}

// ended are the spans of that name of an actor.
func ended(t *testing.T, v any, err error, name string) []place {
	t.Helper()
	var all, named []place
	if err := errors.Join(err, ray.Decode(v, &all)); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Name == name {
			named = append(named, p)
		}
	}
	return named
}

// decoded are the places that a call returned.
func decoded[T any](t *testing.T, v any, err error) T {
	t.Helper()
	var p T
	if err := errors.Join(err, ray.Decode(v, &p)); err != nil {
		t.Fatal(err)
	}
	return p
}

// One trace goes from the caller into a Go actor, from there into the next one, and back.
func TestATraceGoesThroughTheActors(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	x := begin(t, ctx)
	pyClass, err := x.session.PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	first := x.create(t, ctx, x.class, ray.ActorOptions{Name: "first", RuntimeEnv: ray.GoRuntimeEnv(x.uri)})
	x.create(t, ctx, x.class, ray.ActorOptions{Name: "second", RuntimeEnv: ray.GoRuntimeEnv(x.uri)})
	python := x.create(t, ctx, pyClass, ray.ActorOptions{Name: "python"})

	t.Run("directly, through two actors", func(t *testing.T) {
		ctx, id, root := x.root(ctx)
		v, err := x.conn.Call(ctx, "first", "ask", "second")
		places := decoded[[]place](t, v, err)
		sent, own, other := x.last(t, "ask"), places[0], places[1]
		if sent.Trace != id || sent.Parent != root || sent.Kind != "client" || !slices.Equal(sent.Links, []string{own.Span}) {
			t.Errorf("the caller's span %+v is not below %s, or has no link to %+v", sent, root, own)
		}
		if own.Trace != id || own.Parent != sent.Span || own.Name != "ask" || own.Kind != "server" {
			t.Errorf("%+v is not below %+v", own, sent)
		}
		v, err = x.conn.Call(ctx, "first", "ended")
		between := ended(t, v, err, "place")
		if len(between) != 1 || between[0].Trace != id || between[0].Parent != own.Span || between[0].Kind != "client" || !slices.Equal(between[0].Links, []string{other.Span}) {
			t.Errorf("the actor's call %+v is not below %+v, or has no link to %+v", between, own, other)
		} else if other.Trace != id || other.Parent != between[0].Span || other.Name != "place" {
			t.Errorf("%+v is not below %+v", other, between[0])
		}
		v, err = x.conn.Call(ctx, "first", "ended")
		if constructor := ended(t, v, err, "__init__"); len(constructor) != 1 || constructor[0].Kind != "server" {
			t.Errorf("the constructor: %+v", constructor)
		}
	})
	t.Run("back with an error and with a stream", func(t *testing.T) {
		ctx, id, _ := x.root(ctx)
		_, err := x.conn.Call(ctx, "first", "fail")
		if failed := x.last(t, "fail"); err == nil || len(failed.Links) != 1 || !strings.Contains(err.Error(), "span="+failed.Links[0]) {
			t.Errorf("%v has another span than the link of %+v", err, failed)
		}
		client, err := x.conn.Client()
		if err != nil {
			t.Fatal(err)
		}
		var places []place
		for v, err := range client.Stream(ctx, x.session.Info().Namespace, "first", "places") {
			places = append(places, decoded[place](t, v, err))
		}
		streamed := x.last(t, "places")
		if len(places) != 2 || places[1].Trace != id || places[1].Parent != streamed.Span || !slices.Equal(streamed.Links, []string{places[1].Span}) {
			t.Errorf("%+v are not below %+v, or not linked there", places, streamed)
		}
	})
	t.Run("through a session", func(t *testing.T) {
		ctx, id, root := x.root(ctx)
		check := func(v any, err error) {
			t.Helper()
			p, sent := decoded[place](t, v, err), x.last(t, "place")
			if sent.Trace != id || sent.Parent != root || p.Trace != id || p.Parent != sent.Span {
				t.Errorf("%+v is not below %+v, or that not below %s", p, sent, root)
			}
		}
		check(first.Call(ctx, "place"))
		refs, err := first.SubmitWith(ctx, "place", ray.MethodOptions{Name: "renamed", RetryExceptions: []ray.Function{{Name: "ValueError"}}})
		if err != nil {
			t.Fatal(err)
		}
		check(x.session.Get(ctx, refs[0]))
		if v, err := python.Call(ctx, "incr"); err != nil || v != int64(1) {
			t.Errorf("a Python actor: %v, %v", v, err)
		}
		if _, err := python.Call(ctx, "incr", ray.Kwargs{"_ray_trace_ctx": map[string]any{}}); err == nil || !strings.Contains(err.Error(), "AssertionError") {
			t.Errorf("Ray takes the keyword of its own tracing from a client: %v", err)
		}
		// Without a trace of the caller's there is the one that the call begins.
		v, err := first.Call(t.Context(), "place")
		if p := decoded[place](t, v, err); p.Parent != x.last(t, "place").Span || p.Trace == id {
			t.Errorf("without a trace: %+v", p)
		}
	})
	t.Run("to Python", func(t *testing.T) {
		ctx, _, _ := x.root(ctx)
		if v, err := x.conn.Call(ctx, "python", "incr"); err != nil || v != int64(2) {
			t.Errorf("a Python actor: %v, %v", v, err)
		}
		if _, err := x.conn.Call(ctx, "python", "boom"); err == nil {
			t.Error("a method that raises did not")
		}
		ended := x.recorder.Ended()
		raised := ended[len(ended)-1]
		if raised.Name() != "boom" || raised.Status().Code != codes.Error || !slices.Contains(raised.Attributes(), attribute.String("error.type", "task_error")) ||
			!slices.Contains(raised.Attributes(), attribute.String("rpc.system.name", "ray")) {
			t.Errorf("%s, %v, %v", raised.Name(), raised.Status(), raised.Attributes())
		}
	})
	t.Run("from Ray's own tracing", func(t *testing.T) { fromRaysOwn(t, ctx, x) })
}

// A Python driver for which Ray's tracing is on reaches Go actors, and its trace does; so do calls of ours through a session in
// such a cluster, where Ray itself traces what the session's process calls.
func fromRaysOwn(t *testing.T, ctx context.Context, x *traces) {
	const hooks, hook = "tracing", "tracing_startup_hook"
	if _, err := x.session.KVPut(ctx, hooks, hook, []byte("seedtest:trace"), true); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := x.session.KVDel(ctx, hooks, hook); err != nil {
			t.Error(err)
		}
	}()
	program := ray.GoRuntimeEnv(x.uri)
	out := raytest.Python(t, `
import json, os
import ray
from opentelemetry import trace

ray.init(os.environ["GCS"], namespace=os.environ["NAMESPACE"], log_to_driver=False)

@ray.remote(num_cpus=0.1, runtime_env={"working_dir": os.environ["URI"], "py_executable": os.environ["PROGRAM"]})
class Traced:
    def ended(self, *args, **kwargs):
        raise NotImplementedError

first = ray.get_actor("first")
with trace.get_tracer("driver").start_as_current_span("the driver") as span:
    made = Traced.remote()
    print(json.dumps({
        "trace": format(span.get_span_context().trace_id, "032x"),
        "place": ray.get(first.place.remote()),
        "ended": ray.get(made.ended.remote()),
    }))
`, "GCS="+raytest.Head(t).GCSAddress(), "NAMESPACE="+x.session.Info().Namespace, "URI="+x.uri, "PROGRAM="+program.PyExecutable)
	var found struct {
		Trace string
		Place place
		Ended []place
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for _, p := range append(found.Ended, found.Place) {
		if p.Trace != found.Trace || p.Parent == "" {
			t.Errorf("%+v is not of the driver's trace %s", p, found.Trace)
		}
	}
	if len(found.Ended) == 0 || found.Ended[0].Name != "__init__" {
		t.Errorf("%+v", found)
	}

	y := begin(t, ctx)
	ctx, id, _ := y.root(ctx)
	actor := y.create(t, ctx, y.class, ray.ActorOptions{RuntimeEnv: ray.GoRuntimeEnv(y.uri)})
	v, err := actor.Call(ctx, "place")
	if p := decoded[place](t, v, err); p.Trace != id || p.Parent != y.last(t, "place").Span {
		t.Errorf("through a session that Ray traces: %+v", p)
	}
}

// Who does not trace or measure pays for neither.
func TestTheCoreImportsNoTelemetry(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../ray", "../../worker", "../../connector").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range strings.Fields(string(out)) {
		if strings.HasPrefix(pkg, "go.opentelemetry.io/") || strings.HasPrefix(pkg, "github.com/prometheus/") {
			t.Errorf("the core imports %s", pkg)
		}
	}
}
