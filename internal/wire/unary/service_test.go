package unary_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// service is one of gRPC's, with a real server around it.
type service struct {
	*grpc.Server
	address string

	running atomic.Int64 // calls
	most    atomic.Int64 // of them at a time
	entered chan context.Context
	leave   chan struct{}

	mu  sync.Mutex // guards ran
	ran map[uint32]int
}

// count returns how many calls there were with a number.
func (s *service) count(n uint32) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran[n]
}

const prefix = "/test.Service/"

// serve runs a service on a port of this machine.
func serve(t testing.TB, options ...grpc.ServerOption) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(options...)
	s.address = listener.Addr().String()
	go func() { _ = s.Serve(listener) }() // Stop waits for it
	t.Cleanup(s.Stop)
	return s
}

func newService(options ...grpc.ServerOption) *service {
	s := &service{Server: grpc.NewServer(append([]grpc.ServerOption{grpc.MaxRecvMsgSize(1 << 30)}, options...)...), entered: make(chan context.Context, 1000), leave: make(chan struct{}), ran: map[uint32]int{}}
	handler := func(name string, handle func(context.Context, *wrapperspb.BytesValue) error) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			n := s.running.Add(1)
			defer s.running.Add(-1)
			most := s.most.Load()
			for n > most && !s.most.CompareAndSwap(most, n) {
				most = s.most.Load()
			}
			m := &wrapperspb.BytesValue{}
			if err := decode(m); err != nil {
				return nil, err
			}
			return m, handle(ctx, m)
		}}
	}
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Service", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		handler("Echo", func(context.Context, *wrapperspb.BytesValue) error { return nil }),
		handler("Fail", func(_ context.Context, m *wrapperspb.BytesValue) error { // with the code of the first byte, and this message
			return status.Error(codes.Code(m.Value[0]), string(m.Value[1:]))
		}),
		handler("Metadata", func(ctx context.Context, m *wrapperspb.BytesValue) error { // answers a header
			md, _ := metadata.FromIncomingContext(ctx)
			name := string(m.Value)
			m.Value = nil
			for _, value := range md[name] {
				m.Value = append(m.Value, value...)
			}
			return grpc.SetTrailer(ctx, metadata.Pairs("asked", name, "asked", "again"))
		}),
		handler("Count", func(_ context.Context, m *wrapperspb.BytesValue) error { // calls with the number that they begin with
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ran[binary.BigEndian.Uint32(m.Value)]++
			return nil
		}),
		handler("Wait", func(ctx context.Context, m *wrapperspb.BytesValue) error { // until it may leave
			s.entered <- ctx
			select {
			case <-s.leave:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}),
	}}, struct{}{})
	return s
}

// dial returns a connection to a service; it is encrypted where there is a config for it.
func (s *service) dial(t testing.TB, opts unary.Options, secure *tls.Config) *unary.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	if secure != nil {
		nc = tls.Client(nc, secure)
	}
	return connect(t, nc, opts)
}

func connect(t testing.TB, nc net.Conn, opts unary.Options) *unary.Conn {
	t.Helper()
	c, err := unary.New(t.Context(), nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// invoke calls a method.
func invoke(ctx context.Context, c *unary.Conn, name string, value []byte) ([]byte, error) {
	out := &wrapperspb.BytesValue{}
	err := c.Invoke(ctx, prefix+name, wrapperspb.Bytes(value), out)
	return out.Value, err
}

// begin starts a call of a method.
func begin(t testing.TB, c *unary.Conn, name string, value []byte) *unary.Call {
	t.Helper()
	call := prepared(t, name, value)
	c.Start(call)
	return call
}

// prepared returns a call that is not started.
func prepared(t testing.TB, name string, value []byte) *unary.Call {
	t.Helper()
	message, err := proto.Marshal(wrapperspb.Bytes(value))
	if err != nil {
		t.Fatal(err)
	}
	call := newCall(string(message))
	call.Method, call.KeepTrailer = prefix+name, true
	return call
}

// ended waits for a call, and returns its answer.
func ended(call *unary.Call) ([]byte, error) {
	<-call.Done()
	if call.Err != nil {
		return nil, call.Err
	}
	out := &wrapperspb.BytesValue{}
	err := proto.Unmarshal(call.Reply, out)
	return out.Value, err
}
