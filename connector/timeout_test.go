package connector_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
)

// A server that lives and starts no process for a session is told as such, and connected to once that is over.
func TestAServerThatStartsNoProcess(t *testing.T) {
	head := raytest.Head(t)
	server := raytest.Process(t, "ray.util.client.server\x00", "--port="+strconv.Itoa(head.Ports().Client)+"\x00")
	var once sync.Once
	address := editProxy(t, head.ClientAddress(), func(method string, answer []byte) []byte {
		if strings.HasSuffix(method, "/ClusterInfo") { // the greeting was answered; nothing more is
			once.Do(func() {
				if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
			})
		}
		return answer
	})
	resume := func() { _ = syscall.Kill(server, syscall.SIGCONT) }
	t.Cleanup(resume)
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + address, ConnectTimeout: 8 * time.Second, SlowestBackoff: time.Second})
	failsToConnect(t, conn, connector.KindTimeout, context.DeadlineExceeded, "look at the head")
	resume()
	// From here on as a process is configured: the server still has to notice who gave up.
	next, _ := newConnector(t, connector.Config{Address: "ray://" + address})
	comesUp(t, next)
}

// failsToConnect sees one attempt fail for a reason, and Info tell of it.
func failsToConnect(t *testing.T, conn *connector.Connector, kind connector.Kind, cause error, step string) {
	t.Helper()
	err := conn.Connect(deadline(t))
	problem, ok := errors.AsType[*connector.ConnectError](err)
	if !ok || problem.Kind != kind || !errors.Is(err, cause) || !strings.Contains(problem.NextStep, step) {
		t.Fatalf("%+v, %v", problem, err)
	}
	if info := conn.Info(); info.NextStep != problem.NextStep || info.State != connector.StateDisconnected {
		t.Errorf("%+v", info)
	}
}

// comesUp waits for a connection that is made in the background.
func comesUp(t *testing.T, conn *connector.Connector) {
	t.Helper()
	conn.Start()
	if _, _, err := conn.WaitSession(deadline(t), 0); err != nil {
		t.Fatalf("%v: %+v", err, conn.Info())
	}
}
