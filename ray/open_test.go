package ray_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// listen serves connections until the end of the test.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

func grpcServer(t *testing.T, opts ...grpc.ServerOption) (*grpc.Server, func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(opts...)
	return server, func() string {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			_ = server.Serve(l) // its error is the stop
		}()
		t.Cleanup(func() {
			server.Stop()
			<-stopped
		})
		return l.Addr().String()
	}
}

// Whatever is at the address, Open says so, in bounded time and without leaving anything behind.
func TestOpenFindsNoClientServer(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	_, otherGRPC := grpcServer(t)
	release := make(chan struct{})
	_, full := grpcServer(t, grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
		<-release
		return nil
	}))
	for name, c := range map[string]struct {
		address string
		timeout time.Duration
		hint    string
	}{
		"nothing":      {closed.Addr().String(), time.Minute, "refused"},
		"no such name": {"no-such-host.invalid:10001", time.Minute, "no-such-host.invalid"},
		"a web server": {web.Listener.Addr().String(), time.Minute, "ray start"},
		"the dashboard": {listen(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\nPause on PRI/Upgrade")
			_, _ = io.Copy(io.Discard, c)
		}), time.Minute, "8265"},
		"garbage":           {listen(t, func(c net.Conn) { _, _ = c.Write([]byte(strings.Repeat("garbage ", 100))) }), time.Minute, ""},
		"a closing server":  {listen(t, func(net.Conn) {}), time.Minute, ""},
		"silence":           {listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), time.Minute, ""},
		"another server":    {otherGRPC(), time.Minute, "10001"},
		"the GCS":           {raytest.Head(t).GCSAddress(), time.Minute, "10001"},
		"a server too full": {full(), time.Second, "deadline"},
	} {
		t.Run(name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			defer cancel()
			_, err := ray.Open(ctx, ray.Config{Address: c.address, Namespace: "x"})
			if !errors.Is(err, ray.ErrNoClientServer) || !strings.Contains(err.Error(), c.address) || !strings.Contains(err.Error(), c.hint) {
				t.Errorf("%v", err)
			}
			if ray.SentOf(err) != ray.SentNo {
				t.Errorf("sent %v", ray.SentOf(err))
			}
			t.Log(err)
			if name == "a server too full" {
				close(release)
			}
			goleak.VerifyNone(t, before)
		})
	}
}

func TestOpenIsCancelled(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	// On the way the server starts a process.
	if _, err := ray.Open(ctx, ray.Config{Address: raytest.Head(t).ClientAddress(), Namespace: "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	goleak.VerifyNone(t, before)
}

// scripted is a Ray Client server that behaves in ways which a real one cannot be made to. It knows only how sessions
// begin.
type scripted struct {
	raypb.UnimplementedRayletDriverServer
	raypb.UnimplementedRayletDataStreamerServer
	init      func(attempt int, req *raypb.InitRequest) (*raypb.InitResponse, error)
	namespace string
	// fail, when set, is asked before a request on the data channel is answered that comes after the session began, and before
	// a look into the key-value store; its error ends the stream, or the request.
	fail func() error

	mu      sync.Mutex // guards clients
	clients []string
}

func (s *scripted) ClusterInfo(_ context.Context, in *raypb.ClusterInfoRequest) (*raypb.ClusterInfoResponse, error) {
	if in.GetType() == raypb.ClusterInfoType_RUNTIME_CONTEXT {
		return &raypb.ClusterInfoResponse{ResponseType: &raypb.ClusterInfoResponse_RuntimeContext_{
			RuntimeContext: &raypb.ClusterInfoResponse_RuntimeContext{Namespace: s.namespace},
		}}, nil
	}
	return &raypb.ClusterInfoResponse{}, nil
}

func (s *scripted) Datapath(stream grpc.BidiStreamingServer[raypb.DataRequest, raypb.DataResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	s.mu.Lock()
	s.clients = append(s.clients, strings.Join(md.Get("client_id"), ",")+strings.Join(md.Get("reconnecting"), ","))
	attempt := len(s.clients)
	s.mu.Unlock()
	for {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		out := &raypb.DataResponse{ReqId: in.GetReqId()}
		switch body := in.GetType().(type) {
		case *raypb.DataRequest_Init:
			answer, err := s.init(attempt, body.Init)
			if err != nil {
				return err
			}
			out.Type = &raypb.DataResponse_Init{Init: answer}
		case *raypb.DataRequest_ConnectionInfo:
			if err := s.failure(); err != nil {
				return err
			}
			out.Type = &raypb.DataResponse_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoResponse{NumClients: 1, RayVersion: "9.9.9"}}
		case *raypb.DataRequest_ConnectionCleanup:
			out.Type = &raypb.DataResponse_ConnectionCleanup{ConnectionCleanup: &raypb.ConnectionCleanupResponse{}}
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

func (s *scripted) KVExists(context.Context, *raypb.KVExistsRequest) (*raypb.KVExistsResponse, error) {
	return &raypb.KVExistsResponse{Exists: true}, s.failure()
}

func (s *scripted) failure() error {
	if s.fail == nil {
		return nil
	}
	return s.fail()
}

func (s *scripted) start(t *testing.T) string {
	t.Helper()
	server, serve := grpcServer(t)
	raypb.RegisterRayletDriverServer(server, s)
	raypb.RegisterRayletDataStreamerServer(server, s)
	return serve()
}

func TestOpenTriesAgainAsANewClient(t *testing.T) {
	accept := &raypb.InitResponse{Ok: true}
	for name, c := range map[string]struct {
		init     func(int, *raypb.InitRequest) (*raypb.InitResponse, error)
		attempts int
		err      error
		text     string
	}{
		"the process did not start": {func(n int, _ *raypb.InitRequest) (*raypb.InitResponse, error) {
			if n < 3 {
				return &raypb.InitResponse{Msg: "Traceback (most recent call last):\n  ...\nRuntimeError: Starting Ray client server failed. See ray_client_server_23000.err for detailed logs."}, nil
			}
			return accept, nil
		}, 3, nil, ""},
		"the connection broke": {func(n int, _ *raypb.InitRequest) (*raypb.InitResponse, error) {
			if n < 2 {
				return nil, status.Error(codes.Unavailable, "broken")
			}
			return accept, nil
		}, 2, nil, ""},
		"the server is full": {func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
			return nil, status.Error(codes.ResourceExhausted, "")
		}, 1, ray.ErrNoClientServer, "RAY_CLIENT_SERVER_MAX_THREADS"},
		"a token is missing": {func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
			return nil, status.Error(codes.Unauthenticated, "Invalid or missing authentication token")
		}, 1, nil, "token"},
		"refused for good": {func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
			return &raypb.InitResponse{Msg: "Traceback:\nValueError: no such thing"}, nil
		}, 1, nil, "no such thing"},
	} {
		t.Run(name, func(t *testing.T) {
			server := &scripted{namespace: "x", init: c.init}
			s, err := ray.Open(deadline(t), ray.Config{Address: server.start(t), Namespace: "x"})
			if s != nil {
				closeSession(t, s)
			}
			if c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)) || c.err != nil && !errors.Is(err, c.err) || c.text == "" && err != nil {
				t.Errorf("%v", err)
			}
			server.mu.Lock()
			defer server.mu.Unlock()
			ids := map[string]bool{}
			for _, id := range server.clients {
				if ids[id] || !strings.HasSuffix(id, "False") {
					t.Errorf("client %q came again or as a known one", id)
				}
				ids[id] = true
			}
			if len(ids) != c.attempts {
				t.Errorf("%d attempts instead of %d", len(ids), c.attempts)
			}
		})
	}
}

// A Ray that nobody tried is no error: a warning tells of it.
func TestOpenWarnsOfAVersionThatNobodyTried(t *testing.T) {
	server := &scripted{namespace: "x", init: func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
		return &raypb.InitResponse{Ok: true}, nil
	}}
	log := &recorder{texts: map[string]map[string]string{}}
	s, err := ray.Open(deadline(t), ray.Config{Address: server.start(t), Namespace: "x", Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSession(t, s)
	warning := log.find("the cluster is not one that this driver was tested with")
	if len(log.texts) != 1 || !strings.Contains(warning["problem"], "Ray 9.9.9") || !strings.Contains(warning["problem"], strings.Join(ray.TestedVersions(), ", ")) {
		t.Errorf("%v", log.texts)
	}
	if s.Info().Untested() != warning["problem"] {
		t.Errorf("%q", s.Info().Untested())
	}
}

func TestOpenInsistsOnTheNamespace(t *testing.T) {
	server := &scripted{namespace: "another", init: func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
		return &raypb.InitResponse{Ok: true}, nil
	}}
	if _, err := ray.Open(deadline(t), ray.Config{Address: server.start(t), Namespace: "x"}); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("%v", err)
	}
}

func TestOpenGivesUpOnAServerThatNeverStartsItsProcess(t *testing.T) {
	done := make(chan struct{})
	server := &scripted{namespace: "x", init: func(int, *raypb.InitRequest) (*raypb.InitResponse, error) {
		<-done
		return nil, io.EOF
	}}
	address := server.start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	before := goleak.IgnoreCurrent()
	if _, err := ray.Open(ctx, ray.Config{Address: address, Namespace: "x"}); !errors.Is(err, ray.ErrNoClientServer) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	close(done)
	goleak.VerifyNone(t, before)
}
