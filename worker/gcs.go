package worker

import (
	"context"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

const (
	announceAttempts = 3
	announceTime     = 10 * time.Second // an attempt
	announcePause    = time.Second
	// gcsIdle is how long the connection to the GCS stays without a request: an idle actor keeps none.
	gcsIdle = 5 * time.Second
)

// gcsClient reaches the GCS for what Ray shows of this process. The connection is made when there is something to say.
type gcsClient struct {
	conn      *grpc.ClientConn
	clusterID string // hex; may be empty
}

func newGCSClient(l *launch) (*gcsClient, error) {
	options, _ := l.access.credentials.DialOptions(l.gcsAddress) // the raylet has warned of what there is to warn of
	conn, err := grpc.NewClient(l.gcsAddress, append(options, grpc.WithNoProxy(), grpc.WithIdleTimeout(gcsIdle))...)
	if err != nil {
		return nil, fmt.Errorf("the GCS at %s: %w", l.gcsAddress, err)
	}
	return &gcsClient{conn, l.clusterID}, nil
}

// identified returns the context of a request: another cluster refuses it.
func (g *gcsClient) identified(ctx context.Context) context.Context {
	if g.clusterID == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "ray_cluster_id", g.clusterID)
}

// addWorkerInfo enters the process in the GCS's table of workers, so that Ray's state API and dashboard list it. Nothing
// else depends on it.
func (g *gcsClient) addWorkerInfo(ctx context.Context, l *launch, address *corepb.Address, launched time.Time) error {
	ctx = g.identified(ctx)
	now := uint64(launched.UnixMilli())
	request := &corepb.AddWorkerInfoRequest{WorkerData: &corepb.WorkerTableData{
		IsAlive: true, WorkerAddress: address, WorkerType: corepb.WorkerType_WORKER, Pid: uint32(os.Getpid()),
		StartTimeMs: now, WorkerLaunchTimeMs: l.launchTimeMs, WorkerLaunchedTimeMs: now,
		WorkerInfo: map[string][]byte{"node_ip_address": []byte(l.nodeIP), "language": []byte("go")},
	}}
	client := corepb.NewWorkerInfoGcsServiceClient(g.conn)
	for attempt := 1; ; attempt++ {
		err := addOnce(ctx, client, request)
		if err == nil || attempt == announceAttempts {
			return err
		}
		select {
		case <-time.After(announcePause):
		case <-ctx.Done():
			return err
		}
	}
}

func addOnce(ctx context.Context, client corepb.WorkerInfoGcsServiceClient, request *corepb.AddWorkerInfoRequest) error {
	ctx, cancel := context.WithTimeout(ctx, announceTime)
	defer cancel()
	reply, err := client.AddWorkerInfo(ctx, request)
	if err != nil {
		return fmt.Errorf("add the worker to the GCS: %w", err)
	}
	return gcsError("add the worker to the GCS", reply.GetStatus())
}

// gcsError finds the errors that the GCS reports in the body.
func gcsError(what string, s *corepb.GcsStatus) error {
	if s.GetCode() == 0 {
		return nil
	}
	return fmt.Errorf("%s: code %d: %s", what, s.GetCode(), s.GetMessage())
}
