package connector_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// clientServer is no Ray Client server but gives the answers of one that refuses.
type clientServer struct {
	raypb.UnimplementedRayletDriverServer
	raypb.UnimplementedRayletDataStreamerServer
	greeting, session error
}

func (s clientServer) ClusterInfo(context.Context, *raypb.ClusterInfoRequest) (*raypb.ClusterInfoResponse, error) {
	return &raypb.ClusterInfoResponse{}, s.greeting
}

func (s clientServer) Datapath(grpc.BidiStreamingServer[raypb.DataRequest, raypb.DataResponse]) error {
	return s.session
}

func (s clientServer) start(t *testing.T) string {
	t.Helper()
	server := grpc.NewServer()
	raypb.RegisterRayletDriverServer(server, s)
	raypb.RegisterRayletDataStreamerServer(server, s)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return listener.Addr().String()
}

// Why there is no connection is told apart, with what to do about it.
func TestEachProblemHasItsNextStep(t *testing.T) {
	secret := httptest.NewUnstartedServer(http.NotFoundHandler())
	secret.EnableHTTP2 = true
	secret.Config.ErrorLog = log.New(io.Discard, "", 0)
	secret.StartTLS()
	t.Cleanup(secret.Close)
	strange := &ray.Credentials{TLS: &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}}
	hung, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts for a process that is stopped, too
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hung.Close() })
	dashboard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(dashboard.Close)
	for name, c := range map[string]struct {
		address     string
		kind        connector.Kind
		cause       error
		step        string
		credentials *ray.Credentials
	}{
		"one of several gets further": {
			"127.0.0.1:" + freePort(t) + ",ray://" + raytest.Head(t).GCSAddress(),
			connector.KindWrongServer, ray.ErrOtherServer, "GCS", nil,
		},
		"no such name":      {"no-such-head.invalid:10001", connector.KindUnresolvable, ray.ErrUnresolvable, "RAY_ADDRESS", nil},
		"no head":           {"127.0.0.1:" + freePort(t), connector.KindAbsent, ray.ErrNotListening, "ray start --head", nil},
		"a web server":      {dashboard.Listener.Addr().String(), connector.KindNotRay, ray.ErrNotRay, "10001", nil},
		"a server hangs":    {hung.Addr().String(), connector.KindSilent, ray.ErrSilent, "restart", nil},
		"hangs before TLS":  {hung.Addr().String(), connector.KindSilent, ray.ErrSilent, "restart", strange},
		"the GCS":           {raytest.Head(t).GCSAddress(), connector.KindWrongServer, ray.ErrOtherServer, "GCS", nil},
		"another authority": {secret.Listener.Addr().String(), connector.KindTLS, ray.ErrTLS, "RAY_TLS_CA_CERT", strange},
		"no TLS there":      {raytest.Head(t).ClientAddress(), connector.KindTLS, ray.ErrTLS, "unset RAY_USE_TLS", strange},
		"a token is wanted": {
			clientServer{greeting: status.Error(codes.Unauthenticated, "token")}.start(t),
			connector.KindUnauthenticated, ray.ErrUnauthenticated, "RAY_AUTH_TOKEN", nil,
		},
		"what nobody knows": {
			clientServer{greeting: status.Error(codes.Internal, "mumble")}.start(t),
			connector.KindOther, ray.ErrNoClientServer, "seedcore doctor", nil,
		},
		"no room": {
			clientServer{session: status.Error(codes.ResourceExhausted, "full")}.start(t),
			connector.KindFull, ray.ErrServerFull, "RAY_CLIENT_SERVER_MAX_THREADS", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := newConnector(t, connector.Config{Address: "ray://" + c.address, Credentials: c.credentials})
			err := conn.Connect(deadline(t))
			problem, ok := errors.AsType[*connector.ConnectError](err)
			if !ok || problem.Kind != c.kind || !errors.Is(err, c.cause) || !strings.Contains(problem.NextStep, c.step) {
				t.Fatalf("%+v, %v", problem, err)
			}
			if info := conn.Info(); info.NextStep != problem.NextStep || info.LastError != err.Error() {
				t.Errorf("%+v", info)
			}
		})
	}
}

// A token that this process cannot read is told from one that the cluster does not want.
func TestATokenThatCannotBeHad(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{
		Address:     "ray://" + raytest.Head(t).ClientAddress(),
		Credentials: &ray.Credentials{Token: ray.TokenFile(filepath.Join(t.TempDir(), "none"))},
	})
	err := conn.Connect(deadline(t))
	problem, ok := errors.AsType[*connector.ConnectError](err)
	if !ok || problem.Kind != connector.KindToken || !errors.Is(err, os.ErrNotExist) || !strings.Contains(problem.NextStep, "RAY_AUTH_TOKEN_PATH") {
		t.Errorf("%+v, %v", problem, err)
	}
}

// meter keeps what it is told.
type meter struct {
	mu       sync.Mutex // guards what follows
	changes  []connector.Event
	outcomes []string
	at       []time.Time
	checks   map[string]int
	observed []connector.Cluster
	replaced []string
}

func (m *meter) Changed(e connector.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes = append(m.changes, e)
}

func (m *meter) Attempted(outcome string, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outcomes, m.at = append(m.outcomes, outcome), append(m.at, time.Now())
}

func (m *meter) Checked(link string, ok bool, _ time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.checks == nil {
		m.checks = map[string]int{}
	}
	if ok {
		m.checks[link]++
	}
}

func (m *meter) Attached(*connector.Connector) {}

func (m *meter) Replaced(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replaced = append(m.replaced, reason)
}

func (m *meter) Called(string, string, time.Duration) {}

func (m *meter) Observed(c connector.Cluster) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.observed = append(m.observed, c)
}

// The pauses grow to the slowest and no further, differ, and go on for ever.
func TestAttemptsGoOnWithRandomPauses(t *testing.T) {
	const first, slowest = time.Second, 8 * time.Second
	synctest.Test(t, func(t *testing.T) {
		var m meter
		conn, _ := newConnector(t, connector.Config{
			Address: "ray://127.0.0.1:1", FirstBackoff: first, SlowestBackoff: slowest, Metrics: &m,
		})
		conn.Start()
		time.Sleep(10 * time.Minute)
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		// 600 s at 4 s on average.
		if n := len(m.at); n < 100 || n > 250 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		short, long := 0, 0
		for i := 1; i < len(m.at); i++ {
			pause := m.at[i].Sub(m.at[i-1])
			if limit := min(first<<min(i-1, 10), slowest) + 100*time.Millisecond; pause > limit {
				t.Errorf("pause %d is %s, above %s", i, pause, limit)
			}
			if pause < slowest/2 {
				short++
			} else {
				long++
			}
		}
		if short < 20 || long < 20 {
			t.Errorf("the pauses are not drawn from all of their range: %d short and %d long ones", short, long)
		}
		for _, outcome := range m.outcomes {
			if outcome != string(connector.KindAbsent) {
				t.Errorf("outcome %q", outcome)
			}
		}
	})
}

func TestMeasurements(t *testing.T) {
	var m meter
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), HealthInterval: 20 * time.Millisecond, Metrics: &m,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.checks["session"] >= 2 && m.checks["gcs"] >= 2
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.outcomes) != 1 || m.outcomes[0] != "ok" || len(m.changes) < 2 || m.changes[1].To != connector.StateConnected {
		t.Errorf("outcomes %v, changes %v", m.outcomes, m.changes)
	}
}
