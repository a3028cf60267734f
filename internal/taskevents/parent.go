package taskevents

import "context"

// TaskID is the id of a task.
type TaskID = [24]byte

type parentKey struct{}

// ParentKey is the key under which the context of a task's method has its id, a *TaskID.
var ParentKey any = parentKey{}

// Parent returns the id of the task to whose method a context belongs; nil: to none.
func Parent(ctx context.Context) *TaskID {
	id, _ := ctx.Value(ParentKey).(*TaskID)
	return id
}
