package faultproxy_test

import (
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/faultproxy"
)

// healthServer is a gRPC server with unary and streaming methods.
func healthServer(t *testing.T) (*health.Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// Whatever else is called is an echo, which goes on until the client ends it.
	server, service := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		for {
			msg := &healthpb.HealthCheckRequest{}
			if err := stream.RecvMsg(msg); err != nil {
				return err
			}
			if err := stream.SendMsg(msg); err != nil {
				return err
			}
		}
	})), health.NewServer()
	healthpb.RegisterHealthServer(server, service)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return service, listener.Addr().String()
}

func TestMiddleman(t *testing.T) {
	service, address := healthServer(t)
	middleman := faultproxy.NewMiddleman(t, address)
	conn, err := grpc.NewClient("passthrough:///"+middleman.Address(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := healthpb.NewHealthClient(conn)
	check := func(name string) (healthpb.HealthCheckResponse_ServingStatus, error) {
		reply, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: name}, grpc.WaitForReady(true))
		return reply.GetStatus(), err
	}
	if got, err := check(""); got != healthpb.HealthCheckResponse_SERVING || err != nil {
		t.Fatalf("%v, %v", got, err)
	}
	// The server's own status passes.
	if _, err := check("unknown"); status.Code(err) != codes.NotFound {
		t.Errorf("%v", err)
	}
	var requests atomic.Int64
	middleman.SetHook(func(m *faultproxy.Message) error {
		if !strings.HasSuffix(m.Method, "/Check") {
			return nil
		}
		if m.Response {
			return errors.New("the answer is lost")
		}
		requests.Add(1)
		return nil
	})
	if _, err := check(""); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "the answer is lost") || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	middleman.SetHook(func(m *faultproxy.Message) error {
		if !m.Response {
			m.Data = nil // an empty request asks for the server as a whole
		}
		return nil
	})
	if got, err := check("unknown"); got != healthpb.HealthCheckResponse_SERVING || err != nil {
		t.Errorf("%v, %v", got, err)
	}

	// A stream: the second answer ends it.
	var answers atomic.Int64
	middleman.SetHook(func(m *faultproxy.Message) error {
		if m.Response && answers.Add(1) == 2 {
			return status.Error(codes.DataLoss, "enough")
		}
		return nil
	})
	stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	service.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := stream.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("%v", err)
	}
	// The client of a stream hears of it although it goes on sending nothing.
	middleman.SetHook(func(m *faultproxy.Message) error {
		if m.Response {
			return errors.New("broken")
		}
		return nil
	})
	both, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test/Echo")
	if err != nil {
		t.Fatal(err)
	}
	if err := both.SendMsg(&healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := both.RecvMsg(&healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
	middleman.SetHook(nil)
	if got, err := check(""); got != healthpb.HealthCheckResponse_NOT_SERVING || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}
