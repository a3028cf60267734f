package drills_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
)

const (
	gcsDrill   = "GCS with Redis killed"
	serveDrill = "API process killed"
)

// serve kills the API's process under callers of its API, and starts it again: it adopts what runs and makes nothing twice.
func serve(t *testing.T) {
	r := newRig(t)
	r.head = raytest.NewHead(t, rayhead.Config{})
	r.ports = r.head.Ports()
	listen := address(freePorts(t).Client)
	output, err := os.Create(r.ledger + ".log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = output.Close() })
	start := func() *exec.Cmd {
		cmd := exec.Command(raytest.BuildGo(t, "./drills/server"), "serve", "--task-timeout", callTimeout.String())
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SEEDCORE_LISTEN=" + listen,
			"RAY_ADDRESS=ray://" + r.head.ClientAddress(), "RAY_NAMESPACE=" + r.namespace,
		}
		cmd.Stdout, cmd.Stderr = output, output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed
		})
		return cmd
	}
	transport := &http.Transport{MaxIdleConnsPerHost: callers}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ready := func(within time.Duration) {
		t.Helper()
		eventually(t, within, "/readyz is 200", func(ctx context.Context) error {
			return ask(ctx, client, http.MethodGet, "http://"+listen+"/readyz", nil)
		})
	}
	process := start()
	ready(2 * time.Minute)
	organs := organism.DefaultConfig().Organs
	r.load = startLoad(t, r.ledger, []call{func(ctx context.Context, number string) (verdict, error) {
		url := "http://" + listen + "/organism/execute/" + organs[rand.IntN(len(organs))].ID
		return judgeHTTP(ask(ctx, client, http.MethodPost, url, map[string]any{"task_data": map[string]any{"type": "note", "id": number, "ledger": r.ledger}}))
	}})
	ended := sync.OnceFunc(r.load.end)
	t.Cleanup(ended)

	t.Run(serveDrill, func(t *testing.T) {
		t.Logf("seed %d", *seed)
		result := outcome{Drill: serveDrill, Actors: sameProcesses.String(), Seed: *seed}
		for range 3 {
			before, err := r.actors(t.Context(), sameProcesses)
			if err != nil {
				t.Fatal(err)
			}
			counts := r.load.counts()
			r.timeline.begin()
			time.Sleep(time.Duration(r.random.Int64N(int64(3 * time.Second))))
			kill(t, process.Process.Pid, syscall.SIGKILL)
			r.timeline.note("the API's process is killed")
			time.Sleep(time.Duration(r.random.Int64N(int64(3 * time.Second))))
			process = start()
			started := time.Now()
			r.timeline.note("it is started")
			ready(time.Minute)
			result.Recovery = append(result.Recovery, time.Since(started))
			result.Ours = append(result.Ours, time.Since(started))
			r.timeline.note("it is ready")
			time.Sleep(2 * time.Second) // of load
			after, err := r.actors(t.Context(), sameProcesses)
			if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("Ray's actors are %v (%v), were %v", after, err, before)
			}
			r.load.check(t)
			for v, n := range r.load.counts() {
				result.Calls[v] += n - counts[v]
			}
		}
		t.Logf("timeline:\n%s", &r.timeline)
		result.Timeline = r.timeline.String()
		if !t.Failed() {
			result.record(t)
		}
	})
	ended()
	r.load.check(t)
	if t.Failed() {
		text, _ := os.ReadFile(output.Name())
		t.Logf("the server wrote:\n%s", text)
	}
}

// answer is an answer of the API that is no success.
type answer struct {
	status int
	sent   string
	text   string
}

func (a *answer) Error() string { return fmt.Sprintf("%d %s", a.status, a.text) }

func ask(ctx context.Context, client *http.Client, method, url string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(data))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode == http.StatusOK {
		return err
	}
	var failure struct {
		Sent string `json:"sent"`
	}
	_ = json.Unmarshal(text, &failure) // then nothing is known
	return &answer{response.StatusCode, failure.Sent, string(text)}
}

// judgeHTTP says what an error of ask tells the caller of a task.
func judgeHTTP(err error) (verdict, error) {
	failure, answered := errors.AsType[*answer](err)
	switch {
	case err == nil:
		return done, nil
	case answered && failure.sent == "no", errors.Is(err, syscall.ECONNREFUSED):
		return unsent, nil
	case answered && failure.sent == "yes":
		return refused, nil
	case answered && failure.sent == "":
		return maybe, err
	default:
		return maybe, nil // the connection or the time ended under it
	}
}
