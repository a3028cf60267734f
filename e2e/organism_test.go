package e2e_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// An organ whose process stands still is told in health, and after a while killed by name: another process then serves
// under the same name. Nothing else is killed.
func TestAStoppedOrganIsToldAndReplaced(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{
		CallTimeout: time.Second, ReconcileInterval: 500 * time.Millisecond, ProbeInterval: 500 * time.Millisecond, UnresponsiveAfter: 6 * time.Second,
		Logger: testLogger(t),
	})
	singleton := pidOf(t, conn, namespace, organism.MwStoreName)
	organ := pidOf(t, conn, namespace, organID)
	raytest.Halt(t, organ)
	halted := time.Now().Add(time.Second) // an answer may still have been on its way
	defer func() { _ = syscall.Kill(organ, syscall.SIGCONT) }()
	reports, err := org.Status(t.Context())
	if err != nil || reports[0].Problem == "" || len(reports[0].AgentIDs) != 0 {
		t.Errorf("the status of a stopped organ: %+v, %v", reports, err)
	}
	var problem string
	eventually(t, 30*time.Second, "health says that the organ does not answer", func() error {
		h := org.Health()
		if h.OK || !strings.Contains(h.Problem, organID+" has not answered since") {
			return errorf("%+v", h)
		}
		problem = h.Problem
		return nil
	})
	// It tells the time of the last answer, which came before the process stood still.
	toldBefore := func() bool {
		for ago := range 60 {
			if strings.Contains(problem, organID+" has not answered since "+halted.Add(-time.Duration(ago)*time.Second).UTC().Format(time.TimeOnly)) {
				return true
			}
		}
		return false
	}
	if !toldBefore() {
		t.Errorf("stopped at %s: %s", halted.UTC(), problem)
	}
	eventually(t, 90*time.Second, "another process serves", func() error {
		reports, err := org.Status(t.Context())
		if err == nil && (reports[0].Problem != "" || reports[0].PID == organ || !slices.Equal(reports[0].AgentIDs, []string{agentID})) {
			err = errorf("%+v", reports)
		}
		return err
	})
	eventually(t, 30*time.Second, "all is well", func() error {
		if h := org.Health(); !h.OK || h.Killed != 1 {
			return errorf("%+v", h)
		}
		return nil
	})
	if pid := pidOf(t, conn, namespace, organism.MwStoreName); pid != singleton {
		t.Errorf("process %d of a singleton that answered became %d", singleton, pid)
	}

	raytest.Halt(t, singleton)
	defer func() { _ = syscall.Kill(singleton, syscall.SIGCONT) }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := org.Bootstrap(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("bootstrap with a stopped singleton: %v", err)
	}
}

// An agent at work, with more work waiting, answers pings on both paths, whichever path its tasks took.
func TestAnAgentAtWorkAnswers(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{Binary: raytest.BuildGo(t, "./e2e/holder"), CallTimeout: 20 * time.Second})
	modes := []ray.DirectMode{ray.DirectRequire, ray.DirectOff}
	for _, tasks := range modes {
		var work sync.WaitGroup
		first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		for _, file := range []string{first, second} {
			work.Go(func() {
				if _, err := clientOf(t, conn).WithDirect(tasks).Call(ctx, namespace, agentID, "execute_task", map[string]any{"type": "hold", "file": file}); err != nil {
					t.Errorf("a task, direct %s: %v", tasks, err)
				}
			})
			eventually(t, 60*time.Second, "the first task runs", func() error { _, err := os.Stat(first); return err })
		}
		time.Sleep(200 * time.Millisecond) // let the second task stand in line
		for _, pings := range append(modes, modes...) {
			short, cancel := context.WithTimeout(ctx, 20*time.Second)
			if _, err := clientOf(t, conn).WithDirect(pings).Call(short, namespace, agentID, "ping"); err != nil {
				t.Errorf("a ping, direct %s, while there are tasks, direct %s: %v", pings, tasks, err)
			}
			cancel()
		}
		if _, err := os.Stat(second); err == nil {
			t.Error("two tasks run at once")
		}
		if err := os.Remove(first); err != nil {
			t.Error(err)
		}
		eventually(t, 60*time.Second, "the second task runs", func() error { _, err := os.Stat(second); return err })
		if err := os.Remove(second); err != nil {
			t.Error(err)
		}
		work.Wait()
	}
	if h := org.Health(); !h.OK || h.Killed != 0 {
		t.Errorf("%+v", h)
	}
}

// An actor that is lost and does not come back at once is told in health long before the time for its start has passed,
// and the others go on serving.
func TestALostActorIsToldAtOnce(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, oneOrgan(), organism.Options{StartTimeout: 3 * time.Minute, ReconcileInterval: time.Second})
	session := clientOf(t, conn).Session()

	// Take all of the node, so that the place of the organ is given away when it ends.
	class, err := session.PythonClass(t.Context(), "seedtest", "Echo")
	if err != nil {
		t.Fatal(err)
	}
	total, err := session.ClusterResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, cpus := range []float64{total["CPU"] - 0.5, 0.1} { // the organism has five times 0.1; the second one waits
		handle, err := session.CreateActor(t.Context(), class, ray.ActorOptions{NumCPUs: cpus})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := session.Kill(context.Background(), handle, true); err != nil {
				t.Error(err)
			}
		})
		if cpus > 1 {
			if _, err := handle.Call(t.Context(), "echo", 1); err != nil {
				t.Fatal(err)
			}
			continue
		}
		time.Sleep(time.Second) // let it stand in line
		if err := syscall.Kill(pidOf(t, conn, namespace, organID), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 60*time.Second, "health says that the organ is being restarted", func() error {
			if h := org.Health(); h.OK || !strings.Contains(h.Problem, organID+" is RESTARTING") {
				return errorf("%+v", h)
			}
			return nil
		})
		worksAgain(t, org, organID) // its agent was not lost
		if err := session.Kill(t.Context(), handle, true); err != nil {
			t.Fatal(err)
		}
		eventually(t, 90*time.Second, "the organ is back", func() error {
			if h := org.Health(); !h.OK {
				return errorf("%+v", h)
			}
			return nil
		})
	}
}

// A name that an actor of another class has is not used, and the others are. What was never sent says so.
func TestATakenNameIsNotUsed(t *testing.T) {
	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	session := clientOf(t, conn).Session()
	class, err := session.PythonClass(t.Context(), "seedtest", "Echo")
	if err != nil {
		t.Fatal(err)
	}
	const taken = "actuator_organ_1_agent_0"
	if _, err := session.CreateActor(t.Context(), class, ray.ActorOptions{Name: taken, Detached: true}); err != nil {
		t.Fatal(err)
	}
	config := organism.Config{Organs: []organism.OrganConfig{
		{ID: organID, Type: "Cognitive", AgentCount: 1}, {ID: "actuator_organ_1", Type: "Actuator", AgentCount: 1},
	}}
	org := started(t, conn, config, organism.Options{ReconcileInterval: 500 * time.Millisecond})
	worksSoon := func() error {
		_, err := org.Execute(t.Context(), organID, organism.Task{})
		if err != nil && !errors.Is(err, organism.ErrNotReady) {
			t.Fatal(err)
		}
		return err
	}
	eventually(t, 2*time.Minute, "the other organ executes tasks", worksSoon)
	eventually(t, 30*time.Second, "health tells of the name", func() error {
		if h := org.Health(); h.OK || !strings.Contains(h.Problem, taken) || !strings.Contains(h.Problem, "Echo") {
			return errorf("%+v", h)
		}
		return nil
	})
	_, err = org.Execute(t.Context(), "actuator_organ_1", organism.Task{})
	if !errors.Is(err, organism.ErrNotReady) || ray.SentOf(err) != ray.SentNo || !strings.Contains(err.Error(), "Echo") {
		t.Errorf("a task for the taken name: %v, sent: %s", err, ray.SentOf(err))
	}

	// A request for an agent changes nothing of what is known of the configured actors, whatever their kind.
	for name, want := range map[string]error{organID: organism.ErrNameTaken, organism.MwStoreName: organism.ErrArgument, agentID: nil, taken: organism.ErrNotReady} {
		if created, err := org.CreateAgent(t.Context(), name, organism.RoleProbs{}); created || !errors.Is(err, want) {
			t.Errorf("an agent of the name %s: %t, %v; want %v", name, created, err, want)
		}
	}
	reports, err := org.Status(t.Context())
	if err != nil || slices.ContainsFunc(reports, func(r organism.OrganReport) bool { return r.Problem != "" }) {
		t.Errorf("the organs after that: %+v, %v", reports, err)
	}

	// A new session does not close the organs that were met, even before it has looked at them.
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := conn.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := org.Execute(t.Context(), organID, organism.Task{}); err != nil {
		t.Errorf("a task right after a new session: %v", err)
	}
}

// Two servers with different configurations do not take turns: the later one says so and leaves the organ alone until
// the other one is gone. What is left of the former configuration is told as outdated, and can be replaced.
func TestTwoConfigurationsDoNotFight(t *testing.T) {
	namespace := raytest.Namespace(t)
	first, second := connected(t, namespace), connected(t, namespace)
	opts := organism.Options{CallTimeout: 2 * time.Second, ReconcileInterval: 500 * time.Millisecond, Binary: raytest.Binary(t)}
	a, err := organism.New(first, oneOrgan(), opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stopFirst := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { a.Run(ctx) })
	t.Cleanup(func() { stopFirst(); loop.Wait() })
	wait, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := a.WaitReady(wait); err != nil {
		t.Fatal(err)
	}
	if h := a.Health(); h.Created != 5 || h.Adopted != 0 || len(h.Outdated)+len(h.Conflicts) != 0 {
		t.Errorf("the first server: %+v", h)
	}

	config := organism.Config{Organs: []organism.OrganConfig{{ID: organID, Type: "Utility", AgentCount: 2}}}
	b := running(t, second, config, opts)
	agents := func() []string {
		reports, err := b.Status(t.Context())
		if err != nil || reports[0].Problem != "" {
			t.Fatalf("%+v, %v", reports, err)
		}
		return reports[0].AgentIDs
	}
	for range 6 {
		if got := agents(); len(got) != 1 {
			t.Fatalf("the organ's agents became %v", got)
		}
		time.Sleep(300 * time.Millisecond)
	}
	h := b.Health()
	if !h.OK || h.Created != 1 || h.Adopted != 5 || len(h.Conflicts) != 1 || !strings.Contains(h.Conflicts[0], organID) {
		t.Errorf("the second server: %+v", h)
	}
	if want := []string{organID, agentID}; !slices.Equal(h.Outdated, want) {
		t.Errorf("outdated: %v, want %v", h.Outdated, want)
	}
	if h := a.Health(); !h.OK || len(h.Conflicts) != 0 {
		t.Errorf("the first server: %+v", h)
	}

	stopFirst()
	loop.Wait()
	eventually(t, 90*time.Second, "the second configuration counts", func() error {
		if h := b.Health(); len(h.Conflicts) > 0 || len(agents()) != 2 {
			return errorf("%+v", h)
		}
		return nil
	})
	before := ids(t, second, namespace)
	file := filepath.Join(t.TempDir(), "organism.yaml")
	if err := os.WriteFile(file, []byte("seedcore:\n  organism:\n    organ_types:\n      - id: "+organID+"\n        type: Utility\n        agent_count: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replaced := []string{organID, agentID}
	for _, want := range []string{organID + " was made anew\n" + agentID + " was made anew\n", "nothing that runs is outdated\n"} {
		p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "--log-level=error", "replace", "--config="+file)
		if err := p.end(2 * time.Minute); err != nil || p.text() != want {
			t.Errorf("seedcore replace: %v, %q instead of %q", err, p.text(), want)
		}
	}
	eventually(t, 60*time.Second, "nothing is outdated", func() error {
		if h := b.Health(); !h.OK || len(h.Outdated) > 0 {
			return errorf("%+v", h)
		}
		return nil
	})
	after := ids(t, second, namespace)
	for name, id := range before {
		if changed := after[name] != id; changed != slices.Contains(replaced, name) {
			t.Errorf("%s was %s and is %s", name, id, after[name])
		}
	}
}

func testLogger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }
