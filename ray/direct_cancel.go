package ray

import (
	"context"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// The pauses between two attempts to cancel a task, each twice the one before: its worker may not know the task yet.
const firstCancelPause, slowestCancelPause = 50 * time.Millisecond, 5 * time.Second

// cancelTask asks the worker to cancel a call of ours, with what the method called in its turn, until the worker has heard of
// it or the call has ended. Whoever runs it sees to it that the call does end.
func (t *target) cancelTask(taskID, caller []byte, ended <-chan struct{}) {
	req := &corepb.CancelTaskRequest{
		IntendedTaskId: taskID, CallerWorkerId: caller, Recursive: true,
		ForceKill: false, // fatal: true
	}
	for pause := firstCancelPause; ; pause = min(2*pause, slowestCancelPause) {
		select {
		case <-ended:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(t.ctx, max(pause, time.Second))
		reply, err := t.worker.CancelTask(ctx, req)
		cancel()
		if err == nil && (reply.GetAttemptSucceeded() || reply.GetRequestedTaskRunning()) {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ended:
			timer.Stop()
			return
		case <-t.ctx.Done():
			timer.Stop()
			return
		}
	}
}
