// Package taskevents tells a cluster's GCS what happens to tasks, so that Ray's state API, dashboard and timeline show them.
// As in Ray, two processes report each call: who calls, that it was submitted and how it ended, and the actor, that it runs
// and for how long. Only calls whose specification asks for it (enable_task_events) are to be reported.
//
// What is reported waits in a bounded buffer of plain values, and goes out once an interval. Nothing runs, and nothing is
// encoded, while nothing happens.
package taskevents

import (
	"strings"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// Task is one attempt of a task.
type Task struct {
	ID      TaskID
	Job     [4]byte
	Attempt int32
}

// Of returns the task of a specification.
func Of(spec *corepb.TaskSpec) Task {
	t := Task{Attempt: spec.GetAttemptNumber()}
	copy(t.ID[:], spec.GetTaskId())
	copy(t.Job[:], spec.GetJobId())
	return t
}

// Call is what the caller of a method tells of it. It is shared by the calls of the method, and not changed.
type Call struct {
	Name     string // "Counter.add"
	ActorID  []byte
	NodeID   []byte // where the actor runs
	WorkerID []byte
}

// Worker is the process that runs tasks.
type Worker struct {
	ID     []byte
	NodeIP string
	PID    int
}

type kind uint8

const (
	submitted kind = iota
	running
	ran
	finished
	failed
)

// event is one thing that happened to a task.
type event struct {
	task      Task
	kind      kind
	errorType corepb.ErrorType
	at, until int64  // Unix time in ns; until: of ran
	call      *Call  // of submitted
	parent    []byte // of submitted: the task from which the call is made; may be nil
	label     *label // of ran
	text      string // of failed: why
}

// names are those of a task and of its method.
type names struct{ task, function string }

// label is how the timeline names what a task runs.
type label struct {
	names

	extra string // JSON, up to the id of the task
}

const (
	// maxText bounds the text of one error, and maxTexts that of all that wait, in bytes.
	maxText, maxTexts = 4 << 10, 16 << 20
	// maxLabels bounds the labels that are remembered: callers may choose the names of tasks.
	maxLabels = 1024
)

// Submitted reports a call that is about to be sent. parent is the id of the task from which it is made; nil: none that is
// known.
func (b *Buffer) Submitted(t Task, call *Call, parent []byte) {
	b.add(event{task: t, kind: submitted, at: time.Now().UnixNano(), call: call, parent: parent})
}

// Finished reports the end of a call.
func (b *Buffer) Finished(t Task) {
	b.add(event{task: t, kind: finished, at: time.Now().UnixNano()})
}

// Failed reports the end of a call that has no result.
func (b *Buffer) Failed(t Task, why corepb.ErrorType, text string) {
	if len(text) > maxText {
		text = text[:maxText] + "\n... (cut)"
	}
	// A copy: the text may lie in a large message.
	b.add(event{task: t, kind: failed, errorType: why, at: time.Now().UnixNano(), text: strings.ToValidUTF8(strings.Clone(text), "?")})
}

// Running reports since when a task runs in this process.
func (b *Buffer) Running(t Task, since time.Time) {
	b.add(event{task: t, kind: running, at: since.UnixNano()})
}

// Ran reports, for the timeline, from when on until now a task ran in this process. name is the
// task's, function that of the method; they are not kept.
func (b *Buffer) Ran(t Task, name, function string, from time.Time) {
	if b.options.NoTimeline {
		return
	}
	until := time.Now().UnixNano()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.push(event{task: t, kind: ran, at: from.UnixNano(), until: until, label: b.labelled(names{name, function})})
}
