package worker_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// The names of the two actors that every way of calling is tried on: the same class, in Go and in Python.
var subjects = []string{"subject-go", "subject-py"}

// aCase is one call, and conformance is what each way of calling goes through, in order: the calls of a burst are all
// made before any is waited for, where that way has such calls.
type aCase struct {
	Method string `json:"method"`
	Args   []any  `json:"args"` // tagged
	Want   any    `json:"want"` // tagged
}

func conformance() (cases []aCase, burst []aCase) {
	add := func(list *[]aCase, method string, want any, args ...any) {
		c := aCase{Method: method, Args: []any{}, Want: tagged(want)}
		for _, a := range args {
			c.Args = append(c.Args, tagged(a))
		}
		*list = append(*list, c)
	}
	add(&cases, "reset", nil)
	for _, v := range []any{
		nil, true, false, int64(0), int64(-1), int64(1) << 40, -(int64(1) << 62), 1.5, -0.25, "", "text \u00e4\u4e16",
		[]byte{},
		[]byte{0, 0xff},
		[]any{},
		[]any{nil, int64(1), []any{"two", []byte("three")}},
		map[string]any{},
		map[string]any{"a": map[string]any{"b": []any{1.5, nil}}, "c": []byte{1}},
		[]byte(strings.Repeat("y", 64<<10)), strings.Repeat("z", 64<<10),
	} {
		add(&cases, "echo", v, v)
	}
	add(&cases, "size", int64(60_000), make([]byte, 60_000))
	add(&cases, "make", []byte(strings.Repeat("x", 60_000)), 60_000)
	add(&cases, "fail", failure{"RuntimeError", "for a reason"}, "for a reason")
	add(&cases, "no_such_method", failure{Class: "no such method"})
	sum := int64(0)
	for i := range int64(60) {
		sum += i
		add(&burst, "add", sum, i)
		add(&burst, "record", nil, i)
	}
	var all []any
	for i := range int64(60) {
		all = append(all, i)
	}
	add(&burst, "recorded", all)
	return cases, burst
}

// crowd is how many callers there are at once, and how many calls each makes one after the other. Each call is noted down
// by the actor, so that the order of one caller shows.
var crowd = struct {
	Callers int `json:"callers"`
	Calls   int `json:"calls"`
}{8, 40}

// judgeCrowd looks at what the actor noted down, lists of a caller and the number of its call.
func judgeCrowd(t *testing.T, way string, recorded any) {
	t.Helper()
	var notes [][2]int
	if err := json.Unmarshal([]byte(asJSON(t, recorded)), &notes); err != nil {
		t.Errorf("%s: %v in %.300v", way, err, recorded)
		return
	}
	next := make([]int, crowd.Callers)
	turns := 0
	for i, n := range notes {
		if n[0] < 0 || n[0] >= crowd.Callers || n[1] != next[n[0]] {
			t.Errorf("%s: the actor noted down call %d of caller %d when call %d was to come", way, n[1], n[0], next[max(0, n[0])%crowd.Callers])
			return
		}
		next[n[0]]++
		if i > 0 && n[0] != notes[i-1][0] {
			turns++
		}
	}
	if len(notes) != crowd.Callers*crowd.Calls {
		t.Errorf("%s: %d calls of %d were noted down", way, len(notes), crowd.Callers*crowd.Calls)
	}
	if turns < crowd.Callers {
		t.Errorf("%s: the callers came one after the other, so that the order shows nothing", way)
	}
}

// failure is the expected exception.
type failure struct{ Class, Text string }

// tagged gives a value a form in JSON that keeps its type, the same in driver.py.
func tagged(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case int:
		return map[string]any{"int": strconv.Itoa(v)}
	case int64:
		return map[string]any{"int": strconv.FormatInt(v, 10)}
	case float64:
		return map[string]any{"float": strconv.FormatFloat(v, 'g', -1, 64)}
	case string:
		return map[string]any{"str": v}
	case []byte:
		return map[string]any{"bytes": hex.EncodeToString(v)}
	case []any:
		items := make([]any, len(v))
		for i, x := range v {
			items[i] = tagged(x)
		}
		return map[string]any{"list": items}
	case map[string]any:
		var items []any
		for _, k := range slices.Sorted(maps.Keys(v)) {
			items = append(items, []any{k, tagged(v[k])})
		}
		return map[string]any{"dict": items}
	case failure:
		return map[string]any{"raised": v.Class, "text": v.Text}
	default:
		return fmt.Sprintf("a %T", v)
	}
}

// outcomeOf is the tagged outcome of a call from Go.
func outcomeOf(v any, err error) any {
	task, raised := errors.AsType[*ray.TaskError](err)
	switch {
	case raised:
		return tagged(failure{task.Class, task.Message})
	case errors.Is(err, ray.ErrNoSuchMethod):
		return tagged(failure{Class: "no such method"})
	case err != nil:
		return tagged(failure{"error", err.Error()})
	default:
		return tagged(v)
	}
}

// values of the arguments, as a caller in Go has them.
func untagged(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for tag, x := range m {
		switch tag {
		case "int":
			n, _ := strconv.ParseInt(x.(string), 10, 64)
			return n
		case "float":
			f, _ := strconv.ParseFloat(x.(string), 64)
			return f
		case "bytes":
			b, _ := hex.DecodeString(x.(string))
			return b
		case "list":
			items := []any{}
			for _, item := range x.([]any) {
				items = append(items, untagged(item))
			}
			return items
		case "dict":
			dict := map[string]any{}
			items, _ := x.([]any)
			for _, item := range items {
				dict[item.([]any)[0].(string)] = untagged(item.([]any)[1])
			}
			return dict
		default:
			return x
		}
	}
	return v
}

// judge compares what one way of calling gave with what was expected.
func judge(t *testing.T, way string, cases []aCase, got []any) {
	t.Helper()
	if len(got) != len(cases) {
		t.Errorf("%s: %d outcomes of %d calls", way, len(got), len(cases))
		return
	}
	for i, c := range cases {
		want, have := asJSON(t, c.Want), asJSON(t, got[i])
		if w, ok := c.Want.(map[string]any); ok && w["raised"] != nil { // a text has more around it in some ways
			h, _ := got[i].(map[string]any)
			text, _ := h["text"].(string)
			if h["raised"] == w["raised"] && strings.Contains(text, w["text"].(string)) {
				continue
			}
		}
		if want != have {
			t.Errorf("%s: call %d, %s(%.60v): %.200s, not %.200s", way, i, c.Method, c.Args, have, want)
		}
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// subjectsOn creates the actors through a Go session, which it returns with the direct path. On a Ray without Go actors it
// checks that they are refused, and returns nothing.
func subjectsOn(t *testing.T, head *rayhead.Head, namespace string) (session *ray.Session, direct *ray.Direct) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	session = openSession(t, head, namespace)
	env := goActorEnv(ctx, t, session)
	goClass, err := session.GoClass(ctx, "Subject", []string{
		"echo", "add", "reset", "record", "recorded", "fail", "size", "make", "forward", "later", "where", "count",
	}, ray.ConcurrencyGroup{Name: "apart", MaxConcurrency: 2, Methods: []string{"forward", "where"}})
	if err != nil {
		t.Fatal(err)
	}
	pyClass, err := session.PythonClass(ctx, "seedtest", "Subject")
	if err != nil {
		t.Fatal(err)
	}
	if version := session.Info().RayVersion; !slices.ContainsFunc(ray.GoActorVersions(), func(v string) bool { return strings.HasPrefix(version, v+".") }) {
		_, err := session.CreateActor(ctx, goClass, ray.ActorOptions{RuntimeEnv: env})
		if !errors.Is(err, ray.ErrUnsupportedVersion) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("a Go actor on Ray %s: %v", version, err)
		}
		return nil, nil
	}
	for i, class := range []*ray.ActorClass{goClass, pyClass} {
		opts := ray.ActorOptions{Name: subjects[i], Detached: true}
		if class == goClass {
			opts.RuntimeEnv = env
		}
		h, err := session.CreateActor(ctx, class, opts, 0)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := h.Call(ctx, "add", 0); err != nil || v != int64(0) {
			t.Fatalf("%s: %v, %v", subjects[i], v, err)
		}
	}
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gcs.Close() })
	direct, err = ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = direct.Close(context.Background()) })
	return session, direct
}

// conformanceFile writes the cases for driver.py.
func conformanceFile(t *testing.T, namespace string) string {
	t.Helper()
	cases, burst := conformance()
	content, err := json.Marshal(map[string]any{"namespace": namespace, "subjects": subjects, "cases": cases, "burst": burst, "crowd": crowd})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "conformance.json")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// conformsInGo goes through the cases in two ways that are ours.
func conformsInGo(t *testing.T, session *ray.Session, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cases, burst := conformance()
	for _, name := range subjects {
		handle, err := session.GetActor(ctx, name, namespace)
		if err != nil {
			t.Fatal(err)
		}
		bySession := func(c aCase) func() any {
			ref, err := handle.Submit(ctx, c.Method, argsOf(c)...)
			if err != nil {
				return func() any { return outcomeOf(nil, err) }
			}
			return func() any { return outcomeOf(session.Get(ctx, ref)) }
		}
		directly := func(c aCase) func() any {
			v, err := direct.Call(ctx, namespace, name, c.Method, argsOf(c)...)
			return func() any { return outcomeOf(v, err) }
		}
		ways := map[string]func(aCase) func() any{"session": bySession, "direct": directly}
		for way, call := range ways {
			var got []any
			for _, c := range cases {
				got = append(got, call(c)())
			}
			judge(t, way+", "+name, cases, got)
			var waiting []func() any
			for _, c := range burst {
				waiting = append(waiting, call(c))
			}
			got = nil
			for _, wait := range waiting {
				got = append(got, wait())
			}
			judge(t, way+", "+name, burst, got)
			crowdCalls(t, way+", "+name, func(method string, args ...any) (any, error) {
				if way == "direct" {
					return direct.Call(ctx, namespace, name, method, args...)
				}
				return handle.Call(ctx, method, args...)
			})
		}
	}
}

// crowdCalls has a crowd call an actor.
func crowdCalls(t *testing.T, way string, call func(method string, args ...any) (any, error)) {
	t.Helper()
	if _, err := call("reset"); err != nil {
		t.Fatalf("%s: %v", way, err)
	}
	var callers sync.WaitGroup
	for caller := range crowd.Callers {
		callers.Go(func() {
			for n := range crowd.Calls {
				if _, err := call("record", []any{caller, n}); err != nil {
					t.Errorf("%s: %v", way, err)
				}
			}
		})
	}
	callers.Wait()
	recorded, err := call("recorded")
	if err != nil {
		t.Fatalf("%s: %v", way, err)
	}
	judgeCrowd(t, way, recorded)
}

// largeInGo sends and fetches what a Go actor just takes and gives, and more. The
// session's server sends large values along.
func largeInGo(t *testing.T, head *rayhead.Head, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	session, err := ray.Open(ctx, ray.Config{Address: head.ClientAddress(), Namespace: namespace, RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{
		"RAY_max_direct_call_object_size": strconv.Itoa(worker.MaxValue + 1<<10), "RAY_task_rpc_inlined_bytes_limit": strconv.Itoa(4 * worker.MaxValue),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close(ctx) }()
	handle, err := session.GetActor(ctx, subjects[0], namespace)
	if err != nil {
		t.Fatal(err)
	}
	for way, call := range map[string]func(method string, args ...any) (any, error){
		"session": func(method string, args ...any) (any, error) { return handle.Call(ctx, method, args...) },
		"direct": func(method string, args ...any) (any, error) {
			return direct.Call(ctx, namespace, subjects[0], method, args...)
		},
		"client": func(method string, args ...any) (any, error) {
			return ray.NewClient(session, nil, direct, nil).Call(ctx, namespace, subjects[0], method, args...)
		},
	} {
		if v, err := call("size", make([]byte, worker.MaxValue)); err != nil || v != int64(worker.MaxValue) {
			t.Errorf("%s: an argument of %d bytes: %v, %v", way, worker.MaxValue, v, err)
		}
		v, err := call("make", worker.MaxValue)
		if b, ok := v.([]byte); err != nil || !ok || len(b) != worker.MaxValue || strings.Trim(string(b), "x") != "" {
			t.Errorf("%s: a result of %d bytes: %.100v, %v", way, worker.MaxValue, v, err)
		}
		_, err = call("size", make([]byte, worker.MaxValue+1))
		refused := ray.SentNo
		if way == "session" { // which does not know what the actor is: the actor itself refuses
			refused = ray.SentYes
		}
		if !errors.Is(err, ray.ErrTooLarge) || ray.SentOf(err) != refused || !strings.Contains(err.Error(), "in parts") {
			t.Errorf("%s: a larger argument: %v", way, err)
		}
		if _, err = call("make", worker.MaxValue+1); !errors.Is(err, ray.ErrTooLarge) || ray.SentOf(err) != ray.SentYes || !strings.Contains(err.Error(), "in parts") {
			t.Errorf("%s: a larger result: %v", way, err)
		}
	}
}

// byReference has arguments come to a Go actor as references.
func byReference(t *testing.T, session *ray.Session, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	handle, err := session.GetActor(ctx, subjects[0], namespace)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := session.Put(ctx, "small")
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []any{ref, make([]byte, 200_000)} { // Ray makes a reference of the second one
		_, err := handle.Call(ctx, "echo", arg)
		if _, raised := errors.AsType[*ray.TaskError](err); !raised || !errors.Is(err, ray.ErrByReference) || errors.Is(err, ray.ErrTooLarge) || !strings.Contains(err.Error(), "RAY_max_direct_call_object_size=") {
			t.Errorf("through the session, a %T: %v", arg, err)
		}
	}
	if _, err := direct.Call(ctx, namespace, subjects[0], "echo", ref); !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("directly: %v", err)
	}
	if _, err := handle.Call(ctx, "fail", "another argument by reference"); errors.Is(err, ray.ErrByReference) {
		t.Errorf("an error of the method's own: %v", err)
	}
}

// stopped has the processes of actors stop without ending: calls end at their deadlines, those of others go on, and nothing is
// held up when the processes go on.
func stopped(t *testing.T, direct *ray.Direct, namespace string, pids map[string]int) {
	t.Helper()
	for i, name := range subjects {
		other := subjects[1-i]
		call := func(patience time.Duration, name, method string, args ...any) (any, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return direct.Call(ctx, namespace, name, method, args...)
		}
		if _, err := call(patience, name, "reset"); err != nil {
			t.Fatal(err)
		}
		raytest.Halt(t, pids[name])
		for range 3 {
			if _, err := call(200*time.Millisecond, name, "record", "given up"); !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentMaybe {
				t.Errorf("%s, stopped: %v", name, err)
			}
		}
		if v, err := call(patience, other, "echo", "goes on"); err != nil || v != "goes on" {
			t.Errorf("%s, while %s is stopped: %v, %v", other, name, v, err)
		}
		waiting := make(chan error, 1)
		go func() {
			_, err := call(patience, name, "record", "waits")
			waiting <- err
		}()
		end(t, pids[name], syscall.SIGCONT)
		if err := <-waiting; err != nil {
			t.Errorf("%s, going on: %v", name, err)
		}
		v, err := call(patience, name, "recorded")
		notes, _ := v.([]any)
		if err != nil || len(notes) == 0 || len(notes) > 4 || notes[len(notes)-1] != "waits" { // what was given up may have run
			t.Errorf("%s ran %v, %v", name, v, err)
		}
	}
}

// callsOut lets the Go actor call the others, and itself: by way of a concurrency group, or of a slot that was given up.
func callsOut(t *testing.T, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	call := func(method string, args ...any) (any, error) {
		return direct.Call(ctx, namespace, subjects[0], method, args...)
	}
	for _, test := range []struct {
		args []any // of forward and later
		want any
	}{
		{[]any{subjects[1], "echo", []byte("to Python")}, tagged([]byte("to Python"))},
		{[]any{subjects[0], "echo", "to itself"}, tagged("to itself")},
		{[]any{subjects[1], "fail", "there"}, tagged(failure{"RuntimeError", "there"})},
		{[]any{"nobody", "echo", 1}, tagged(failure{"RuntimeError", "actor not found"})},
		{[]any{subjects[1], "unknown", 1}, tagged(failure{"RuntimeError", "no such actor method"})},
	} {
		for _, method := range []string{"forward", "later"} {
			judge(t, "calls out", []aCase{{Method: method, Args: test.args, Want: test.want}}, []any{outcomeOf(call(method, test.args...))})
		}
	}
	info, err := call("where")
	where, ok := info.(map[string]any)
	if err != nil || !ok || where["class"] != "Subject" || where["name"] != subjects[0] || where["namespace"] != namespace || where["version"] != raytest.RayVersion(t) ||
		len(where["actor"].(string)) != 32 || where["job"] != where["actor"].(string)[24:] || len(where["node"].(string)) != 56 {
		t.Errorf("%v, %v", info, err)
	}
}

func argsOf(c aCase) []any {
	var args []any
	for _, a := range c.Args {
		args = append(args, untagged(a))
	}
	return args
}

// conforms judges what a driver in Python found.
func (f findings) conforms(way string) {
	f.t.Helper()
	cases, burst := conformance()
	for _, name := range subjects {
		var got struct {
			Cases, Burst []any
			Crowd        any
		}
		if err := json.Unmarshal(f.values["conformance "+name], &got); err != nil {
			f.t.Errorf("%s, %s: %v", way, name, err)
			continue
		}
		judge(f.t, way+", "+name, cases, got.Cases)
		judge(f.t, way+", "+name, burst, got.Burst)
		judgeCrowd(f.t, way+", "+name, got.Crowd)
	}
}
