package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

const (
	organID = "cognitive_organ_1"
	agentID = "cognitive_organ_1_agent_0"
)

// oneOrgan is the smallest organism.
func oneOrgan() organism.Config {
	return organism.Config{Organs: []organism.OrganConfig{{ID: organID, Type: "Cognitive", AgentCount: 1}}}
}

func pidOf(t *testing.T, conn *connector.Connector, namespace, name string) int {
	t.Helper()
	info, err := clientOf(t, conn).GCS().NamedActor(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return info.PID
}

// The process that says that it ran a task is the one that Ray's own state API names, it is our binary, and `seedcore
// status` shows the same.
func TestTheActorDoesTheWork(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{})
	e, err := org.Execute(t.Context(), organID, organism.Task{"type": "general"})
	if err != nil {
		t.Fatal(err)
	}
	pid, ok := e.Result["pid"].(int64)
	if !ok || e.AgentID != agentID {
		t.Fatalf("%+v", e)
	}
	if paths := clientOf(t, conn).Paths(); paths.Session != 0 || paths.Direct == 0 {
		t.Errorf("the call did not go directly: %+v", paths)
	}
	cmdline, err := os.ReadFile("/proc/" + itoa(pid) + "/exe")
	if err != nil || !bytes.HasPrefix(cmdline, []byte("\x7fELF")) || bytes.Contains(cmdline, []byte("libpython")) {
		t.Errorf("the process is not a Go program: %v", err)
	}

	out := raytest.Python(t, `
import json, os
from ray.util.state import list_actors
print(json.dumps([{"pid": a.pid, "state": a.state, "class": a.class_name} for a in list_actors(address=os.environ["GCS"], filters=[("name", "=", os.environ["NAME"]), ("ray_namespace", "=", os.environ["NS"])])]))
`, "GCS="+raytest.Head(t).GCSAddress(), "NS="+namespace, "NAME="+agentID)
	var rows []struct {
		PID   int64
		State string
		Class string
	}
	if err := json.Unmarshal([]byte(lastLine(out)), &rows); err != nil || len(rows) != 1 || rows[0].PID != pid || rows[0].State != "ALIVE" || rows[0].Class != "RayAgent" {
		t.Errorf("Ray's state API says %s (%v), the result says pid %d", out, err, pid)
	}

	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "status", "--json")
	if err := p.end(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	var status struct {
		Actors []struct {
			Name, Class, State string
			PID                int64
		}
	}
	if err := json.Unmarshal([]byte(p.text()), &status); err != nil {
		t.Fatalf("%v in %s", err, p.text())
	}
	found := false
	for _, a := range status.Actors {
		found = found || a.Name == agentID && a.PID == pid && a.State == "ALIVE"
	}
	if !found {
		t.Errorf("seedcore status shows %+v", status.Actors)
	}
	statusText(t, namespace, conn.Info().NodeID, pid)
}

// What a person reads of `seedcore status`: where it is connected, to what, and which processes are whose.
func statusText(t *testing.T, namespace, nodeID string, pid int64) {
	t.Helper()
	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "status")
	if err := p.end(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	row := func(words ...string) {
		t.Helper()
		for line := range strings.Lines(p.text()) {
			if fields := strings.Fields(line); len(fields) >= len(words) && slices.Equal(fields[:len(words)], words) {
				return
			}
		}
		t.Errorf("no line begins with %v in:\n%s", words, p.text())
	}
	row("connection", "connected", "asked", "ray://"+raytest.Head(t).ClientAddress()+",")
	row("namespace", namespace)
	row("calls", "direct")
	row("node", nodeID, "alive", "at")
	row("ACTOR", "CLASS", "STATE", "PID")
	row(agentID, "RayAgent", "ALIVE", itoa(pid), "0")
	row(organism.MwStoreName, "MwStore", "ALIVE")
	if strings.Contains(p.text(), "unknown") {
		t.Errorf("something is unknown:\n%s", p.text())
	}
}

// While the agent's process is stopped no task succeeds: it ends at its deadline and says that it may have run.
func TestAStoppedActorDoesNoWork(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{TaskTimeout: 2 * time.Second})
	pid := pidOf(t, conn, namespace, agentID)
	raytest.Halt(t, pid)
	resume := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	defer resume()
	_, err := org.Execute(t.Context(), organID, organism.Task{})
	if !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentMaybe {
		t.Fatalf("a task for a stopped process: %v", err)
	}
	resume()
	eventually(t, 20*time.Second, "the process works again", func() error {
		_, err := org.Execute(t.Context(), organID, organism.Task{})
		return err
	})
}

// A killed agent or organ comes back as a new process, registered again, and the next task succeeds; the call that was in
// flight ends with an error that says that it may have run.
func TestKilledActorsComeBack(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{
		TaskTimeout:       60 * time.Second,
		ReconcileInterval: time.Hour, // no other call than the test's is in flight
	})
	client := clientOf(t, conn)

	pid := pidOf(t, conn, namespace, agentID)
	raytest.Halt(t, pid) // so that the call is surely in flight
	flight := make(chan error, 1)
	go func() {
		_, err := org.Execute(t.Context(), organID, organism.Task{})
		flight <- err
	}()
	eventually(t, 10*time.Second, "the call is in flight", func() error {
		if direct, err := client.Direct(); err != nil || direct.InFlight() == 0 {
			return errorf("no call in flight, %v", err)
		}
		return nil
	})
	time.Sleep(time.Second) // let it leave; it cannot be answered
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-flight:
		if !errors.Is(err, ray.ErrActorUnavailable) || ray.SentOf(err) != ray.SentMaybe {
			t.Errorf("the call in flight: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the call in flight hangs")
	}
	if e := worksAgain(t, org, organID); e.Result["pid"] == int64(pid) {
		t.Fatalf("the next task: %+v", e)
	}

	organ := pidOf(t, conn, namespace, organID)
	if err := syscall.Kill(organ, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "the organ is back with its agents", func() error {
		reports, err := org.Status(t.Context())
		if err != nil {
			return err
		}
		if r := reports[0]; r.Problem != "" || r.PID == organ || len(r.AgentIDs) != 1 || r.AgentIDs[0] != agentID {
			return errorf("%+v", r)
		}
		return nil
	})
	worksAgain(t, org, organID)
	if now := ids(t, conn, namespace); len(now) != 5 {
		t.Errorf("actors: %v", now)
	}
}

// An actor that somebody removed for good is made anew, also while another one does not come up.
func TestRemovedActorsAreMadeAnew(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	session := clientOf(t, conn).Session()
	class, err := session.GoClass(t.Context(), organism.AgentClass, []string{"ping"})
	if err != nil {
		t.Fatal(err)
	}
	const stuck = "actuator_organ_1_agent_0" // there is no room for it
	if _, err := session.CreateActor(t.Context(), class, ray.ActorOptions{Name: stuck, Detached: true, NumCPUs: 1e6}); err != nil {
		t.Fatal(err)
	}
	config := oneOrgan()
	config.Organs = append(config.Organs, organism.OrganConfig{ID: "actuator_organ_1", Type: "Actuator", AgentCount: 1})
	org := started(t, conn, config, organism.Options{StartTimeout: 5 * time.Minute, ReconcileInterval: time.Second})
	eventually(t, 2*time.Minute, "all but one are up", func() error {
		if h := org.Health(); h.Created != 6 || h.OK || !strings.Contains(h.Problem, stuck) {
			return errorf("%+v", h)
		}
		return nil
	})
	handle, err := session.GetActor(t.Context(), agentID, namespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Kill(t.Context(), handle, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, "another agent runs under the name", func() error {
		info, err := clientOf(t, conn).GCS().NamedActor(t.Context(), namespace, agentID)
		if err == nil && (info.State != ray.ActorAlive || info.ID == handle.ID()) {
			err = errorf("%+v", info)
		}
		return err
	})
	worksAgain(t, org, organID)
	reports, err := org.Status(t.Context())
	if err != nil || reports[1].Revision == "" || reports[1].RevisionAge > 30 {
		t.Errorf("the lease of an organ is not renewed: %+v, %v", reports, err)
	}
}

func TestServeRefusesABadConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "organism.yaml")
	if err := os.WriteFile(file, []byte("seedcore:\n  organism:\n    organ_types:\n      - id: a\n        type: Cognitive\n        agent_count: -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, environment("127.0.0.1:1", "x"), "serve", "--config", file)
	if err := p.end(60 * time.Second); err == nil {
		t.Error("it served")
	}
	for _, part := range []string{file + ":6", "agent_count"} {
		if !strings.Contains(p.text(), part) {
			t.Errorf("the error does not name %s: %s", part, p.text())
		}
	}
	p = start(t, []string{"RAY_ADDRESS=http://head:8265"}, "serve")
	if err := p.end(60 * time.Second); err == nil || !strings.Contains(p.text(), "ray://head:10001") {
		t.Errorf("an http address: %v %s", err, p.text())
	}
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// A stuck task does not hold up the end of a server, and whoever waits for it is told that it may have run.
func TestAServerStopsInTimeWithAStuckTask(t *testing.T) {
	namespace := raytest.Namespace(t)
	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "serve")
	conn := connected(t, namespace)
	t.Cleanup(func() { removeActors(t, conn) })
	p.ready(2 * time.Minute)
	pid := pidOf(t, conn, namespace, agentID)
	raytest.Halt(t, pid)
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	answered := make(chan string, 1)
	go func() {
		code, body, err := p.ask("POST", "/tier0/agents/"+agentID+"/execute", `{"task_data":{}}`)
		answered <- fmt.Sprint(code, body, err)
	}()
	time.Sleep(time.Second) // let the task reach its actor
	begin := time.Now()
	p.signal(syscall.SIGTERM)
	eventually(t, 5*time.Second, "readyz tells of it", func() error {
		code, body, err := p.ask("GET", "/readyz", "")
		if err == nil && (code != 503 || body["cause"] != "stopping") {
			err = errorf("%d %v", code, body)
		}
		return err
	})
	_ = p.end(30 * time.Second) // its error tells of the request that was cut
	if took := time.Since(begin); took > 16*time.Second {
		t.Errorf("the end took %s", took)
	}
	if answer := <-answered; !strings.HasPrefix(answer, "503") || !strings.Contains(answer, "sent:maybe") {
		t.Errorf("the answer of the stuck task: %s", answer)
	}
}

// An organ runs tasks for those who know its name alone, from Go and from Python: its agent does the work.
func TestAnOrganRunsTasks(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{})
	if _, err := org.Execute(t.Context(), organID, organism.Task{"type": "general"}); err != nil {
		t.Fatal(err)
	}
	run := func(args ...any) (map[string]any, error) {
		v, err := clientOf(t, conn).Call(t.Context(), namespace, organID, "run_task", args...)
		result, _ := v.(map[string]any)
		return result, err
	}
	pid := int64(pidOf(t, conn, namespace, agentID))
	result, err := run(map[string]any{"type": "general"})
	if err != nil || result["agent_id"] != agentID || result["pid"] != pid || result["task_processed"] != true {
		t.Fatalf("%v, %v", result, err)
	}
	out := raytest.Python(t, `
import json, os, ray
ray.init(os.environ["ADDRESS"], namespace=os.environ["NAMESPACE"])
organ = ray.get_actor(os.environ["ORGAN"])
print(json.dumps(ray.get([organ.run_task.remote({"type": "general"}), organ.run_task.remote(task={"type": "general"}, timeout=20)])))
`, "ADDRESS=ray://"+raytest.Head(t).ClientAddress(), "NAMESPACE="+namespace, "ORGAN="+organID)
	var results []map[string]any
	if err := json.Unmarshal([]byte(lastLine(out)), &results); err != nil || len(results) != 2 || results[0]["agent_id"] != agentID || results[1]["pid"] != float64(pid) {
		t.Errorf("%s, %v", out, err)
	}

	// What the agent refuses comes back through the organ, which says who it was.
	_, err = run(map[string]any{"type": 7})
	if task, ok := errors.AsType[*ray.TaskError](err); !ok || !strings.Contains(task.Message, agentID) || !strings.Contains(task.Message, organID) {
		t.Errorf("a task that is none: %v", err)
	}
	// While its agent is not there the organ answers others, and the task that waits ends by its timeout.
	raytest.Halt(t, int(pid))
	waiting := make(chan error, 1)
	go func() {
		_, err := run(map[string]any{"type": "general"}, 3)
		waiting <- err
	}()
	if v, err := clientOf(t, conn).Call(t.Context(), namespace, organID, "get_agent_count"); err != nil || v != int64(1) {
		t.Errorf("an organ whose agent hangs: %v, %v", v, err)
	}
	err = <-waiting
	if task, ok := errors.AsType[*ray.TaskError](err); !ok || !strings.Contains(task.Message, "sent: maybe") || !strings.Contains(task.Message, agentID) {
		t.Errorf("an agent that hangs: %v", err)
	}
	if err := syscall.Kill(int(pid), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
