package ray

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// addOwner enters this process in the GCS's table of workers, under an id of its own.
func (g *GCS) addOwner(ctx context.Context, address *corepb.Address) error {
	now := uint64(time.Now().UnixMilli())
	reply, err := g.workers.AddWorkerInfo(ctx, &corepb.AddWorkerInfoRequest{WorkerData: &corepb.WorkerTableData{
		IsAlive: true, WorkerAddress: address, WorkerType: corepb.WorkerType_DRIVER, Pid: uint32(os.Getpid()), StartTimeMs: now,
		WorkerInfo: map[string][]byte{"language": []byte("go")},
	}})
	if err != nil {
		return fmt.Errorf("enter the receiver of a stream in the GCS: %w", err)
	}
	return gcsError(reply.GetStatus())
}

// removeOwner says that an owner is gone, which ends its streams and frees its objects.
func (g *GCS) removeOwner(ctx context.Context, address *corepb.Address) error {
	now := time.Now()
	reply, err := g.workers.ReportWorkerFailure(ctx, &corepb.ReportWorkerFailureRequest{WorkerFailure: &corepb.WorkerTableData{
		WorkerAddress: address, Timestamp: now.Unix(), WorkerType: corepb.WorkerType_DRIVER,
		ExitType: corepb.WorkerExitType_INTENDED_USER_EXIT, ExitDetail: "the receiver of streams was closed", Pid: uint32(os.Getpid()),
	}})
	if err != nil {
		return fmt.Errorf("take the receiver of a stream out of the GCS: %w", err)
	}
	return gcsError(reply.GetStatus())
}
