package ray

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// lastEventsTime bounds how long Close waits for the GCS to hear of the last calls.
const lastEventsTime = 2 * time.Second

func (g *GCS) addTaskEvents(ctx context.Context, data *corepb.TaskEventData) error {
	reply, err := g.tasks.AddTaskEventData(ctx, &corepb.AddTaskEventDataRequest{Data: data})
	if err != nil {
		return fmt.Errorf("ray: report calls to the GCS: %w", err)
	}
	return gcsError(reply.GetStatus())
}

func (d *Direct) closeEvents(ctx context.Context) {
	if d.events == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastEventsTime)
	defer cancel()
	d.events.Close(ctx)
}

// taskCalls says what is reported of the calls of each method of an actor.
func taskCalls(data *corepb.ActorTableData, class *actorClass) map[string]*taskevents.Call {
	address := data.GetAddress()
	node := address.GetNodeId()
	if len(node) != idLen { // fatal for the GCS: another length
		node = nil
	}
	calls := make(map[string]*taskevents.Call, len(class.methods))
	for _, method := range class.methods {
		calls[method] = &taskevents.Call{
			Name: class.taskName(method), ActorID: data.GetActorId(), NodeID: node, WorkerID: address.GetWorkerId(),
		}
	}
	return calls
}

// setParent names the task from whose method a call is made, if it is.
func setParent(ctx context.Context, spec *corepb.TaskSpec) {
	if parent := taskevents.Parent(ctx); parent != nil {
		spec.ParentTaskId = parent[:]
	}
}

// reportSent reports that a call is about to be sent.
func (d *Direct) reportSent(t *target, method string, spec *corepb.TaskSpec) taskevents.Task {
	if d.events == nil {
		return taskevents.Task{}
	}
	task := taskevents.Of(spec)
	d.events.Submitted(task, t.taskCalls[method], spec.GetParentTaskId())
	return task
}

// reportEnd reports how it ended.
func (d *Direct) reportEnd(task taskevents.Task, x *exchange) {
	switch {
	case d.events == nil:
	case x.err == nil && x.reply.GetWasCancelledBeforeRunning(), errors.Is(x.err, ErrTaskCancelled):
		d.events.Failed(task, corepb.ErrorType_TASK_CANCELLED, "cancelled")
	case x.err != nil:
		d.events.Failed(task, corepb.ErrorType_ACTOR_UNAVAILABLE, x.err.Error())
	case x.reply.GetIsApplicationError():
		d.events.Failed(task, corepb.ErrorType_TASK_EXECUTION_EXCEPTION, x.reply.GetTaskExecutionError())
	default:
		d.events.Finished(task)
	}
}
