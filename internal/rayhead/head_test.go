package rayhead_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

func connect(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// clusterID asks the GCS, which proves that it answers, and tells clusters apart.
func clusterID(t *testing.T, head *rayhead.Head) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reply, err := corepb.NewNodeInfoGcsServiceClient(connect(t, head.GCSAddress())).GetClusterId(ctx, &corepb.GetClusterIdRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return string(reply.GetClusterId())
}

func ping(t *testing.T, head *rayhead.Head) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request := &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_PING}
	if _, err := raypb.NewRayletDriverClient(connect(t, head.ClientAddress())).ClusterInfo(ctx, request); err != nil {
		t.Fatal(err)
	}
}

func TestStartAndStop(t *testing.T) {
	var output strings.Builder
	head := start(t, rayhead.Config{NumCPUs: 2, Dashboard: true, Output: &output})
	clusterID(t, head)
	ping(t, head)
	if head.NodeIP() != "127.0.0.1" {
		t.Errorf("Ray's node address is %s, want the loopback address alone", head.NodeIP())
	}
	response, err := http.Get("http://" + head.DashboardAddress() + "/api/v0/nodes")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if response.StatusCode != http.StatusOK {
		t.Errorf("state API: %s", response.Status)
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pidOf(t, head, "gcs/gcs_server")))
	if err != nil || !strings.Contains(string(environ), "\x00RAY_raylet_start_wait_time_s=75\x00") {
		t.Errorf("the head does not wait for a slow raylet (%v): %q", err, environ)
	}
	if len(processesOf(t, head.TempDir())) < 5 {
		t.Error("the search for processes of the head does not find them")
	}

	if err := head.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	wantNothingLeft(t, head.TempDir())
	select {
	case <-head.Done():
	default:
		t.Error("Done is open after Stop")
	}
	if err := head.Err(); err != nil {
		t.Errorf("Err after Stop: %v", err)
	}
	if err := head.Stop(t.Context()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if !strings.Contains(output.String(), "Ray runtime started") {
		t.Errorf("Config.Output got %q", output.String())
	}
}

func TestKillAndRestartAtTheSameAddress(t *testing.T) {
	// A home directory that does not exist must not matter.
	cfg := rayhead.Config{Env: []string{"HOME=/nonexistent"}}
	first := start(t, cfg)
	firstID := clusterID(t, first)
	first.Kill()
	wantNothingLeft(t, first.TempDir())

	cfg.Ports = first.Ports()
	second := start(t, cfg)
	if second.GCSAddress() != first.GCSAddress() || second.ClientAddress() != first.ClientAddress() {
		t.Errorf("addresses %s and %s, want %s and %s", second.GCSAddress(), second.ClientAddress(), first.GCSAddress(), first.ClientAddress())
	}
	ping(t, second)
	if clusterID(t, second) == firstID {
		t.Error("the second head has the cluster id of the first")
	}
}

func TestParentIsKilled(t *testing.T) {
	parent := exec.CommandContext(startContext(t), os.Args[0])
	parent.Env = append(os.Environ(), childVariable+"="+python(t))
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n') // an error shows as a line that is not "up:"
	tempDir, up := strings.CutPrefix(strings.TrimSpace(line), "up: ")
	if !up {
		t.Fatalf("the parent says %q", line)
	}
	if len(processesOf(t, tempDir)) == 0 {
		t.Fatal("no process of the head found before the kill")
	}
	kill(t, parent.Process.Pid)
	_ = parent.Wait() // "signal: killed"
	eventually(t, "the head ends after its parent", func() bool {
		_, err := os.Stat(filepath.Dir(tempDir))
		return os.IsNotExist(err) && len(processesOf(t, filepath.Dir(tempDir))) == 0
	})
}

func TestTwoHeadsBesideAnOccupiedPort(t *testing.T) {
	// Ray's own port for the GCS is taken by somebody else, unless it was taken already.
	if listener, err := net.Listen("tcp", "127.0.0.1:6379"); err == nil {
		defer func() { _ = listener.Close() }()
	}
	var heads [2]*rayhead.Head
	var errs [2]error
	var group sync.WaitGroup
	for i := range heads {
		group.Go(func() {
			heads[i], errs[i] = rayhead.Start(startContext(t), rayhead.Config{Python: python(t)})
		})
	}
	group.Wait()
	for _, head := range heads {
		if head != nil {
			defer head.Kill()
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if clusterID(t, heads[0]) == clusterID(t, heads[1]) {
		t.Error("both addresses lead to one cluster")
	}
	for _, head := range heads {
		ping(t, head)
		if head.Ports().GCS == 6379 {
			t.Error("a head has the occupied port")
		}
	}

	heads[0].Kill()
	clusterID(t, heads[1])

	// Without the guard nobody tells the processes to end.
	kill(t, pidOf(t, heads[1], "seedcore_guard.py"))
	select {
	case <-heads[1].Done():
	case <-time.After(time.Minute):
		t.Fatal("the head did not end after its guard")
	}
	wantNothingLeft(t, heads[1].TempDir())
}

func TestEndsByItself(t *testing.T) {
	head := start(t, rayhead.Config{})
	kill(t, pidOf(t, head, "gcs/gcs_server"))
	select {
	case <-head.Done():
	case <-time.After(time.Minute):
		t.Fatal("the head did not end after its GCS")
	}
	err := head.Err()
	if !errors.Is(err, rayhead.ErrEnded) {
		t.Fatalf("Err is %v, want ErrEnded", err)
	}
	// Ray ends with more than a hundred lines of the statistics of its GCS.
	lines := strings.Split(err.Error(), "\n")
	if !strings.Contains(lines[0], "gcs_server [exit code=-9]") || len(lines) > 12 {
		t.Errorf("Err is in its %d lines\n%v", len(lines), err)
	}
	wantNothingLeft(t, head.TempDir())
	if err := head.Stop(t.Context()); err != nil {
		t.Errorf("Stop of an ended head: %v", err)
	}
}

// An exception of `ray start` is told in the first line.
func TestStartSaysWhatRayRaised(t *testing.T) {
	_, err := rayhead.Start(startContext(t), rayhead.Config{Python: python(t), Env: []string{"RAY_OVERRIDE_RESOURCES={"}})
	if !errors.Is(err, rayhead.ErrEnded) {
		t.Fatalf("error %v, want ErrEnded", err)
	}
	if first, _, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(first, "JSONDecodeError") {
		t.Errorf("the first line does not name the exception:\n%v", err)
	}
}

// Ray asks for its raylet again when the time is over that the environment gives it: one second here, so that it shows soon.
func TestTheWaitForTheRayletIsThatOfTheEnvironment(t *testing.T) {
	t.Setenv("RAY_raylet_start_wait_time_s", "1")
	tempDir, err := os.MkdirTemp("/tmp", "rayhead-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tempDir) }()
	printed, printer := io.Pipe()
	started := make(chan error, 1)
	go func() {
		head, err := rayhead.Start(startContext(t), rayhead.Config{Python: python(t), TempDir: tempDir, Output: printer})
		if err == nil {
			head.Kill()
		}
		_ = printer.Close()
		started <- err
	}()
	var raylet int
	eventually(t, "the raylet starts", func() bool {
		for _, process := range processesOf(t, tempDir) {
			if strings.Contains(process, "raylet/raylet --") {
				_, err := fmt.Sscan(process, &raylet)
				return err == nil
			}
		}
		return false
	})
	if err := syscall.Kill(raylet, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again := false
	for lines := bufio.NewScanner(printed); lines.Scan(); {
		if !again && strings.Contains(lines.Text(), "Failed to get node info") {
			again = true
			if err := syscall.Kill(raylet, syscall.SIGCONT); err != nil {
				t.Error(err)
			}
		}
	}
	if err := <-started; err != nil || !again {
		t.Errorf("%v; Ray asked again for the raylet: %v", err, again)
	}
}

func TestStartGivesUpInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // Ray needs more on any machine
	defer cancel()
	tempDir, err := os.MkdirTemp("/tmp", "rayhead-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tempDir) }()
	_, err = rayhead.Start(ctx, rayhead.Config{Python: python(t), TempDir: tempDir})
	if !errors.Is(err, rayhead.ErrNotReady) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want ErrNotReady for the deadline", err)
	}
	if left := processesOf(t, tempDir); len(left) != 0 {
		t.Errorf("processes left behind:\n%s", strings.Join(left, "\n"))
	}
	if _, err := os.Stat(tempDir); err != nil {
		t.Errorf("the caller's own directory was removed: %v", err)
	}
}

func TestStartRefuses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	taken := listener.Addr().(*net.TCPAddr).Port
	base, err := exec.Command(python(t), "-c", "import os, sys; print(os.path.realpath(sys.executable))").Output()
	if err != nil {
		t.Fatal(err)
	}
	withoutRay := strings.TrimSpace(string(base)) // the interpreter behind the environment

	for name, test := range map[string]struct {
		cfg  rayhead.Config
		want error
		says string
	}{
		"no python":          {rayhead.Config{}, rayhead.ErrNoPython, "make setup"},
		"missing python":     {rayhead.Config{Python: filepath.Join(t.TempDir(), "python")}, rayhead.ErrNoPython, "make setup"},
		"no ray":             {rayhead.Config{Python: withoutRay, Env: []string{"PYTHONNOUSERSITE=1", "PYTHONPATH="}}, rayhead.ErrNoPython, "make setup"},
		"GCS port":           {rayhead.Config{Python: python(t), Ports: rayhead.Ports{GCS: taken}}, rayhead.ErrPortTaken, "Ports.GCS"},
		"client port":        {rayhead.Config{Python: python(t), Ports: rayhead.Ports{Client: taken}}, rayhead.ErrPortTaken, "Ports.Client"},
		"long directory":     {rayhead.Config{Python: python(t), TempDir: "/tmp/" + strings.Repeat("x", 60)}, nil, "Config.TempDir"},
		"object store":       {rayhead.Config{Python: python(t), ObjectStoreMemory: 1 << 20}, nil, "Config.ObjectStoreMemory"},
		"unusable directory": {rayhead.Config{Python: python(t), TempDir: "/proc/nothing"}, nil, "Config.TempDir"},
	} {
		t.Run(name, func(t *testing.T) {
			head, err := rayhead.Start(startContext(t), test.cfg)
			if err == nil {
				head.Kill()
				t.Fatal("it started")
			}
			if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want %v and the words %q", err, test.want, test.says)
			}
		})
	}
}
