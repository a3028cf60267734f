package otelray_test

import (
	"context"
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
	"go.opentelemetry.io/otel/trace"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/otelray"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

// place is what a method of the test actor tells of its span.
type place struct{ Trace, Span, Parent, Name string }

// One trace goes from the caller into a Go actor, and from there into the next one; not through a session.
func TestATraceGoesThroughTheActors(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	conn, err := connector.New(connector.Config{
		Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), Tracer: otelray.New(provider),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	if err := conn.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	session := client.Session()
	pkg, err := ray.BinaryPackage(raytest.BuildGo(t, "./ray/otelray/internal/testactor"))
	if err != nil {
		t.Fatal(err)
	}
	uri, err := session.UploadPackage(ctx, pkg)
	if err != nil {
		t.Fatal(err)
	}
	goClass, err := session.GoClass(ctx, "Traced", []string{"place", "ask"})
	if err != nil {
		t.Fatal(err)
	}
	pyClass, err := session.PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	create := func(class *ray.ActorClass, opts ray.ActorOptions) *ray.ActorHandle {
		opts.NumCPUs = 0.1
		handle, err := session.CreateActor(ctx, class, opts)
		if err != nil {
			t.Fatal(err)
		}
		return handle
	}
	first := create(goClass, ray.ActorOptions{Name: "first", RuntimeEnv: ray.GoRuntimeEnv(uri)})
	create(goClass, ray.ActorOptions{Name: "second", RuntimeEnv: ray.GoRuntimeEnv(uri)})
	create(pyClass, ray.ActorOptions{Name: "python"})

	rootCtx, root := provider.Tracer("test").Start(ctx, "the caller")
	id := root.SpanContext().TraceID().String()
	v, err := conn.Call(rootCtx, "first", "ask", "second")
	if err != nil {
		t.Fatal(err)
	}
	var places []place
	if err := ray.Decode(v, &places); err != nil || len(places) != 2 {
		t.Fatalf("%v, %v", v, err)
	}
	sent := spanOf(t, recorder, "ask")
	if sent.Parent().SpanID() != root.SpanContext().SpanID() || sent.SpanKind() != trace.SpanKindClient || sent.Status().Code == codes.Error {
		t.Errorf("the caller's span: %+v", sent)
	}
	own, other := places[0], places[1]
	if own.Trace != id || own.Parent != sent.SpanContext().SpanID().String() || own.Name != "ask" {
		t.Errorf("%+v is not below span %s of trace %s", own, sent.SpanContext().SpanID(), id)
	}
	// Between the two methods is the span of the call that the actor made.
	if other.Trace != id || other.Name != "place" || slices.Contains([]string{"", own.Span, own.Parent}, other.Parent) {
		t.Errorf("%+v is not below a call of %+v", other, own)
	}

	if v, err := conn.Call(rootCtx, "python", "incr"); err != nil || v != int64(1) {
		t.Errorf("a Python actor: %v, %v", v, err)
	}
	if _, err := conn.Call(rootCtx, "python", "boom"); err == nil {
		t.Error("a method that raises did not")
	}
	raised := spanOf(t, recorder, "boom")
	if raised.Status().Code != codes.Error || !slices.Contains(raised.Attributes(), attribute.String("error.type", "task_error")) ||
		!slices.Contains(raised.Attributes(), attribute.String("rpc.system.name", "ray")) {
		t.Errorf("%v, %v", raised.Status(), raised.Attributes())
	}

	v, err = first.Call(rootCtx, "place")
	var p place
	if err := errors.Join(err, ray.Decode(v, &p)); err != nil || p.Trace == id || p.Parent != "" {
		t.Errorf("through the session: %+v, %v", p, err)
	}
	if got := spanOf(t, recorder, "place"); got.SpanContext().TraceID().String() != id {
		t.Errorf("the call through the session is in trace %v", got.SpanContext().TraceID())
	}
}

func spanOf(t *testing.T, recorder *tracetest.SpanRecorder, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, s := range recorder.Ended() {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no span %q ended", name)
	return nil
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
