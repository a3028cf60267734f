package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Message is one gRPC message on its way through a Middleman.
type Message struct {
	// Method is the full name, such as "/ray.rpc.RayletDataStreamer/Datapath".
	Method string
	// Response tells the server's messages from the client's.
	Response bool
	// Data is the serialized message. A hook may replace it.
	Data []byte
}

// Hook sees a message before it is passed on. An error ends the call: the client gets it as its status, unless it is one
// already Unavailable, and the message never arrives; the server sees that the client went away. Hooks are called from
// several goroutines.
type Hook func(*Message) error

// Middleman is a gRPC proxy for fault tests, of any service. Unlike Proxy it knows messages: it can fail the third chunk of
// an answer, or let a request arrive and lose what comes back. Put a Proxy in front of it to cut connections as well.
type Middleman struct {
	listener net.Listener
	server   *grpc.Server
	conn     *grpc.ClientConn
	serving  sync.WaitGroup // the server, and who reads the clients' streams

	mu   sync.Mutex // guards hook
	hook Hook
}

// NewMiddleman opens a middleman to the target (host:port) that is closed at the end of the test.
func NewMiddleman(t testing.TB, target string) *Middleman {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		t.Fatal(errors.Join(err, listener.Close()))
	}
	m := &Middleman{listener: listener, conn: conn}
	m.server = grpc.NewServer(grpc.WaitForHandlers(true), grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(m.forward),
		grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32),
		// As patient with pings as Ray's servers are.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	m.serving.Go(func() { _ = m.server.Serve(listener) }) // ends with Stop
	t.Cleanup(func() {
		m.server.Stop()
		m.serving.Wait()
		_ = conn.Close()
	})
	return m
}

// Address returns the host:port to connect to.
func (m *Middleman) Address() string { return m.listener.Addr().String() }

// SetHook replaces the hook; nil passes everything on.
func (m *Middleman) SetHook(hook Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

// see runs the hook, without the lock.
func (m *Middleman) see(msg *Message) error {
	m.mu.Lock()
	hook := m.hook
	m.mu.Unlock()
	if hook == nil {
		return nil
	}
	err := hook(msg)
	if err != nil && status.Code(err) == codes.Unknown {
		err = status.Error(codes.Unavailable, err.Error())
	}
	return err
}

// forward carries one call.
func (m *Middleman) forward(_ any, client grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(client)
	ctx, cancel := context.WithCancelCause(client.Context())
	defer cancel(nil)
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	server, err := m.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
	if err != nil {
		return err
	}
	// It ends after this function: only then does the client's stream let go of who reads it.
	m.serving.Go(func() {
		if err := m.pump(method, false, client.RecvMsg, server.SendMsg); errors.Is(err, io.EOF) {
			_ = server.CloseSend() // the server's own end tells what became of the call
		} else {
			cancel(err)
		}
	})
	err = m.pump(method, true, server.RecvMsg, client.SendMsg)
	if cause := context.Cause(ctx); cause != nil && client.Context().Err() == nil {
		return cause
	}
	client.SetTrailer(server.Trailer())
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// pump passes messages on in one direction until it ends.
func (m *Middleman) pump(method string, response bool, receive, send func(any) error) error {
	for {
		var raw []byte
		if err := receive(&raw); err != nil {
			return err
		}
		msg := &Message{Method: method, Response: response, Data: raw}
		if err := m.see(msg); err != nil {
			return err
		}
		if err := send(&msg.Data); err != nil {
			return err
		}
	}
}

// rawCodec passes messages on without looking into them.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	raw, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("faultproxy: a %T is no raw message", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*raw)}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	raw, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("faultproxy: a %T is no raw message", v)
	}
	*raw = data.Materialize()
	return nil
}
