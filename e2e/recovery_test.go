package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// (l) The head is killed and started again while the server runs: it notices, says why, and heals by itself.
func TestStrictL_HeadIsKilledAndStartedAgain(t *testing.T) {
	t.Parallel() // mostly waiting
	head := raytest.NewHead(t, rayhead.Config{})
	ports, namespace := head.Ports(), raytest.Namespace(t)
	p := start(t, environment(head.ClientAddress(), namespace), "serve")
	p.ready(2 * time.Minute)
	if _, err := p.task("/organism/execute/random"); err != nil {
		t.Fatal(err)
	}

	head.Kill()
	eventually(t, 20*time.Second, "/readyz is 503 with the cause", func() error {
		code, body, err := p.ask("GET", "/readyz", "")
		if err == nil && (code != http.StatusServiceUnavailable || body["ray_ok"] != false || body["cause"] == nil) {
			err = errorf("%d %v", code, body)
		}
		return err
	})
	code, body, err := p.ask("POST", "/organism/execute/random", `{"task_data":{}}`)
	if err != nil || code < 500 || body["success"] != false {
		t.Errorf("a task without Ray: %d %v %v", code, body, err)
	}

	again := raytest.NewHead(t, rayhead.Config{Ports: ports})
	p.ready(3 * time.Minute)
	for _, organ := range []string{"cognitive_organ_1", "actuator_organ_1", "utility_organ_1"} {
		if _, err := p.task("/organism/execute/" + organ); err != nil {
			t.Errorf("%s: %v", organ, err)
		}
	}
	wantNoDuplicates(t, connectedTo(t, again.ClientAddress(), namespace))
}

// wantNoDuplicates checks that the default organism runs exactly once over all namespaces of a cluster of its own.
func wantNoDuplicates(t *testing.T, conn *connector.Connector) {
	t.Helper()
	all, err := clientOf(t, conn).GCS().Actors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]int{}
	for _, a := range all {
		if a.State != ray.ActorDead {
			classes[a.Class]++
		}
	}
	if classes["Organ"] != 3 || classes["RayAgent"] != 3 || len(all) != 9 {
		t.Errorf("actors over all namespaces: %v of %d", classes, len(all))
	}
}

// (m) A server that starts again adopts what runs, also after a kill -9.
func TestStrictM_SecondStartAdopts(t *testing.T) {
	t.Parallel() // mostly waiting
	head := raytest.NewHead(t, rayhead.Config{})
	namespace := raytest.Namespace(t)
	env := environment(head.ClientAddress(), namespace)
	watcher := connectedTo(t, head.ClientAddress(), namespace)
	var before map[string]string
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, 0} {
		p := start(t, env, "serve")
		p.ready(2 * time.Minute)
		now := ids(t, watcher, namespace)
		if before == nil {
			before = now
		}
		if len(now) != 9 || fmt.Sprint(now) != fmt.Sprint(before) {
			t.Fatalf("actors %v became %v", before, now)
		}
		for _, organ := range []string{"cognitive_organ_1", "actuator_organ_1", "utility_organ_1"} {
			if _, err := p.task("/organism/execute/" + organ); err != nil {
				t.Errorf("%s: %v", organ, err)
			}
		}
		if end != 0 {
			p.signal(end)
			if err := p.end(30 * time.Second); (err == nil) != (end == syscall.SIGTERM) {
				t.Errorf("ended by %v: %v", end, err)
			}
		}
	}
	wantNoDuplicates(t, watcher)
}

// up starts Ray, serves, and leaves nothing behind.
func TestUpServesAndLeavesNothingBehind(t *testing.T) {
	t.Parallel() // mostly waiting
	raytest.OnlyHead(t)
	marker, home := "SEEDCORE_TEST_MARK="+raytest.Namespace(t), "HOME="+t.TempDir()
	p := start(t, []string{marker, home, "SEEDCORE_PYTHON=" + raytest.VenvPython(t)}, "up")
	p.ready(3 * time.Minute)
	eventually(t, 10*time.Second, "the greeting", func() error {
		for _, part := range []string{"Ray        ray://", "Connected ", "Organism   3 organs, 3 agents", "API ", "Try        curl "} {
			if !strings.Contains(p.text(), part) {
				return errorf("%q is missing", part)
			}
		}
		return nil
	})
	result, err := p.task("/organism/execute/cognitive_organ_1")
	if err != nil || result["agent_id"] != "cognitive_organ_1_agent_0" || result["task_processed"] != true {
		t.Errorf("%v %v", result, err)
	}
	wantTokenDemanded(t, p, home)
	// The head is looked after: when it dies it is started again at its address, and the organism on it.
	for _, line := range marked(t, marker) {
		if pid, command, _ := strings.Cut(line, " "); strings.Contains(command, "gcs_server") {
			if err := syscall.Kill(atoi(t, pid), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, 30*time.Second, "the loss is noticed", func() error {
		if code, body, err := p.ask("GET", "/readyz", ""); err != nil || code != http.StatusServiceUnavailable {
			return errorf("%d %v %w", code, body, err)
		}
		return nil
	})
	p.ready(3 * time.Minute)
	eventually(t, 60*time.Second, "tasks run again", func() error {
		_, err := p.task("/organism/execute/random")
		return err
	})

	if n := len(marked(t, marker)); n < 5 {
		t.Errorf("only %d processes carry the mark: the search below would prove nothing", n)
	}
	p.signal(syscall.SIGINT)
	if err := p.end(60 * time.Second); err != nil {
		t.Errorf("ended with %v", err)
	}
	eventually(t, 10*time.Second, "no process is left", func() error {
		if left := marked(t, marker); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return nil
	})
}

// A second signal ends up at once, with a word about it, and the head that it was starting as well.
func TestASecondSignalEndsUpAtOnce(t *testing.T) {
	t.Parallel()
	marker := "SEEDCORE_TEST_MARK=" + raytest.Namespace(t)
	p := start(t, []string{marker, "HOME=" + t.TempDir(), "SEEDCORE_PYTHON=" + raytest.VenvPython(t)}, "up")
	eventually(t, 60*time.Second, "the head is being started", func() error {
		if n := len(marked(t, marker)); n < 3 {
			return errorf("%d processes", n)
		}
		return nil
	})
	p.signal(syscall.SIGINT)
	eventually(t, 30*time.Second, "the first signal is taken", func() error {
		if !strings.Contains(p.text(), "once more ends at once") {
			return errors.New(p.text())
		}
		return nil
	})
	p.signal(syscall.SIGINT) // unless it is over already
	err := p.end(60 * time.Second)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() == 130 && !strings.Contains(p.text(), "ended at once") {
		t.Errorf("ended with %v:\n%s", err, p.text())
	}
	eventually(t, 30*time.Second, "no process is left", func() error {
		if left := marked(t, marker); len(left) > 0 {
			return errors.New(strings.Join(left, "\n"))
		}
		return nil
	})
}
