package worker_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/worker"
)

// program builds the test program and packs it as Ray wants it. It returns the path of the package and its URI.
func program(t *testing.T) (path, uri string) {
	t.Helper()
	content, err := os.ReadFile(raytest.BuildGo(t, "./worker/internal/testworker"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	header := &zip.FileHeader{Name: "testworker", Method: zip.Deflate}
	header.SetMode(0o755) // Ray leaves files without a mode as they come, which is not executable
	w, err := z.CreateHeader(header)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "package.zip")
	if err := os.WriteFile(path, archive.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, fmt.Sprintf("gcs://_ray_pkg_%x.zip", sha256.Sum256(archive.Bytes()))
}

// findings are what a Python driver found, by name, and everything that it printed.
type findings struct {
	t      *testing.T
	values map[string]json.RawMessage
	output string
}

func drive(t *testing.T, python, address, dashboard, uri, path, conformance string) findings {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	findingsPath := filepath.Join(t.TempDir(), "findings")
	cmd := exec.CommandContext(ctx, python, "testdata/driver.py", address, dashboard, "worker-tests-"+address[:3], uri, path, findingsPath, conformance)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "RAY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PYTHONPATH="+raytest.PythonPath(t)) // a driver imports the classes of the actors that it gets
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the driver: %v\n%s", err, out)
	}
	f := findings{t, map[string]json.RawMessage{}, string(out)}
	lines, err := os.ReadFile(findingsPath)
	if err != nil {
		t.Error(err)
	}
	for line := range bytes.Lines(lines) {
		var finding struct {
			Name  string
			Value json.RawMessage
		}
		if err := json.Unmarshal(line, &finding); err != nil {
			t.Errorf("%v in %s", err, line)
		}
		f.values[finding.Name] = finding.Value
	}
	return f
}

// is checks a finding against JSON.
func (f findings) is(name, want string) {
	f.t.Helper()
	if got := string(f.values[name]); got != want {
		f.t.Errorf("%s: %s, not %s", name, got, want)
	}
}

// raised checks that a finding is an exception of a class and has these texts.
func (f findings) raised(name, class string, texts ...string) {
	f.t.Helper()
	var e struct {
		Raised []string
		Text   string
	}
	_ = json.Unmarshal(f.values[name], &e)
	for _, c := range e.Raised {
		if c != class {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(e.Text, text) {
				f.t.Errorf("%s: %q is not in %s", name, text, e.Text)
			}
		}
		return
	}
	f.t.Errorf("%s: %s, not %s", name, f.values[name], class)
}

func (f findings) both() {
	f.t.Helper()
	f.is("echo", "true")
	f.is("pipelined", "true")
	f.raised("error", "RuntimeError", "Counter.fail", "failed with reason")
	f.raised("error", "RayTaskError")
	f.raised("panic", "RayTaskError", "panic: runtime error: index out of range [0] with length 0", "goroutine ", "main.deep(", "testworker/main.go:")
	f.raised("goexit", "RayTaskError", "runtime.Goexit")
	f.raised("unknown method", "RayTaskError", `the Go actor class Counter has no method "missing"`)
	f.raised("constructor", "ActorDiedError", `the constructor refuses "wrong"`)
	f.raised("constructor panic", "ActorDiedError", "the constructor panics", "main.newCounter(")
	f.is("still answers", `"yes"`)
}

func TestAProgramThatCannotBeAWorkerSaysWhy(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	binary := raytest.BuildGo(t, "./worker/internal/testworker")
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "to be started by a raylet only"},
		{append(rayletArgs(), "--startup-token=7"), 1, `level=ERROR msg="this process cannot be a Ray worker" error="Ray's version: the raylet of Ray 2.60.0 starts workers in another way`},
		{with("--gcs-address", "-"), 1, "--gcs-address: missing"},
	} {
		out, err := exec.Command(binary, test.args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != test.code || !strings.Contains(string(out), test.want) {
			t.Errorf("%q: %v, %s", test.args, err, out)
		}
	}
}

func TestOnARealRay(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Ray")
	}
	python := raytest.VenvPython(t)
	path, uri := program(t)
	temp, err := os.MkdirTemp("", "rw") // short, for Ray's sockets, and kept longer than the head for its logs
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 2, Dashboard: true, TempDir: temp})
	namespace := raytest.Namespace(t)
	session, direct := subjectsOn(t, head, namespace)
	if session == nil {
		return // this Ray has no Go actors, and was told to
	}
	suite := conformanceFile(t, namespace)
	native := drive(t, python, head.GCSAddress(), head.DashboardAddress(), uri, path, suite)
	client := drive(t, python, "ray://"+head.ClientAddress(), head.DashboardAddress(), uri, path, suite)

	t.Run("through a native driver", func(t *testing.T) { native.t = t; native.both(); native.conforms("native driver") })
	t.Run("through Ray Client", func(t *testing.T) { client.t = t; client.both(); client.conforms("Ray Client") })
	t.Run("through Go", func(t *testing.T) { conformsInGo(t, session, direct, namespace) })
	t.Run("large values through Go", func(t *testing.T) { largeInGo(t, head, direct, namespace) })
	t.Run("niceness", func(t *testing.T) { nicenessOfActors(t, head, session, namespace) })
	t.Run("the tutorial", func(t *testing.T) { tutorial(t, head) })
	t.Run("calls out of an actor", func(t *testing.T) { callsOut(t, direct, namespace) })
	t.Run("arguments and results", func(t *testing.T) {
		f := native
		f.t = t
		f.is("same by name", string(f.values["pid"]))
		f.is("keyword", `{"given": true, "positional": 1, "value": [2]}`)
		f.is("several", `["one", 2, "b'three'"]`)
		f.raised("several wrong", "RayTaskError", "wants 2 return values")
		f.raised("unsendable", "RayTaskError", "chan int cannot be sent")
		f.is("reference to a result", `"small"`) // Ray inlines it
		f.raised("reference to an object", "RayTaskError", "argument 0 is an object reference")
		f.is("large argument", strconv.Itoa(worker.MaxValue))
		f.is("large result", strconv.Itoa(worker.MaxValue))
		f.raised("larger argument", "RayTaskError", "argument 0 is an object reference", "RAY_max_direct_call_object_size=16778240")
		f.raised("larger result", "RayTaskError", "value too large for a Go actor: the result has 17000000 bytes")
		client.t = t
		client.is("large argument", strconv.Itoa(worker.MaxValue))
		client.is("large result", strconv.Itoa(worker.MaxValue))
		f.is("tuple", `{"value": [1, "two"]}`)
		f.is("recorded in order", "true")
		f.raised("normal task", "RayTaskError", "runs actors only")
	})
	t.Run("streams", func(t *testing.T) {
		f := native
		f.t = t
		if session.Info().RayVersion != "2.60.0" {
			f.raised("stream", "RayTaskError", "Go actors stream on Ray 2.60 only")
			return
		}
		f.is("stream", "true")
		f.raised("stream error", "RuntimeError", "Counter.stream", "after the last")
		f.raised("stream as a value", "RayTaskError", "the method streams its results", "Direct.Stream", "declare stream as a generator")
		f.raised("stream of another", "ValueError", "generator") // what the text warns of
		f.raised("a value as a stream", "RayTaskError", "the method does not stream its results")
		f.is("stream with back-pressure", "true")
		f.raised("stream cancelled", "TaskCancelledError")
		f.is("stream was held back", "true")
		f.is("stream dropped, held back False", `"free again"`)
		f.is("stream dropped, held back True", `"free again"`)
		f.is("stream to one who is late", "true")
		f.raised("stream in asyncio", "RuntimeError", "after the last")
		streamsToGo(t, direct, namespace)
	})
	t.Run("concurrency and cancellation", func(t *testing.T) {
		f := native
		f.t = t
		f.is("rendezvous", `["met", "met", "met", "met"]`)
		f.is("groups", `["met", "met"]`)
		f.raised("no group", "RayTaskError", "no such concurrency group")
		f.raised("cancel running", "TaskCancelledError", "hold: context canceled")
		f.raised("cancel waiting", "TaskCancelledError")
		f.raised("cancel in front", "TaskCancelledError")
		f.is("after cancel", `"after"`)
	})
	t.Run("state API and logs", func(t *testing.T) {
		f := native
		f.t = t
		f.is("list_actors", `[["Counter", "ALIVE", true]]`)
		f.is("list_workers", `[["WORKER", true]]`)
		for _, text := range []string{"(Counter pid=", "to stdout: hello from Go", `level=INFO msg="to the log" what="hello from Go"`} {
			if !strings.Contains(f.output, text) {
				t.Errorf("the driver did not show %q", text)
			}
		}
	})
	t.Run("ends of processes", func(t *testing.T) {
		f := native
		f.t = t
		for _, name := range []string{"killed -9", "exit restarts", "crash restarts", "kill restarts", "sigterm", "kill", "terminated", "out of scope", "drained", "asked to end"} {
			f.is(name, "true")
		}
		f.is("restarted without state", "6")
		f.is("max_task_retries", `"again"`)
		f.raised("no retries", "RayActorError")
		f.raised("restarts used up", "ActorDiedError", "worker process has died")
		f.is("draining", "2")
		f.raised("drained call", "ActorDiedError")
		asked := []string{"sigterm", "terminated"}
		if !strings.HasPrefix(raytest.RayVersion(t), "2.48.") { // which kills an actor without handles at once
			asked = append(asked, "scoped")
		}
		for _, how := range asked {
			if !printed(t, head, "OnExit of on-"+how) {
				t.Errorf("OnExit did not run when %s", how)
			}
		}
		f.raised("exit", "RayActorError")
		f.raised("crash", "RayActorError")
		f.raised("killed call", "ActorDiedError")
		f.is("constructor state", `"DEAD"`)
	})
	t.Run("calls that were given up", func(t *testing.T) { givenUp(t, session, direct, namespace) })
	t.Run("a package for several platforms", func(t *testing.T) { joinedPackage(t, session) })
	t.Run("restarts are used up", func(t *testing.T) { restartsAreUsedUp(t, head, session, direct, namespace) })
	t.Run("arguments by reference", func(t *testing.T) { byReference(t, session, direct, namespace) })
	t.Run("stopped processes", func(t *testing.T) { stopped(t, direct, namespace, pidsOf(t, head, namespace)) })
	t.Run("killed while constructed", func(t *testing.T) { killedWhileConstructed(t, head, session) })
	t.Run("nothing that can be called kills it", func(t *testing.T) { nothingKills(t, session, direct, namespace) })
	t.Run("killed at random", func(t *testing.T) { t.Log(killAtRandom(t, head, session, 15*time.Second)) })
	t.Run("nothing is left", func(t *testing.T) { nothingIsLeft(t, native, head) })
	if t.Failed() {
		t.Logf("native driver:\n%s\nRay Client:\n%s", native.output, client.output)
	}
}

// printed waits until a worker of the head has printed a text: into Ray's log, which outlives the worker. The driver gets it later.
func printed(t *testing.T, head *rayhead.Head, text string) bool {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		logs, err := filepath.Glob(filepath.Join(head.TempDir(), "session_latest", "logs", "worker-*.out"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range logs {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(content, []byte(text)) {
				return true
			}
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// nothingIsLeft kills the raylet, after which an actor has to end by itself, and then stops the head.
func nothingIsLeft(t *testing.T, f findings, head *rayhead.Head) {
	t.Helper()
	var pids []int // of an actor and of the raylet, its parent
	if err := json.Unmarshal(f.values["left"], &pids); err != nil || len(pids) != 2 {
		t.Fatalf("left: %s", f.values["left"])
	}
	if len(workers(t, head)) == 0 {
		t.Error("no worker runs before the end, so the check shows nothing")
	}
	if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gone := time.Now().Add(patience)
	for len(workers(t, head)) > 0 && time.Now().Before(gone) {
		time.Sleep(20 * time.Millisecond)
	}
	if left := workers(t, head); len(left) > 0 {
		t.Errorf("worker processes outlive their raylet: %v", left)
	}
	head.Kill()
	if left := workers(t, head); len(left) > 0 {
		t.Errorf("worker processes outlive their head: %v", left)
	}
	logs, err := filepath.Glob(filepath.Join(head.TempDir(), "session_latest", "logs", fmt.Sprintf("worker-*-%d.err", pids[0])))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs of the worker: %v, %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil || !strings.Contains(string(log), "the raylet is gone") {
		t.Errorf("the worker did not end by itself (%v): %s", err, log)
	}
}

// workers finds the processes whose program Ray unpacked.
func workers(t *testing.T, head *rayhead.Head) []string {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, head.TempDir()) {
			found = append(found, link)
		}
	}
	return found
}
