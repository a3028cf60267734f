// Package e2e_test holds the tests that run the whole of SeedCore on a real Ray, as its users do.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

func TestMain(m *testing.M) {
	organism.RegisterActors() // what the actors' classes are called; their processes are those of the real binary
	// A program that never becomes a worker is counted for a minute among those that just start, of which there are as many as
	// the machine has processors, unless the raylet is told: others then wait.
	starting := func(cfg *rayhead.Config) { cfg.Env = append(cfg.Env, "RAY_worker_maximum_startup_concurrency=8") }
	raytest.Main(m, raytest.WithDashboard(), raytest.WithHead(starting), raytest.WithLeakCheck())
}

// eventually waits for a condition that has to come true by itself.
func eventually(t *testing.T, limit time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// program is a running `seedcore` process.
type program struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	client  *http.Client
	done    chan struct{}
	err     error // set before done is closed

	mu     sync.Mutex // guards output
	output bytes.Buffer
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// start runs `seedcore ARGS` with exactly the given variables beside PATH and HOME.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	return startAt(t, func(f func()) { f() }, env, args...)
}

// startAt is start in another network: place runs a function there.
func startAt(t *testing.T, place func(func()), env []string, args ...string) *program {
	t.Helper()
	var address string
	place(func() { address = freeAddress(t) })
	p := &program{t: t, address: address, client: http.DefaultClient, done: make(chan struct{})}
	p.cmd = exec.Command(raytest.Binary(t), args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "SEEDCORE_LISTEN=" + address}, env...)
	p.cmd.Stdout, p.cmd.Stderr = p, p
	var err error
	if place(func() { err = p.cmd.Start() }); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(60 * time.Second):
			_ = p.cmd.Process.Kill()
			<-p.done
			t.Errorf("seedcore %v did not end on SIGTERM", args)
		}
		if t.Failed() {
			t.Logf("output of seedcore %v:\n%s", args, p.text())
		}
	})
	return p
}

func (p *program) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// end waits for the process to end.
func (p *program) end(limit time.Duration) error {
	p.t.Helper()
	select {
	case <-p.done:
		return p.err
	case <-time.After(limit):
		p.t.Fatalf("the process still runs after %s", limit)
		return nil
	}
}

// ask makes a request to the program's API and decodes the JSON answer.
func (p *program) ask(method, path, body string) (int, map[string]any, error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 60*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	var v map[string]any
	if err := json.Unmarshal(data, &v); err != nil {
		return resp.StatusCode, nil, fmt.Errorf("%w: %s", err, data)
	}
	return resp.StatusCode, v, nil
}

// ready waits for /readyz to be 200.
func (p *program) ready(limit time.Duration) {
	p.t.Helper()
	eventually(p.t, limit, "/readyz is 200", func() error {
		select {
		case <-p.done:
			p.t.Fatalf("the process ended: %v\n%s", p.err, p.text())
		default:
		}
		code, body, err := p.ask("GET", "/readyz", "")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %v", code, body)
		}
		return err
	})
}

// task runs a task and returns the result.
func (p *program) task(path string) (map[string]any, error) {
	code, body, err := p.ask("POST", path, `{"task_data":{"type":"general"}}`)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK || body["success"] != true {
		return nil, fmt.Errorf("%d %v", code, body)
	}
	result, ok := body["result"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("no result in %v", body)
	}
	return result, nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// connected is a connection of the test's own to the shared head.
func connected(t *testing.T, namespace string) *connector.Connector {
	t.Helper()
	return connectedTo(t, raytest.Head(t).ClientAddress(), namespace)
}

func connectedTo(t *testing.T, address, namespace string) *connector.Connector {
	t.Helper()
	return connectedWith(t, connector.Config{Address: "ray://" + address, Namespace: namespace})
}

func connectedWith(t *testing.T, cfg connector.Config) *connector.Connector {
	t.Helper()
	conn, err := connector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := conn.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	return conn
}

func clientOf(t *testing.T, conn *connector.Connector) *ray.Client {
	t.Helper()
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// running is an organism of the test's own, up and looked after until the test ends; its actors are ended then.
func running(t *testing.T, conn *connector.Connector, config organism.Config, opts organism.Options) *organism.Organism {
	t.Helper()
	org := started(t, conn, config, opts)
	wait, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if err := org.WaitReady(wait); err != nil {
		t.Fatal(err)
	}
	return org
}

// started is running without the wait.
func started(t *testing.T, conn *connector.Connector, config organism.Config, opts organism.Options) *organism.Organism {
	t.Helper()
	if opts.Binary == "" {
		opts.Binary = raytest.Binary(t)
	}
	org, err := organism.New(conn, config, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { org.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		loop.Wait()
		removeActors(t, conn)
	})
	return org
}

// worksAgain waits until an organ executes a task again after processes were killed, and returns the execution. For a
// while calls may still end with a process that went away, also as ones that may have run; an error of another kind fails
// the test.
func worksAgain(t *testing.T, org *organism.Organism, organ string) organism.Execution {
	t.Helper()
	var e organism.Execution
	eventually(t, 60*time.Second, organ+" executes tasks again", func() (err error) {
		e, err = org.Execute(t.Context(), organ, organism.Task{})
		if err != nil && !errors.Is(err, ray.ErrActorUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", organ, err)
		}
		return err
	})
	return e
}

// removeActors ends every named actor of the connection's namespace, so that tests do not pile processes up.
func removeActors(t *testing.T, conn *connector.Connector) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := conn.Client()
	if err != nil || !conn.Info().Session.Answers {
		return
	}
	actors, err := client.GCS().NamedActors(ctx, conn.Info().Namespace)
	if err != nil {
		t.Error(err)
	}
	for _, a := range actors {
		handle, err := client.Session().GetActor(ctx, a.Name, a.Namespace)
		if err == nil {
			err = client.Session().Kill(ctx, handle, true)
		}
		if err != nil && !errors.Is(err, ray.ErrActorNotFound) {
			t.Errorf("end actor %s: %v", a.Name, err)
		}
	}
}

// environment leads a program to a head.
func environment(address, namespace string) []string {
	return []string{"RAY_ADDRESS=ray://" + address, "RAY_NAMESPACE=" + namespace}
}
