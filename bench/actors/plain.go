package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seedcore/seedcore/bench/peer"
)

// Plain gRPC: an echo of bytes in one field, by its own code for protobuf messages, and with its defaults.
const plainMethod = "/bench.Plain/Echo"

const plainMessage = 64 << 20

var plainService = grpc.ServiceDesc{
	ServiceName: "bench.Plain", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var message wrapperspb.BytesValue
		err := decode(&message)
		return &message, err
	}}},
}

type plainHello struct {
	Address string `json:"address"`
	Path    string `json:"path"`
}

func servePlain(in io.Reader, out io.Writer) (err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(plainMessage))
	server.RegisterService(&plainService, nil)
	var serving sync.WaitGroup
	var serveErr error
	serving.Go(func() { serveErr = server.Serve(listener) })
	err = peer.Serve(in, out, plainHello{Address: listener.Addr().String(), Path: wayPlain}, func(c command) (sample, error) {
		return sample{}, errors.New("the server takes no commands")
	})
	server.Stop()
	serving.Wait()
	return errors.Join(err, serveErr)
}

func servePlainCaller(ctx context.Context, address string, in io.Reader, out io.Writer) (err error) {
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(plainMessage)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	call := func(ctx context.Context, _ string, payload []byte) error {
		var reply wrapperspb.BytesValue
		if err := conn.Invoke(ctx, plainMethod, wrapperspb.Bytes(payload), &reply); err != nil {
			return err
		}
		return echoed(reply.GetValue(), payload)
	}
	return peer.Serve(in, out, hello{Path: wayPlain, Ray: grpc.Version, Settings: "gRPC's defaults"},
		func(c command) (sample, error) { return measureCalls(ctx, c, call) })
}
