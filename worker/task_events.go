package worker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// lastReportTime is for how long the end of the process waits for the GCS to hear of the last tasks.
const lastReportTime = time.Second

// newTaskEvents makes what reports the tasks of this process to the GCS, as Ray's own workers do; nil where the node's
// configuration wants none.
func newTaskEvents(l *launch, g *gcsClient, getenv func(string) string, log *slog.Logger) *taskevents.Buffer {
	options, report, err := taskevents.FromEnv(getenv)
	if err != nil {
		log.Warn("the configuration of task events is not Ray's", "error", err)
	}
	if !report {
		return nil
	}
	client := corepb.NewTaskInfoGcsServiceClient(g.conn)
	return taskevents.New(options, taskevents.Worker{ID: l.workerID, NodeIP: l.nodeIP, PID: os.Getpid()},
		func(ctx context.Context, data *corepb.TaskEventData) error {
			reply, err := client.AddTaskEventData(g.identified(ctx), &corepb.AddTaskEventDataRequest{Data: data})
			if err != nil {
				return fmt.Errorf("report tasks to the GCS: %w", err)
			}
			return gcsError("report tasks to the GCS", reply.GetStatus())
		},
		func(err error) { log.Warn("Ray's state API may miss tasks of this actor", "error", err) })
}

// runningTask is a task that runs and is reported; the zero value is one that is not.
type runningTask struct {
	task taskevents.Task
	spec *corepb.TaskSpec
	from time.Time
}

// begins reports a task that is about to run, if its caller wants that.
func (w *coreWorker) begins(spec *corepb.TaskSpec) runningTask {
	if w.events == nil || !spec.GetEnableTaskEvents() {
		return runningTask{}
	}
	r := runningTask{taskevents.Of(spec), spec, time.Now()}
	w.events.Running(r.task, r.from)
	return r
}

// ends reports that it has run.
func (w *coreWorker) ends(r runningTask) {
	if !r.from.IsZero() {
		w.events.Ran(r.task, r.spec.GetName(), r.spec.GetFunctionDescriptor().GetPythonFunctionDescriptor().GetFunctionName(), r.from)
	}
}
