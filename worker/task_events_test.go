package worker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// TestTaskEvents looks at calls of Go actors where a user of Ray does: in the state API and in the timeline.
func TestTaskEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Ray")
	}
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 4, Dashboard: true})
	namespace := raytest.Namespace(t)
	session, silent := subjectsOn(t, head, namespace)
	if session == nil {
		return // this Ray has no Go actors, and was told to
	}
	dashboard, err := ray.NewDashboard("http://"+head.DashboardAddress(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dashboard.Close()
	gcs, err := ray.DialGCS(t.Context(), head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	s := shownTasks{t, session, dashboard, gcs, namespace}

	for _, subject := range subjects {
		t.Run(subject, func(t *testing.T) { s.t = t; s.calls(subject, silent) })
	}
	t.Run("a call that runs", func(t *testing.T) { s.t = t; s.running() })
	t.Run("the last call", func(t *testing.T) { s.t = t; s.last() })
	t.Run("turned off", func(t *testing.T) { s.t = t; s.off() })
	t.Run("a GCS that is away", func(t *testing.T) { s.t = t; s.away() })
	t.Run("the timeline", func(t *testing.T) { s.t = t; s.timeline(head) })
	t.Run("calls out of an actor", func(t *testing.T) { s.t = t; s.callsOut() })
}

type shownTasks struct {
	t         *testing.T
	session   *ray.Session
	dashboard *ray.Dashboard
	gcs       *ray.GCS
	namespace string
}

// direct is one that reports its calls. What it has not sent when it is closed is sent then.
func (s shownTasks) direct() *ray.Direct {
	s.t.Helper()
	d, err := ray.NewDirect(s.gcs, ray.DirectOptions{TaskEvents: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s shownTasks) actor(name string) ray.ActorInfo {
	s.t.Helper()
	info, err := s.gcs.NamedActor(s.t.Context(), s.namespace, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return info
}

// create makes another Go actor.
func (s shownTasks) create(class, name string, env map[string]string, methods ...string) *ray.ActorHandle {
	s.t.Helper()
	c, err := s.session.GoClass(s.t.Context(), class, methods)
	if err != nil {
		s.t.Fatal(err)
	}
	runtimeEnv := goActorEnv(s.t.Context(), s.t, s.session)
	runtimeEnv.EnvVars = env
	h, err := s.session.CreateActor(s.t.Context(), c, ray.ActorOptions{Name: name, Detached: true, RuntimeEnv: runtimeEnv}, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := h.Call(s.t.Context(), "__ray_ready__"); err != nil {
		s.t.Fatal(err)
	}
	return h
}

// await returns the tasks of an actor when they are as ok wants them.
func (s shownTasks) await(actorID string, ok func([]ray.StateTask) bool) []ray.StateTask {
	s.t.Helper()
	var last ray.StateList[ray.StateTask]
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		last, err = s.dashboard.Tasks(s.t.Context(), ray.StateOptions{Detail: true, Filters: []ray.StateFilter{{Key: "actor_id", Value: actorID}}})
		if err == nil && ok(last.Items) {
			return last.Items
		}
	}
	s.t.Fatalf("the state API has %+v, %v", last, err)
	return nil
}

// shown are those of a name that have run and ended.
func shown(tasks []ray.StateTask, name string) (found []ray.StateTask) {
	for _, task := range tasks {
		if task.Name == name && (task.State == "FINISHED" || task.State == "FAILED") && task.StartTimeMS != 0 {
			found = append(found, task)
		}
	}
	return found
}

// calls makes the same calls through the session and directly, of an actor in Go or Python, and finds them.
func (s shownTasks) calls(name string, silent *ray.Direct) {
	t, ctx := s.t, s.t.Context()
	info := s.actor(name)
	handle, err := s.session.GetActor(ctx, name, s.namespace)
	if err != nil {
		t.Fatal(err)
	}
	direct := s.direct()
	before := time.Now().UnixMilli()
	for way, call := range map[string]func(method string, arg any) error{
		"session": func(method string, arg any) error { _, err := handle.Call(ctx, method, arg); return err },
		"direct": func(method string, arg any) error {
			_, err := direct.Call(ctx, s.namespace, name, method, arg)
			return err
		},
	} {
		if err := call("echo", way); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if _, ok := errors.AsType[*ray.TaskError](call("fail", "by way of "+way)); !ok {
			t.Errorf("%s: no error", way)
		}
	}
	if _, err := silent.Call(ctx, s.namespace, name, "size", []byte("not to be seen")); err != nil {
		t.Error(err)
	}
	streams := 0
	if s.session.Info().RayVersion == "2.60.0" {
		streams = 1
		for _, err := range direct.Stream(ctx, s.namespace, name, "count", 3, "") {
			if err != nil {
				t.Error(err)
			}
		}
	}
	after := time.Now().UnixMilli()
	if err := direct.Close(ctx); err != nil {
		t.Error(err)
	}
	tasks := s.await(info.ID, func(tasks []ray.StateTask) bool {
		return len(shown(tasks, "Subject.echo")) == 2 && len(shown(tasks, "Subject.fail")) == 2 && len(shown(tasks, "Subject.count")) == streams
	})
	failures := map[string]bool{"by way of session": true, "by way of direct": true}
	for _, task := range tasks {
		if task.ActorID != info.ID || task.WorkerPID != info.PID || task.JobID != info.ID[24:] {
			t.Errorf("%+v of the actor %+v", task, info)
		}
		if task.Type == "ACTOR_CREATION_TASK" { // of which Ray does not say where
			if task.State != "FINISHED" || task.StartTimeMS == 0 {
				t.Errorf("the creation: %+v", task)
			}
			continue
		}
		if task.Type != "ACTOR_TASK" || task.Function != task.Name || task.NodeID != info.NodeID || task.WorkerID != info.WorkerID {
			t.Errorf("%+v of the actor %+v", task, info)
		}
		switch task.Name {
		case "Subject.echo", "Subject.count":
			if task.State != "FINISHED" {
				t.Errorf("%+v", task)
			}
		case "Subject.fail":
			maps.DeleteFunc(failures, func(text string, _ bool) bool { return strings.Contains(task.ErrorMessage, text) })
			if task.State != "FAILED" || task.ErrorType != "TASK_EXECUTION_EXCEPTION" {
				t.Errorf("%+v", task)
			}
		default: // what the test did before
			continue
		}
		if times := []int64{before, task.CreationMS, task.StartTimeMS, task.EndTimeMS, after}; !increasing(times) {
			t.Errorf("%s: %d, from %d to %d", task.Name, times, before, after)
		}
	}
	if len(failures) > 0 {
		t.Errorf("not shown: errors %v", failures)
	}
	for _, task := range tasks {
		if strings.HasSuffix(task.Name, "size") {
			t.Errorf("%+v is of a caller that asked for no events", task)
		}
	}
}

func increasing(times []int64) bool {
	for i, n := range times[1:] {
		if n < times[i] {
			return false
		}
	}
	return true
}

// callsOut finds the calls that a Go actor makes, under that from which it makes them.
func (s shownTasks) callsOut() {
	t, ctx := s.t, s.t.Context()
	direct := s.direct()
	from, to := s.actor(subjects[0]), s.actor(subjects[1])
	if size, err := direct.Call(ctx, s.namespace, subjects[0], "forward", subjects[1], "size", []byte("seen")); err != nil || size != int64(4) {
		t.Errorf("%v, %v", size, err)
	}
	if err := direct.Close(ctx); err != nil {
		t.Error(err)
	}
	parents := shown(s.await(from.ID, func(tasks []ray.StateTask) bool { return len(shown(tasks, "Subject.forward")) == 1 }), "Subject.forward")
	called := shown(s.await(to.ID, func(tasks []ray.StateTask) bool { return len(shown(tasks, "Subject.size")) == 1 }), "Subject.size")
	if called[0].ParentTaskID != parents[0].TaskID || called[0].WorkerID != to.WorkerID || called[0].State != "FINISHED" {
		t.Errorf("%+v was called by %+v", called[0], parents[0])
	}
}

// running finds calls while they run, and after they were cancelled and killed.
func (s shownTasks) running() {
	t := s.t
	s.create("Counter", "held", nil, "hold")
	info := s.actor("held")
	direct := s.direct()
	in := func(state string, n int) func([]ray.StateTask) bool {
		return func(tasks []ray.StateTask) bool {
			tasks = slices.DeleteFunc(tasks, func(task ray.StateTask) bool {
				return task.Name != "Counter.hold" || task.State != state || task.WorkerPID != info.PID || task.StartTimeMS == 0
			})
			return len(tasks) == n
		}
	}
	for i, how := range []struct {
		end  func(cancel func())
		want error
	}{
		{func(cancel func()) { cancel() }, context.Canceled},
		{func(func()) { end(t, info.PID, syscall.SIGKILL) }, ray.ErrActorUnavailable},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := direct.Call(ctx, s.namespace, "held", "hold")
			ended <- err
		}()
		s.await(info.ID, in("RUNNING", 1))
		how.end(cancel)
		if err := <-ended; !errors.Is(err, how.want) {
			t.Errorf("%v, not %v", err, how.want)
		}
		s.await(info.ID, in("FAILED", i+1))
		cancel()
	}
	if err := direct.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// last finds the last call of an actor that ends right after it.
func (s shownTasks) last() {
	t := s.t
	s.create("Subject", "ending", nil, "echo")
	info := s.actor("ending")
	direct := s.direct()
	if _, err := direct.Call(t.Context(), s.namespace, "ending", "echo", 1); err != nil {
		t.Fatal(err)
	}
	end(t, info.PID, syscall.SIGTERM)
	if err := direct.Close(t.Context()); err != nil {
		t.Error(err)
	}
	s.await(info.ID, func(tasks []ray.StateTask) bool {
		found := shown(tasks, "Subject.echo")
		return len(found) == 1 && found[0].State == "FINISHED" && found[0].WorkerPID == info.PID
	})
}

// off finds nothing that an actor with Ray's switch said, while it finds what the session's server says of the call.
func (s shownTasks) off() {
	t := s.t
	for _, actor := range []struct{ name, interval string }{{"off", "0"}, {"on", "100"}} { // in this order
		h := s.create("Subject", actor.name, map[string]string{"RAY_task_events_report_interval_ms": actor.interval}, "echo")
		if _, err := h.Call(t.Context(), "echo", 1); err != nil {
			t.Fatal(err)
		}
	}
	on, off := s.actor("on").ID, s.actor("off").ID
	s.await(on, func(tasks []ray.StateTask) bool { return len(shown(tasks, "Subject.echo")) == 1 })
	tasks := s.await(off, func(tasks []ray.StateTask) bool {
		for _, task := range tasks {
			if task.Name == "Subject.echo" && task.State == "FINISHED" {
				return true
			}
		}
		return false
	})
	for _, task := range tasks {
		if task.WorkerPID != 0 || task.StartTimeMS != 0 {
			t.Errorf("%+v", task)
		}
	}
}

// away stops the GCS: calls go on, and so does the end of a process. What happened meanwhile is shown afterwards.
func (s shownTasks) away() {
	t := s.t
	names := []string{"staying", "leaving"}
	ids, pids := map[string]string{}, map[string]int{}
	direct := s.direct()
	for _, name := range names {
		s.create("Subject", name, nil, "echo")
		info := s.actor(name)
		ids[name], pids[name] = info.ID, info.PID
		if _, err := direct.Call(t.Context(), s.namespace, name, "echo", 0); err != nil { // it is found
			t.Fatal(err)
		}
	}
	const calls = 50
	gcs := raytest.Process(t, "--gcs_server_port=")
	raytest.Halt(t, gcs)
	stopped := true
	goOn := func() {
		if stopped {
			end(t, gcs, syscall.SIGCONT)
		}
		stopped = false
	}
	defer goOn()
	for n := range calls {
		for _, name := range names {
			if v, err := direct.Call(t.Context(), s.namespace, name, "echo", n); err != nil || v != int64(n) {
				t.Errorf("%s: %v, %v", name, v, err)
			}
		}
	}
	end(t, pids["leaving"], syscall.SIGTERM)
	for by := time.Now().Add(patience); syscall.Kill(pids["leaving"], 0) == nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(by) {
			t.Error("the process waits for a GCS that does not answer")
			break
		}
	}
	goOn()
	s.await(ids["staying"], func(tasks []ray.StateTask) bool { return len(shown(tasks, "Subject.echo")) == calls+1 })
	if err := direct.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// timeline compares what Ray's timeline has of the two subjects.
func (s shownTasks) timeline(head *rayhead.Head) {
	t := s.t
	out := raytest.Python(t, `
import json, os, ray
ray.init(os.environ["GCS"], logging_level="ERROR", log_to_driver=False)
print("timeline:", json.dumps([e for e in ray.timeline() if e["cat"].startswith("task::")]))
`, "GCS="+head.GCSAddress())
	_, text, _ := strings.Cut(out, "timeline: ")
	var events []struct {
		Cat, Name, PID, TID, Ph string
		TS, Dur                 float64
		Args                    map[string]any
	}
	if err := json.Unmarshal([]byte(text), &events); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	found := map[string][]string{} // by actor
	for _, e := range events {
		for _, name := range subjects {
			if info := s.actor(name); e.TID == "worker:"+info.WorkerID {
				_, task := e.Args["task_id"].(string)
				call := strings.TrimPrefix(e.Cat, "task::"+name+":") // that of the creation begins with the actor's name
				found[name] = append(found[name], fmt.Sprint(call, e.Name, e.PID == info.IP, e.Ph, e.TS > 0, e.Dur > 0, task))
			}
		}
	}
	for _, calls := range found {
		slices.Sort(calls)
	}
	if goCalls, pyCalls := found[subjects[0]], found[subjects[1]]; len(pyCalls) < 5 || !slices.Equal(goCalls, pyCalls) {
		t.Errorf("the timeline has of the actor in Go\n%q\nin Python\n%q", goCalls, pyCalls)
	}
}
