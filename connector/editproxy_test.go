package connector_test

import (
	"context"
	"io"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// editProxy forwards gRPC calls of any service to a target and lets edit change each answer: for what a real cluster
// cannot be made to say. It returns where it listens.
func editProxy(t *testing.T, target string, edit func(method string, answer []byte) []byte) string {
	t.Helper()
	back, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, front grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(front)
		md, _ := metadata.FromIncomingContext(front.Context())
		ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(front.Context(), md))
		defer cancel()
		onward, err := back.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			return err
		}
		go func() {
			for {
				var message []byte
				if front.RecvMsg(&message) != nil {
					_ = onward.CloseSend()
					return
				}
				if onward.SendMsg(&message) != nil {
					return
				}
			}
		}()
		for {
			var message []byte
			if err := onward.RecvMsg(&message); err == io.EOF { //nolint:errorlint // gRPC returns it as it is
				return nil
			} else if err != nil {
				return err
			}
			message = edit(method, message)
			if err := front.SendMsg(&message); err != nil {
				return err
			}
		}
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
		_ = back.Close()
	})
	return listener.Addr().String()
}

// rawCodec leaves messages as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// edited decodes a message, changes it and encodes it again.
func edited[M proto.Message](t *testing.T, data []byte, message M, change func(M)) []byte {
	if err := proto.Unmarshal(data, message); err != nil {
		t.Error(err)
		return data
	}
	change(message)
	data, err := proto.Marshal(message)
	if err != nil {
		t.Error(err)
	}
	return data
}
