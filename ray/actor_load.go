package ray

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// ActorLoad is what the process of an actor says of its work.
type ActorLoad struct {
	// PID is the process that answered.
	PID int
	// Running and Waiting count the calls that run and that wait for their turn.
	Running, Waiting int
	// Executed counts the calls that have ended since the process began.
	Executed int
}

// ActorLoad asks the process that hosts an actor for its load. The question does not queue behind the actor's calls, so
// that it tells a busy actor from one whose process does not go on. info has to be of an actor that is alive. A process
// that does not answer before ctx ends, or at the latest after DefaultGCSTimeout, is an error that wraps ErrUnreachable;
// so is another process that has its address by now.
func (g *GCS) ActorLoad(ctx context.Context, info ActorInfo) (load ActorLoad, err error) {
	worker, err := hex.DecodeString(info.WorkerID)
	if err != nil || len(worker) != idLen || info.IP == "" || info.Port <= 0 {
		return ActorLoad{}, fmt.Errorf("%w: actor %s/%s has no process: %s", ErrActorUnavailable, info.Namespace, info.Name, info.State)
	}
	ctx, cancel := context.WithTimeout(ctx, DefaultGCSTimeout)
	defer cancel()
	address := net.JoinHostPort(info.IP, strconv.Itoa(info.Port))
	conn, err := visit(address, g.credentials)
	if err != nil {
		return ActorLoad{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	reply, err := corepb.NewCoreWorkerServiceClient(conn).GetCoreWorkerStats(ctx, &corepb.GetCoreWorkerStatsRequest{IntendedWorkerId: worker})
	if err != nil {
		return ActorLoad{}, fmt.Errorf("%w at %s: %w", ErrUnreachable, address, err)
	}
	stats := reply.GetCoreWorkerStats()
	return ActorLoad{
		PID:      int(stats.GetPid()),
		Running:  int(stats.GetNumRunningTasks()),
		Waiting:  int(stats.GetTaskQueueLength()),
		Executed: int(stats.GetNumExecutedTasks()),
	}, nil
}
