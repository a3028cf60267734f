package ray_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// gcsRelay stands before the real GCS. It passes everything on, counts the questions for actors, and lets a test change
// the answers: an actor that is restarting for as long as a test wants, or that runs elsewhere, cannot be had otherwise.
type gcsRelay struct {
	corepb.UnimplementedActorInfoGcsServiceServer
	corepb.UnimplementedNodeInfoGcsServiceServer
	corepb.UnimplementedInternalKVGcsServiceServer
	corepb.UnimplementedWorkerInfoGcsServiceServer

	actors  corepb.ActorInfoGcsServiceClient
	nodes   corepb.NodeInfoGcsServiceClient
	kv      corepb.InternalKVGcsServiceClient
	workers corepb.WorkerInfoGcsServiceClient

	named, byID atomic.Int64 // questions so far
	// ask is called with each question for a named actor, and may wait or change it.
	ask func(context.Context, *corepb.GetNamedActorInfoRequest)
	// unregistered is how many questions by id are answered as if the actor were not registered yet.
	unregistered int64
	// change is called with each answer that has an actor.
	change func(*corepb.ActorTableData)
}

// relayed starts a relay and connects to the GCS through it. The hooks have to be set before.
func relayed(t *testing.T, relay *gcsRelay) *ray.GCS {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+raytest.Head(t).GCSAddress(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	relay.actors, relay.nodes, relay.kv = corepb.NewActorInfoGcsServiceClient(conn), corepb.NewNodeInfoGcsServiceClient(conn), corepb.NewInternalKVGcsServiceClient(conn)
	relay.workers = corepb.NewWorkerInfoGcsServiceClient(conn)
	server := grpc.NewServer()
	corepb.RegisterActorInfoGcsServiceServer(server, relay)
	corepb.RegisterNodeInfoGcsServiceServer(server, relay)
	corepb.RegisterInternalKVGcsServiceServer(server, relay)
	corepb.RegisterWorkerInfoGcsServiceServer(server, relay)
	address := serve(t, server)
	t.Cleanup(func() { _ = conn.Close() })
	gcs, err := ray.DialGCS(deadline(t), address, ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gcs.Close() })
	return gcs
}

// serve runs a server on a free port until the end of the test.
func serve(t *testing.T, server *grpc.Server) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Serve(listener) // ends with Stop
	}()
	t.Cleanup(func() {
		server.Stop()
		<-stopped
	})
	return listener.Addr().String()
}

func (r *gcsRelay) GetNamedActorInfo(ctx context.Context, req *corepb.GetNamedActorInfoRequest) (*corepb.GetNamedActorInfoReply, error) {
	r.named.Add(1)
	if r.ask != nil {
		r.ask(ctx, req)
	}
	reply, err := r.actors.GetNamedActorInfo(ctx, req)
	if data := reply.GetActorTableData(); data != nil && r.change != nil {
		r.change(data)
	}
	return reply, err
}

func (r *gcsRelay) GetActorInfo(ctx context.Context, req *corepb.GetActorInfoRequest) (*corepb.GetActorInfoReply, error) {
	if r.byID.Add(1) <= r.unregistered {
		return &corepb.GetActorInfoReply{}, nil
	}
	reply, err := r.actors.GetActorInfo(ctx, req)
	if data := reply.GetActorTableData(); data != nil && r.change != nil {
		r.change(data)
	}
	return reply, err
}

func (r *gcsRelay) CheckAlive(ctx context.Context, req *corepb.CheckAliveRequest) (*corepb.CheckAliveReply, error) {
	return r.nodes.CheckAlive(ctx, req)
}

func (r *gcsRelay) GetClusterId(ctx context.Context, req *corepb.GetClusterIdRequest) (*corepb.GetClusterIdReply, error) {
	return r.nodes.GetClusterId(ctx, req)
}

func (r *gcsRelay) InternalKVGet(ctx context.Context, req *corepb.InternalKVGetRequest) (*corepb.InternalKVGetReply, error) {
	return r.kv.InternalKVGet(ctx, req)
}

func (r *gcsRelay) AddWorkerInfo(ctx context.Context, req *corepb.AddWorkerInfoRequest) (*corepb.AddWorkerInfoReply, error) {
	return r.workers.AddWorkerInfo(ctx, req)
}

func (r *gcsRelay) ReportWorkerFailure(ctx context.Context, req *corepb.ReportWorkerFailureRequest) (*corepb.ReportWorkerFailureReply, error) {
	return r.workers.ReportWorkerFailure(ctx, req)
}
