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
)

// addWorkerInfo enters the process in the GCS's table of workers, so that Ray's state API and dashboard list it. Nothing
// else depends on it. The connection is closed again: an idle actor keeps none.
func addWorkerInfo(ctx context.Context, l *launch, address *corepb.Address, launched time.Time) error {
	options, _ := l.access.credentials.DialOptions(l.gcsAddress) // the raylet has warned of what there is to warn of
	conn, err := grpc.NewClient(l.gcsAddress, append(options, grpc.WithNoProxy())...)
	if err != nil {
		return fmt.Errorf("connect to the GCS at %s: %w", l.gcsAddress, err)
	}
	defer conn.Close() //nolint:errcheck // there is nothing to do about it
	if l.clusterID != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "ray_cluster_id", l.clusterID) // another cluster refuses it
	}
	now := uint64(launched.UnixMilli())
	request := &corepb.AddWorkerInfoRequest{WorkerData: &corepb.WorkerTableData{
		IsAlive: true, WorkerAddress: address, WorkerType: corepb.WorkerType_WORKER, Pid: uint32(os.Getpid()),
		StartTimeMs: now, WorkerLaunchTimeMs: l.launchTimeMs, WorkerLaunchedTimeMs: now,
		WorkerInfo: map[string][]byte{"node_ip_address": []byte(l.nodeIP), "language": []byte("go")},
	}}
	client := corepb.NewWorkerInfoGcsServiceClient(conn)
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
	if s := reply.GetStatus(); s.GetCode() != 0 { // the GCS reports its errors in the body
		return fmt.Errorf("add the worker to the GCS: code %d: %s", s.GetCode(), s.GetMessage())
	}
	return nil
}
