package taskevents

import (
	"encoding/hex"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// encode gathers events by task.
func (b *Buffer) encode(events []event) []*corepb.TaskEvents {
	var all []*corepb.TaskEvents
	known := make(map[Task]*corepb.TaskEvents, len(events))
	for i := range events {
		e := &events[i]
		m := known[e.task]
		if m == nil {
			m = &corepb.TaskEvents{TaskId: e.task.ID[:], JobId: e.task.Job[:], AttemptNumber: e.task.Attempt}
			known[e.task] = m
			all = append(all, m)
		}
		if e.kind == ran {
			m.ProfileEvents = b.encodeRan(e)
			continue
		}
		if m.StateUpdates == nil {
			m.StateUpdates = &corepb.TaskStateUpdate{StateTsNs: make(map[int32]int64, 2)}
		}
		e.encodeState(m, m.StateUpdates, b.worker)
	}
	return all
}

func (e *event) encodeState(m *corepb.TaskEvents, u *corepb.TaskStateUpdate, w Worker) {
	at := func(s corepb.TaskStatus) { u.StateTsNs[int32(s)] = e.at }
	switch e.kind {
	case submitted:
		at(corepb.TaskStatus_PENDING_ARGS_AVAIL)
		at(corepb.TaskStatus_SUBMITTED_TO_WORKER)
		u.NodeId, u.WorkerId = e.call.NodeID, e.call.WorkerID
		m.TaskInfo = &corepb.TaskInfoEntry{
			Type: corepb.TaskType_ACTOR_TASK, Name: e.call.Name, Language: corepb.Language_PYTHON, FuncOrClassName: e.call.Name,
			JobId: m.JobId, TaskId: m.TaskId, ActorId: e.call.ActorID, ParentTaskId: e.parent,
		}
	case running:
		at(corepb.TaskStatus_RUNNING)
		u.WorkerPid = int32(w.PID)
	case finished:
		at(corepb.TaskStatus_FINISHED)
	case failed:
		at(corepb.TaskStatus_FAILED)
		u.ErrorInfo = &corepb.RayErrorInfo{ErrorType: e.errorType, ErrorMessage: e.text}
	}
}

// encodeRan gives the timeline what Ray's own workers give it.
func (b *Buffer) encodeRan(e *event) *corepb.ProfileEvents {
	extra := make([]byte, 0, len(e.label.extra)+2*len(e.task.ID)+len(`"}`))
	extra = append(hex.AppendEncode(append(extra, e.label.extra...), e.task.ID[:]), `"}`...)
	return &corepb.ProfileEvents{
		ComponentType: "worker", ComponentId: b.worker.ID, NodeIpAddress: b.worker.NodeIP,
		Events: []*corepb.ProfileEventEntry{{EventName: "task::" + e.label.task, StartTime: e.at, EndTime: e.until, ExtraData: string(extra)}},
	}
}
