package ray_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func dashboard(t *testing.T, address string, credentials *ray.Credentials) *ray.Dashboard {
	t.Helper()
	d, err := ray.NewDashboard(address, credentials)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestDashboard(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a head of its own")
	}
	t.Parallel()
	head := raytest.NewHead(t, rayhead.Config{Dashboard: true})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := open(t, ray.Config{Address: head.ClientAddress()})
	url, err := s.DashboardURL(ctx)
	if err != nil || url != head.DashboardAddress() {
		t.Fatalf("%q, %v", url, err)
	}
	d := dashboard(t, url, nil)
	if version, err := d.RayVersion(ctx); version != s.Info().RayVersion {
		t.Errorf("%q, %v", version, err)
	}
	source := "class Sleeper:\n    def value(self):\n        return 7\n"
	class, err := s.Class(ctx, ray.Function{Name: "Sleeper", Source: source})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		actor, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: fmt.Sprint("sleeper-", i)})
		if err != nil {
			t.Fatal(err)
		}
		if err := second(actor.Call(ctx, "value")); err != nil {
			t.Fatal(err)
		}
	}
	actors, err := d.Actors(ctx, ray.StateOptions{Filters: []ray.StateFilter{{Key: "state", Value: "ALIVE"}}, Detail: true})
	if err != nil || len(actors.Items) != 3 || actors.Truncated || actors.Items[0].ClassName != "Sleeper" || actors.Items[0].Namespace != s.Info().Namespace || actors.Items[0].PID == 0 {
		t.Errorf("%+v, %v", actors, err)
	}
	actors, err = d.Actors(ctx, ray.StateOptions{Limit: 2})
	if err != nil || len(actors.Items) != 2 || !actors.Truncated || actors.Matching != 3 {
		t.Errorf("cut: %+v, %v", actors, err)
	}
	actors, err = d.Actors(ctx, ray.StateOptions{Filters: []ray.StateFilter{{Key: "name", Not: true, Value: "sleeper-1"}}})
	if err != nil || len(actors.Items) != 2 {
		t.Errorf("%+v, %v", actors, err)
	}
	nodes, err := d.Nodes(ctx, ray.StateOptions{})
	if err != nil || len(nodes.Items) != 1 || !nodes.Items[0].IsHeadNode || nodes.Items[0].NodeID != s.Info().NodeID || nodes.Items[0].ResourcesTotal["CPU"] == 0 {
		t.Errorf("%+v, %v", nodes, err)
	}
	workers, err := d.Workers(ctx, ray.StateOptions{Detail: true, Timeout: 20 * time.Second})
	if err != nil || len(workers.Items) < 4 || workers.Items[0].PID == 0 {
		t.Errorf("%+v, %v", workers, err)
	}
	waitFor(t, "the tasks to be known", func() bool {
		tasks, err := d.Tasks(ctx, ray.StateOptions{Filters: []ray.StateFilter{{Key: "name", Value: "Sleeper.value"}}})
		return err == nil && len(tasks.Items) == 3 && tasks.Items[0].State == "FINISHED"
	})
	for name, err := range map[string]error{
		"limit":   second(d.Nodes(ctx, ray.StateOptions{Limit: ray.MaxStateLimit + 1})),
		"timeout": second(d.Nodes(ctx, ray.StateOptions{Timeout: 1})),
	} {
		if !errors.Is(err, ray.ErrInvalidOption) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v", name, err)
		}
	}
	testDetails(ctx, t, d, s)
	// The timeline tells of the same calls.
	waitFor(t, "the timeline", func() bool {
		events, err := s.Timeline(ctx)
		return err == nil && json.Valid(events) && bytes.Contains(events, []byte("Sleeper.value"))
	})
	where, err := s.RuntimeContext(ctx)
	if err != nil || where.JobID != s.Info().JobID || where.Namespace != s.Info().Namespace ||
		(where.WorkerID == "") != raytest.RayBefore(t, "2.60") || (where.SessionName == "") != raytest.RayBefore(t, "2.54") {
		t.Errorf("%+v, %v", where, err)
	}
	testJobs(ctx, t, d, s)
	testDashboardThroughATunnel(ctx, t, url, s)
}

func testDashboardThroughATunnel(ctx context.Context, t *testing.T, url string, s *ray.Session) {
	const name = "dashboard.behind-a-tunnel:8265"
	d, err := ray.NewDashboardWith(name, ray.DashboardOptions{Dial: func(ctx context.Context, address string) (net.Conn, error) {
		if address != name {
			return nil, fmt.Errorf("%s was dialled", address)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", url)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if version, err := d.RayVersion(ctx); version != s.Info().RayVersion || err != nil {
		t.Errorf("%q, %v", version, err)
	}
	id, err := d.SubmitJob(ctx, ray.JobSpec{Entrypoint: "echo from afar"})
	if err != nil {
		t.Fatal(err)
	}
	var followed strings.Builder
	if err := d.FollowJobLogs(ctx, id, &followed); err != nil || !strings.Contains(followed.String(), "from afar") {
		t.Errorf("%q, %v", followed.String(), err)
	}
}

// A dialer that fails is told of, and nothing was sent.
func TestDashboardDialerFails(t *testing.T) {
	reason := errors.New("the tunnel is closed")
	for name, dial := range map[string]ray.Dialer{
		"an error": func(context.Context, string) (net.Conn, error) { return nil, reason },
		"nothing":  func(context.Context, string) (net.Conn, error) { return nil, nil },
	} {
		d, err := ray.NewDashboardWith("head:8265", ray.DashboardOptions{Dial: dial})
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{second(d.RayVersion(t.Context())), d.FollowJobLogs(t.Context(), "x", &bytes.Buffer{})} {
			if !errors.Is(err, ray.ErrNoDashboard) || ray.SentOf(err) != ray.SentNo || name == "an error" && !errors.Is(err, reason) {
				t.Errorf("%s: %v", name, err)
			}
		}
		d.Close()
	}
}

// Every kind of list can be had with details, and their times are of now.
func testDetails(ctx context.Context, t *testing.T, d *ray.Dashboard, s *ray.Session) {
	if _, err := call(t, s, ray.Function{Name: "unseen", Source: "def unseen():\n    pass\n"}, ray.TaskOptions{NoTaskEvents: true}); err != nil {
		t.Fatal(err)
	}
	// What was to leave no trace was over before the one whose trace is awaited began.
	ref, err := s.Submit(ctx, ray.Function{Name: "fail", Source: "def fail():\n    raise ValueError('on purpose')\n"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, ref); err == nil {
		t.Fatal("it did not raise")
	}
	now := func(what string, ms int64) {
		t.Helper()
		if at := time.UnixMilli(ms); time.Since(at).Abs() > 10*time.Minute {
			t.Errorf("%s: %v", what, at)
		}
	}
	detail := ray.StateOptions{Detail: true}
	waitFor(t, "the task to have failed", func() bool {
		tasks, err := d.Tasks(ctx, ray.StateOptions{Detail: true, Filters: []ray.StateFilter{{Key: "name", Value: "fail"}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(tasks.Items) != 1 || tasks.Items[0].State != "FAILED" || tasks.Items[0].StartTimeMS == 0 { // Ray learns of the parts apart
			return false
		}
		task := tasks.Items[0]
		now("task creation", task.CreationMS)
		now("task start", task.StartTimeMS)
		now("task end", task.EndTimeMS)
		if task.Function != "fail" || task.ErrorType == "" || !strings.Contains(task.ErrorMessage, "on purpose") || task.CreationMS > task.StartTimeMS || task.StartTimeMS > task.EndTimeMS {
			t.Errorf("%+v", task)
		}
		return true
	})
	tasks, err := d.Tasks(ctx, detail)
	for _, task := range tasks.Items {
		if task.Function == "unseen" {
			t.Errorf("%+v", task)
		}
	}
	if err != nil || len(tasks.Items) < 7 {
		t.Errorf("%+v, %v", tasks, err)
	}
	if actors, err := d.Actors(ctx, detail); err != nil || len(actors.Items) != 3 || actors.Items[0].NumRestarts != "0" {
		t.Errorf("%+v, %v", actors, err)
	}
	nodes, err := d.Nodes(ctx, detail)
	if err != nil || len(nodes.Items) != 1 {
		t.Fatalf("%+v, %v", nodes, err)
	}
	now("node start", nodes.Items[0].StartTimeMS)
	workers, err := d.Workers(ctx, detail)
	if err != nil || len(workers.Items) == 0 {
		t.Fatalf("%+v, %v", workers, err)
	}
	now("worker start", workers.Items[0].StartTimeMS)
	if jobs, err := d.Jobs(ctx, detail); err != nil || len(jobs.Items) == 0 {
		t.Errorf("%+v, %v", jobs, err)
	}
}

func testJobs(ctx context.Context, t *testing.T, d *ray.Dashboard, s *ray.Session) {
	python := raytest.VenvPython(t)
	id, err := d.SubmitJob(ctx, ray.JobSpec{
		Entrypoint: python + ` -c "import os, time; print('first', flush=True); time.sleep(1); print(os.environ['WHO'])"`,
		RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"WHO": "a job"}}, Metadata: map[string]string{"k": "v"},
	})
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"hello.py": {Data: []byte("print('shipped for " + s.ID() + "')")}}
	for range 2 { // it is there the second time
		uri, err := d.UploadPackage(ctx, packageOf(t, files))
		if err != nil {
			t.Fatal(err)
		}
		shipped, err := d.SubmitJob(ctx, ray.JobSpec{Entrypoint: python + " hello.py", RuntimeEnv: &ray.RuntimeEnv{WorkingDir: uri}})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := d.WaitJob(ctx, shipped); err != nil || info.Status != ray.JobSucceeded {
			t.Errorf("%+v, %v", info, err)
		}
		if logs, err := d.JobLogs(ctx, shipped); err != nil || !strings.Contains(logs, "shipped for "+s.ID()) {
			t.Errorf("%q, %v", logs, err)
		}
	}
	var followed strings.Builder
	if err := d.FollowJobLogs(ctx, id, &followed); err != nil || !strings.Contains(followed.String(), "first\n") || !strings.Contains(followed.String(), "a job\n") {
		t.Errorf("%q, %v", followed.String(), err)
	}
	info, err := d.WaitJob(ctx, id)
	if err != nil || info.Status != ray.JobSucceeded || info.SubmissionID != id || info.Metadata["k"] != "v" || info.EndTimeMS == 0 {
		t.Errorf("%+v, %v", info, err)
	}
	if logs, err := d.JobLogs(ctx, id); err != nil || !strings.Contains(logs, "a job") {
		t.Errorf("%q, %v", logs, err)
	}
	jobs, err := d.Jobs(ctx, ray.StateOptions{})
	if err != nil || len(jobs.Items) < 2 { // the session is one, too
		t.Errorf("%+v, %v", jobs, err)
	}
	if err := d.DeleteJob(ctx, id); err != nil {
		t.Error(err)
	}
	for what, err := range map[string]error{
		"wait": second(d.WaitJob(ctx, id)), "stop": second(d.StopJob(ctx, id)), "delete": d.DeleteJob(ctx, id), "logs": second(d.JobLogs(ctx, id)),
	} {
		if !errors.Is(err, ray.ErrNotFound) {
			t.Errorf("%s of an unknown job: %v", what, err)
		}
	}
	if _, err := d.JobInfo(ctx, id); !errors.Is(err, ray.ErrNotFound) {
		t.Errorf("a job that was deleted: %v", err)
	}
	long, err := d.SubmitJob(ctx, ray.JobSpec{Entrypoint: "sleep 600", SubmissionID: "long-one"})
	if err != nil || long != "long-one" {
		t.Fatalf("%q, %v", long, err)
	}
	if err := second(d.SubmitJob(ctx, ray.JobSpec{Entrypoint: "true", SubmissionID: "long-one"})); !errors.Is(err, ray.ErrJobExists) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("the same job again: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := d.FollowJobLogs(short, long, &followed); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("following for a second: %v", err)
	}
	waitFor(t, "the job to run", func() bool {
		info, err := d.JobInfo(ctx, long)
		return err == nil && info.Status == ray.JobRunning
	})
	if stopped, err := d.StopJob(ctx, long); !stopped || err != nil {
		t.Errorf("%v, %v", stopped, err)
	}
	if info, err := d.WaitJob(ctx, long); err != nil || info.Status != ray.JobStopped {
		t.Errorf("%+v, %v", info, err)
	}
	for field, spec := range map[string]ray.JobSpec{
		"entrypoint": {}, "submission id": {Entrypoint: "x", SubmissionID: "a/b"}, "num cpus": {Entrypoint: "x", NumCPUs: -1},
		"env vars": {Entrypoint: "x", RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"": "x"}}},
	} {
		if _, err := d.SubmitJob(ctx, spec); !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// The times of a task are floats on some versions of Ray, and integers or null elsewhere; what is read is written as it was.
func FuzzStateTask(f *testing.F) {
	for _, seed := range []string{
		`{"creation_time_ms": 1795937731084.0, "start_time_ms": 1795937731085, "end_time_ms": null, "name": "f"}`,
		`{"creation_time_ms": 1e300}`, `{"start_time_ms": 0.5}`, `{"end_time_ms": "1"}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var task, again ray.StateTask
		if json.Unmarshal(text, &task) != nil {
			return
		}
		written, err := json.Marshal(task)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || again != task {
			t.Errorf("%+v, %+v, %v", task, again, err)
		}
	})
}

func TestStateTaskTimes(t *testing.T) {
	var task ray.StateTask
	text := `{"creation_time_ms": 1795937731084.0, "start_time_ms": 1795937731085, "end_time_ms": null, "name": "f"}`
	want := ray.StateTask{Name: "f", CreationMS: 1795937731084, StartTimeMS: 1795937731085}
	if err := json.Unmarshal([]byte(text), &task); err != nil || task != want {
		t.Errorf("%+v, %v", task, err)
	}
	for _, bad := range []string{`{"creation_time_ms": 1e300}`, `{"start_time_ms": 0.5}`, `{"end_time_ms": "1"}`} {
		if err := json.Unmarshal([]byte(bad), &task); err == nil {
			t.Errorf("%s passes: %+v", bad, task)
		}
	}
}

// What a dashboard may answer that Ray's own does not when it is well.
func TestDashboardRefusals(t *testing.T) {
	var answer func(w http.ResponseWriter, r *http.Request)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	d := dashboard(t, server.URL, &ray.Credentials{Token: ray.StaticToken("the-token")})
	status := func(code int, body string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   error
		text   string
	}{
		"no token":       {status(http.StatusUnauthorized, "who?"), ray.ErrUnauthenticated, "who?"},
		"a wrong one":    {status(http.StatusForbidden, "no"), ray.ErrUnauthenticated, "403"},
		"unknown":        {status(http.StatusNotFound, "no such job"), ray.ErrNotFound, "no such job"},
		"too many":       {status(http.StatusTooManyRequests, ""), ray.ErrOverloaded, "429"},
		"another server": {status(http.StatusOK, "<html>"), ray.ErrNoDashboard, server.URL},
	} {
		answer = c.answer
		for _, err := range []error{second(d.JobInfo(t.Context(), "x")), d.FollowJobLogs(t.Context(), "x", &bytes.Buffer{})} {
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || ray.SentOf(err) != ray.SentYes {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	answer = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Ray-Authorization") != "Bearer the-token" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write([]byte(`{"result": true, "msg": "", "data": {"result": {"total": 30, "num_after_truncation": 20, "num_filtered": 1,
			"result": [{"node_id": "ab"}], "partial_failure_warning": "one node is silent", "warnings": ["and old"]}}}`))
	}
	nodes, err := d.Nodes(t.Context(), ray.StateOptions{})
	if err != nil || !nodes.Truncated || nodes.Total != 30 || nodes.Warning != "one node is silent\nand old" {
		t.Errorf("%+v, %v", nodes, err)
	}
	// Ray answers so, with status 500 and two tracebacks.
	answer = status(http.StatusInternalServerError, "RuntimeError: ... ValueError: Job with submission_id mine already exists. Please use a different submission_id.")
	if err := second(d.SubmitJob(t.Context(), ray.JobSpec{Entrypoint: "true", SubmissionID: "mine"})); !errors.Is(err, ray.ErrJobExists) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v", err)
	}
	answer = status(http.StatusOK, `{"result": false, "msg": "broken"}`)
	if _, err := d.Nodes(t.Context(), ray.StateOptions{}); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("%v", err)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with the token %q", r.Header.Get("X-Ray-Authorization"))
	}))
	defer elsewhere.Close()
	for _, to := range []string{elsewhere.URL, server.URL + "/again", "http://127.0.0.1:1"} {
		answer = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
		for _, err := range []error{d.DeleteJob(t.Context(), "x"), d.FollowJobLogs(t.Context(), "x", &bytes.Buffer{})} {
			if !errors.Is(err, ray.ErrNoDashboard) || !strings.Contains(err.Error(), "redirects") || ray.SentOf(err) != ray.SentMaybe {
				t.Errorf("a redirect to %s: %v", to, err)
			}
		}
	}
	for _, address := range []string{"ftp://x", "http://", "::"} {
		if _, err := ray.NewDashboard(address, nil); err == nil {
			t.Errorf("%q is an address", address)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	nobody := dashboard(t, listener.Addr().String(), nil)
	if _, err := nobody.RayVersion(t.Context()); !errors.Is(err, ray.ErrNoDashboard) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v", err)
	}
	if err := nobody.FollowJobLogs(t.Context(), "x", &bytes.Buffer{}); !errors.Is(err, ray.ErrNoDashboard) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nobody.RayVersion(over); !errors.Is(err, context.Canceled) || errors.Is(err, ray.ErrNoDashboard) {
		t.Errorf("%v", err)
	}
	for _, id := range []string{"", ".", ".."} {
		for what, err := range map[string]error{
			"info": second(d.JobInfo(t.Context(), id)), "stop": second(d.StopJob(t.Context(), id)), "logs": second(d.JobLogs(t.Context(), id)),
			"delete": d.DeleteJob(t.Context(), id), "follow": d.FollowJobLogs(t.Context(), id, &bytes.Buffer{}), "wait": second(d.WaitJob(t.Context(), id)),
		} {
			if !errors.Is(err, ray.ErrInvalidOption) || ray.SentOf(err) != ray.SentNo {
				t.Errorf("%s of job %q: %v", what, id, err)
			}
		}
	}
}

// The address of a dashboard behind a proxy may have a password in it, and what a browser appends to it.
func TestDashboardAddress(t *testing.T) {
	answer := `{"ray_version": "1.2.3"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" || r.URL.Path != "/ray/api/version" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	d := dashboard(t, "http://me:hunter2@"+host+"/ray/?x=y#/jobs", nil)
	if version, err := d.RayVersion(t.Context()); version != "1.2.3" {
		t.Errorf("%q, %v", version, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, d); !strings.Contains(text, host) || strings.Contains(text, "hunter2") {
			t.Errorf("printed with %s: %s", verb, text)
		}
	}
	answer = "<html>"
	_, notRay := d.RayVersion(t.Context())
	server.Close()
	_, nobody := d.RayVersion(t.Context())
	for what, err := range map[string]error{
		"another server": notRay, "nobody": nobody, "a scheme": second(ray.NewDashboard("ray://me:hunter2@head:10001", nil)),
		"no URL": second(ray.NewDashboard("http://me:hunter2@head:port", nil)), "a character": second(ray.NewDashboard("http://me:hunter2@head\x7f", nil)),
	} {
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzWebSocket reads what claims to be frames of a server.
func FuzzWebSocket(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x89\x01p\x88\x02\x03\xe8"))
	f.Add([]byte("\x01\x02he\x80\x03llo\x88\x00"))
	f.Add([]byte("\x82\x7e\x01\x00" + strings.Repeat("x", 256) + "\x88\x00"))
	f.Add([]byte("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, _ := ray.ReadWebSocket(data); len(got) > len(data) {
			t.Errorf("%d bytes became %d", len(data), len(got))
		}
	})
}

func TestWebSocketFrames(t *testing.T) {
	for in, want := range map[string]string{
		"\x81\x05hello\x88\x02\x03\xe8":          "hello",
		"\x01\x02he\x89\x01p\x80\x03llo\x88\x00": "hello", // a ping in between
		"\x81\x00\x88\x00":                       "",
	} {
		if got, err := ray.ReadWebSocket([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%q became %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"\x81\x05hel", "\x81", "", "\x81\x85abcd\x00\x00\x00\x00\x00", "\x83\x00", "\x89\x7e\x01\x00", "\xf1\x00"} {
		if got, err := ray.ReadWebSocket([]byte(in)); err == nil {
			t.Errorf("%q became %q", in, got)
		}
	}
}
