package connector_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/doctor"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// A server without a thread for another session is told from one that is slow, and connected to once there is room. This
// one has two threads: one for the channel of a session, and one for whatever is asked.
func TestAServerWithoutRoom(t *testing.T) {
	t.Parallel() // mostly waiting, and the head is its own
	head := raytest.NewHead(t, rayhead.Config{Env: []string{"RAY_CLIENT_SERVER_MAX_THREADS=2"}})
	attempt := func(address string, timeout time.Duration) *connector.Connector {
		conn, _ := newConnector(t, connector.Config{
			Address: "ray://" + address, ConnectTimeout: timeout, ReconnectGrace: time.Second,
			FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 200 * time.Millisecond,
		})
		return conn
	}
	first, err := ray.Open(deadline(t), ray.Config{Address: head.ClientAddress(), Namespace: "first", ReconnectGrace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	conn := attempt(head.ClientAddress(), time.Minute)
	problem := failsToConnect(t, conn, connector.KindFull, ray.ErrServerFull, "RAY_CLIENT_SERVER_MAX_THREADS")
	if full, ok := errors.AsType[*ray.FullError](problem); !ok || full.Sign != ray.FullStarved || full.Clients != 2 {
		t.Errorf("%v", problem)
	}
	if err := first.Ping(deadline(t)); err != nil {
		t.Errorf("the session that has room: %v", err)
	}
	for _, f := range doctor.Examine(deadline(t), connector.Config{Address: "ray://" + head.ClientAddress()}) {
		switch f.Step {
		case "session", "room":
			if f.Status != doctor.Failed || !strings.Contains(f.Cure, "RAY_CLIENT_SERVER_MAX_THREADS") || f.Step == "room" && !strings.Contains(f.Found, "last thread") {
				t.Errorf("%+v", f)
			}
		case "versions", "namespace", "GCS", "direct calls", "clock":
			if f.Status != doctor.Skipped {
				t.Errorf("%+v", f)
			}
		}
	}
	conn.Start()
	if err := first.Close(deadline(t)); err != nil {
		t.Error(err)
	}
	if _, _, err := conn.WaitSession(deadline(t), 0); err != nil {
		t.Fatalf("%v: %+v", err, conn.Info())
	}
	if err := conn.Close(deadline(t)); err != nil {
		t.Error(err)
	}

	// Neither a session's process that does not answer nor a server that starts none is full.
	address, resume := stopping(t, head, raypb.RayletDataStreamer_Datapath_FullMethodName, 2, func() int {
		return slices.Max(raytest.Processes(t, "ray.util.client.server\x00", "--mode=specific-server\x00", head.GCSAddress()))
	})
	_ = failsToConnect(t, attempt(address, 15*time.Second), connector.KindTimeout, context.DeadlineExceeded, "look at the head")
	resume()
	server := raytest.Process(t, "ray.util.client.server\x00", "--port="+strconv.Itoa(head.Ports().Client)+"\x00")
	address, resume = stopping(t, head, raypb.RayletDriver_ClusterInfo_FullMethodName, 1, func() int { return server })
	_ = failsToConnect(t, attempt(address, 5*time.Second), connector.KindTimeout, context.DeadlineExceeded, "look at the head")
	resume()
}

// stopping is a way to a head on which a process stops right before the nth answer to a method is passed on.
func stopping(t *testing.T, head *rayhead.Head, method string, nth int, process func() int) (address string, resume func()) {
	t.Helper()
	var mu sync.Mutex // guards what follows
	seen, stopped := 0, 0
	address = editProxy(t, head.ClientAddress(), func(called string, answer []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		if called != method {
			return answer
		}
		if seen++; seen == nth {
			stopped = process()
			if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
		}
		return answer
	})
	return address, func() {
		mu.Lock()
		defer mu.Unlock()
		if stopped == 0 {
			t.Fatalf("%d answers to %s", seen, method)
		}
		_ = syscall.Kill(stopped, syscall.SIGCONT)
	}
}

// failsToConnect sees one attempt fail for a reason, and Info tell of it.
func failsToConnect(t *testing.T, conn *connector.Connector, kind connector.Kind, cause error, step string) *connector.ConnectError {
	t.Helper()
	err := conn.Connect(deadline(t))
	problem, ok := errors.AsType[*connector.ConnectError](err)
	if !ok || problem.Kind != kind || !errors.Is(err, cause) || !strings.Contains(problem.NextStep, step) {
		t.Fatalf("%+v, %v", problem, err)
	}
	if info := conn.Info(); info.NextStep != problem.NextStep || info.State != connector.StateDisconnected {
		t.Errorf("%+v", info)
	}
	return problem
}
