package ray

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// SystemError is what Ray itself says about a call that did not end as it should: an actor died, a worker crashed, a node
// ran out of memory. It arrives in a CallError, which tells whether the call may have run.
//
// Most of Ray's conditions have a type of their own, which embeds a SystemError: ActorDiedError, TaskCancelledError and so on.
// errors.AsType finds that type, the SystemError in it, and errors.Is the condition, such as ErrActorDied. Every error of
// this package that is one of these conditions has its type, also where this process found out and not Ray: the context of
// a Get ended (GetTimeoutError), or the process of an actor went away under a direct call (ActorUnavailableError).
type SystemError struct {
	// Class is Ray's class, such as "ActorDiedError".
	Class string
	// Message is Ray's explanation.
	Message string
	// Err is what this process knows of the cause, such as the error of its context; mostly nil. It is in the chain.
	Err error
}

func (e *SystemError) Error() string { return e.text(conditionOf(e.Class).is) }

// Unwrap returns Err.
func (e *SystemError) Unwrap() error { return e.Err }

// Is reports whether target is the condition that e stands for.
func (e *SystemError) Is(target error) bool {
	return target != nil && conditionOf(e.Class).is == target
}

func (e *SystemError) text(is error) string {
	text := "ray: " + e.Class
	if is != nil {
		text = is.Error()
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// ActorDiedError says that the actor is dead and will not be restarted: ErrActorDied. Of the fields, those that Ray told are
// set; a session is told less by Ray before 2.60 and for an actor whose constructor failed.
type ActorDiedError struct {
	// The Class is "ActorUnschedulableError" or "ActorPlacementGroupRemoved" for an actor that never had a place.
	SystemError
	ActorID string // 32 hex characters
	// ActorClass is the class of the actor, Name and Namespace what it was called; an unnamed one has no Name.
	ActorClass, Name, Namespace string
	// PID was its process, and IP its node.
	PID int
	IP  string
	// InitFailed says that its constructor raised; Cause is then what, mostly a *TaskError. It is not in the chain of
	// errors.Is: that one speaks of this call.
	InitFailed bool
	Cause      error
	// Preempted says that its node was taken away, as spot instances are.
	Preempted bool
}

// ActorUnavailableError says that the actor is starting or restarting, or its process went away during the call:
// ErrActorUnavailable.
type ActorUnavailableError struct {
	SystemError
	ActorID string // 32 hex characters; empty where it is not known
}

// ActorExistsError says that a name is taken: ErrActorExists.
type ActorExistsError struct {
	SystemError
	Name, Namespace string
}

// GetTimeoutError says that a value did not arrive in time: ErrGetTimeout. Err is the error of the context, where a context
// of this process ended.
type GetTimeoutError struct{ SystemError }

// TaskCancelledError says that the task was cancelled: ErrTaskCancelled.
type TaskCancelledError struct {
	SystemError
	TaskID string // the task, 48 hex characters, where Ray names it
}

// WorkerCrashedError says that the process of the task ended unexpectedly: ErrWorkerCrashed.
type WorkerCrashedError struct{ SystemError }

// NodeDiedError says that the node of the task was lost: ErrNodeDied. Ray gives a text only.
type NodeDiedError struct{ SystemError }

// OutOfMemoryError says that Ray ended the process of the task because its node ran out of memory: ErrOutOfMemory. Ray gives
// a text only, which names the node and what used its memory.
type OutOfMemoryError struct{ SystemError }

// ObjectStoreFullError says that the object store has no room, or, with the Class "OutOfDiskError", the disk behind it:
// ErrObjectStoreFull.
type ObjectStoreFullError struct{ SystemError }

// ObjectLostError says that a value is gone: ErrObjectLost. The Class says how: "OwnerDiedError", "ObjectFreedError",
// "ObjectReconstructionFailedError" and others.
type ObjectLostError struct {
	SystemError
	ObjectID string // 56 hex characters
	CallSite string // where Python made it; mostly empty, see RAY_record_ref_creation_sites
	// Owner is the process that made it; nil where Ray does not tell.
	Owner *ObjectOwner
}

// ObjectOwner is a process that looks after objects.
type ObjectOwner struct {
	IP               string
	Port             int
	WorkerID, NodeID string // 56 hex characters each
}

// RuntimeEnvSetupError says that the cluster could not set up a runtime environment: ErrRuntimeEnvSetup, and ErrPackageGone if
// that is because it does not have a package. The Message has what the nodes said, such as the output of pip.
type RuntimeEnvSetupError struct{ SystemError }

// packageGone is how the nodes say, in the middle of a traceback, that the cluster does not have a package.
var packageGone = regexp.MustCompile(`Failed to download runtime_env file package (gcs://\S+) from the GCS`)

// Package returns the URI of the package that the cluster does not have, where that is the reason; otherwise "".
func (e *RuntimeEnvSetupError) Package() string {
	if found := packageGone.FindStringSubmatch(e.Message); found != nil {
		return found[1]
	}
	return ""
}

// UnschedulableError says that no node can run the task as it was asked for, or its placement group was removed:
// ErrUnschedulable.
type UnschedulableError struct{ SystemError }

// The type decides which condition an error is; the SystemError in it comes after that in the chain.

func (e *ActorDiedError) Error() string        { return e.text(ErrActorDied) }
func (e *ActorUnavailableError) Error() string { return e.text(ErrActorUnavailable) }
func (e *ActorExistsError) Error() string      { return e.text(ErrActorExists) }
func (e *GetTimeoutError) Error() string       { return e.text(ErrGetTimeout) }
func (e *TaskCancelledError) Error() string    { return e.text(ErrTaskCancelled) }
func (e *WorkerCrashedError) Error() string    { return e.text(ErrWorkerCrashed) }
func (e *NodeDiedError) Error() string         { return e.text(ErrNodeDied) }
func (e *OutOfMemoryError) Error() string      { return e.text(ErrOutOfMemory) }
func (e *ObjectStoreFullError) Error() string  { return e.text(ErrObjectStoreFull) }
func (e *ObjectLostError) Error() string       { return e.text(ErrObjectLost) }
func (e *UnschedulableError) Error() string    { return e.text(ErrUnschedulable) }

func (e *ActorDiedError) Unwrap() []error        { return []error{ErrActorDied, &e.SystemError} }
func (e *ActorUnavailableError) Unwrap() []error { return []error{ErrActorUnavailable, &e.SystemError} }
func (e *ActorExistsError) Unwrap() []error      { return []error{ErrActorExists, &e.SystemError} }
func (e *GetTimeoutError) Unwrap() []error       { return []error{ErrGetTimeout, &e.SystemError} }
func (e *TaskCancelledError) Unwrap() []error    { return []error{ErrTaskCancelled, &e.SystemError} }

func (e *WorkerCrashedError) Unwrap() []error   { return []error{ErrWorkerCrashed, &e.SystemError} }
func (e *NodeDiedError) Unwrap() []error        { return []error{ErrNodeDied, &e.SystemError} }
func (e *OutOfMemoryError) Unwrap() []error     { return []error{ErrOutOfMemory, &e.SystemError} }
func (e *ObjectStoreFullError) Unwrap() []error { return []error{ErrObjectStoreFull, &e.SystemError} }
func (e *ObjectLostError) Unwrap() []error      { return []error{ErrObjectLost, &e.SystemError} }

func (e *UnschedulableError) Unwrap() []error { return []error{ErrUnschedulable, &e.SystemError} }

func (e *RuntimeEnvSetupError) Error() string {
	if e.Package() != "" {
		return e.text(fmt.Errorf("%w: %w", ErrRuntimeEnvSetup, ErrPackageGone))
	}
	return e.text(ErrRuntimeEnvSetup)
}

func (e *RuntimeEnvSetupError) Unwrap() []error {
	if e.Package() != "" {
		return []error{ErrRuntimeEnvSetup, ErrPackageGone, &e.SystemError}
	}
	return []error{ErrRuntimeEnvSetup, &e.SystemError}
}

// condition is what a class of Ray's exceptions means for a call.
type condition struct {
	is    error                   // nil: no condition of its own
	sent  Sent                    // whether the call may have run
	typed func(SystemError) error // nil: no type of its own
}

func actorDied(s SystemError) error        { return &ActorDiedError{SystemError: s} }
func actorUnavailable(s SystemError) error { return &ActorUnavailableError{SystemError: s} }
func taskCancelled(s SystemError) error    { return &TaskCancelledError{SystemError: s} }
func unschedulable(s SystemError) error    { return &UnschedulableError{s} }
func nodeDied(s SystemError) error         { return &NodeDiedError{s} }
func storeFull(s SystemError) error        { return &ObjectStoreFullError{s} }
func objectLost(s SystemError) error       { return &ObjectLostError{SystemError: s} }

// conditions has the classes of ray.exceptions that stand for a condition.
var conditions = map[string]condition{
	"ActorDiedError":                  {ErrActorDied, SentMaybe, actorDied},
	"RayActorError":                   {ErrActorDied, SentMaybe, actorDied},
	"ActorUnschedulableError":         {ErrActorDied, SentMaybe, actorDied},
	"ActorPlacementGroupRemoved":      {ErrActorDied, SentMaybe, actorDied},
	"ActorUnavailableError":           {ErrActorUnavailable, SentMaybe, actorUnavailable},
	"ActorAlreadyExistsError":         {ErrActorExists, SentNo, func(s SystemError) error { return &ActorExistsError{SystemError: s} }},
	"ActorHandleNotFoundError":        {ErrActorNotFound, SentNo, nil},
	"PendingCallsLimitExceeded":       {ErrOverloaded, SentNo, nil},
	"RuntimeEnvSetupError":            {ErrRuntimeEnvSetup, SentNo, func(s SystemError) error { return &RuntimeEnvSetupError{s} }},
	"TaskUnschedulableError":          {ErrUnschedulable, SentMaybe, unschedulable},
	"TaskPlacementGroupRemoved":       {ErrUnschedulable, SentMaybe, unschedulable},
	"TaskCancelledError":              {ErrTaskCancelled, SentMaybe, taskCancelled},
	"AsyncioActorExit":                {ErrTaskCancelled, SentMaybe, taskCancelled},
	"GetTimeoutError":                 {ErrGetTimeout, SentMaybe, func(s SystemError) error { return &GetTimeoutError{s} }},
	"WorkerCrashedError":              {ErrWorkerCrashed, SentMaybe, func(s SystemError) error { return &WorkerCrashedError{s} }},
	"NodeDiedError":                   {ErrNodeDied, SentMaybe, nodeDied},
	"LocalRayletDiedError":            {ErrNodeDied, SentMaybe, nodeDied},
	"OutOfMemoryError":                {ErrOutOfMemory, SentMaybe, func(s SystemError) error { return &OutOfMemoryError{s} }},
	"ObjectStoreFullError":            {ErrObjectStoreFull, SentMaybe, storeFull},
	"OutOfDiskError":                  {ErrObjectStoreFull, SentMaybe, storeFull},
	"ObjectLostError":                 {ErrObjectLost, SentMaybe, objectLost},
	"ObjectFetchTimedOutError":        {ErrObjectLost, SentMaybe, objectLost},
	"ReferenceCountingAssertionError": {ErrObjectLost, SentMaybe, objectLost},
	"ObjectFreedError":                {ErrObjectLost, SentMaybe, objectLost},
	"OwnerDiedError":                  {ErrObjectLost, SentMaybe, objectLost},
	"ObjectReconstructionFailedError": {ErrObjectLost, SentMaybe, objectLost},
	// Classes of their own before Ray 2.54.
	"ObjectReconstructionFailedMaxAttemptsExceededError": {ErrObjectLost, SentMaybe, objectLost},
	"ObjectReconstructionFailedLineageEvictedError":      {ErrObjectLost, SentMaybe, objectLost},
}

func conditionOf(class string) condition {
	if c, ok := conditions[class]; ok {
		return c
	}
	return condition{sent: SentMaybe}
}

// typed returns s in the type of its condition; s itself where there is none.
func (e SystemError) typed() error {
	if typed := conditionOf(e.Class).typed; typed != nil {
		return typed(e)
	}
	return &e
}

// unavailable is the error of a direct call of an actor that is not where it was, or not yet where it will be.
func unavailable(data *corepb.ActorTableData, message string, err error) error {
	return &ActorUnavailableError{
		SystemError{Class: "ActorUnavailableError", Message: message, Err: err}, hex.EncodeToString(data.GetActorId()),
	}
}

// died is what the GCS says of a dead actor.
func died(data *corepb.ActorTableData) error {
	out := &ActorDiedError{
		SystemError: SystemError{Class: "ActorDiedError"},
		ActorID:     hex.EncodeToString(data.GetActorId()), ActorClass: data.GetClassName(),
		Name: data.GetName(), Namespace: data.GetRayNamespace(), PID: int(data.GetPid()), IP: data.GetAddress().GetIpAddress(),
	}
	out.setCause(data.GetDeathCause())
	return out
}

// setCause takes over what Ray says of the death.
func (e *ActorDiedError) setCause(cause *corepb.ActorDeathCause) {
	e.Message = deathCause(cause)
	if cause.GetActorUnschedulableContext() != nil {
		e.Class = "ActorUnschedulableError"
	}
	if init := cause.GetCreationTaskFailureContext(); init != nil {
		e.InitFailed = true
		// The text that Ray has beside the exception is that of Python's whole traceback.
		if raised, ok := errors.AsType[*ActorDiedError](decodePickledError(init.GetSerializedException())); ok {
			e.Cause = raised.Cause
		}
	}
	context := cause.GetActorDiedErrorContext()
	if context == nil {
		return
	}
	if id := context.GetActorId(); len(id) > 0 {
		e.ActorID = hex.EncodeToString(id)
	}
	for into, text := range map[*string]string{
		&e.ActorClass: context.GetClassName(), &e.Name: context.GetName(), &e.Namespace: context.GetRayNamespace(), &e.IP: context.GetNodeIpAddress(),
	} {
		if text != "" {
			*into = text
		}
	}
	if pid := context.GetPid(); pid != 0 {
		e.PID = int(pid)
	}
	e.Preempted = context.GetNodeDeathInfo().GetReason() == corepb.NodeDeathInfo_AUTOSCALER_DRAIN_PREEMPTED
}

// errorTypes are Ray's error types (ray.rpc.ErrorType) by number, and the classes that stand for them in Python.
var errorTypes = map[int]string{
	0: "WorkerCrashedError", 1: "ActorDiedError", 2: "ObjectReconstructionFailedError", errorTaskCancelled: "TaskCancelledError", 7: "RuntimeEnvSetupError",
	8: "ObjectLostError", 9: "OwnerDiedError", 10: "ReferenceCountingAssertionError", 12: "ObjectReconstructionFailedError",
	13: "ObjectReconstructionFailedError", 14: "ObjectFetchTimedOutError", 15: "LocalRayletDiedError", 16: "TaskPlacementGroupRemoved",
	17: "ActorPlacementGroupRemoved", 18: "TaskUnschedulableError", 19: "ActorUnschedulableError", 20: "OutOfDiskError", 21: "ObjectFreedError",
	22: "OutOfMemoryError", 23: "NodeDiedError", 25: "ActorUnavailableError",
	27: "ObjectReconstructionFailedError", 28: "ObjectReconstructionFailedError", 29: "ObjectReconstructionFailedError",
	30: "ObjectReconstructionFailedError", 31: "ObjectReconstructionFailedError", 32: "ObjectReconstructionFailedError",
}

// systemErrorOf is what a RayErrorInfo says that stands in place of a result; nil for an error type that is not known.
func systemErrorOf(kind int, info *corepb.RayErrorInfo) error {
	class, ok := errorTypes[kind]
	if !ok {
		return nil
	}
	err := SystemError{Class: class, Message: info.GetErrorMessage()}.typed()
	switch e := err.(type) { //nolint:errorlint // made above
	case *ActorDiedError:
		if info.GetActorDiedError() != nil {
			e.setCause(info.GetActorDiedError())
		}
	case *ActorUnavailableError:
		e.ActorID = hex.EncodeToString(info.GetActorUnavailableError().GetActorId())
	case *RuntimeEnvSetupError:
		if text := info.GetRuntimeEnvSetupFailedError().GetErrorMessage(); text != "" {
			e.Message = text
		}
	}
	return err
}

// isSystem reports whether Ray itself raised e. The other classes of its module stand for exceptions of the called code.
func (e exception) isSystem() bool {
	switch e.class {
	case "RayTaskError", "RayError", "UserCodeException", "CrossLanguageError", "UnserializableException":
		return false
	}
	return e.module == rayErrors && !strings.HasPrefix(e.class, "RayTaskError(")
}

// system is e as what Ray says about a call.
func (e exception) system() error {
	err := SystemError{Class: e.class, Message: e.text()}.typed()
	switch out := err.(type) { //nolint:errorlint // made above
	case *ActorDiedError:
		e.describeActor(out)
	case *ActorUnavailableError:
		out.ActorID = e.stateText("actor_id")
	case *TaskCancelledError:
		out.TaskID = e.cancelledTask()
		out.Message = e.stateText("error_message")
		for _, v := range e.args {
			if text, ok := v.(string); ok {
				out.Message = text
			}
		}
	case *ObjectLostError:
		e.describeObject(out)
	case *ObjectStoreFullError:
		if len(e.args) > 1 { // OutOfDiskError with what its object is, which is no text
			out.Message = ""
			if id, ok := e.args[0].(string); ok {
				out.Message = "object " + id
			}
		}
	}
	return err
}

// cancelledTask is the hex id of the task that a TaskCancelledError speaks of; "" where Ray does not know it. It is an argument of
// the constructor, or an attribute where the argument had a name.
func (e exception) cancelledTask() string {
	if e.module != rayErrors || e.class != "TaskCancelledError" {
		return ""
	}
	id, _ := e.state.Get("task_id")
	for _, v := range append(e.args[:len(e.args):len(e.args)], id) {
		if x, ok := v.(*pickle.Object); ok && len(x.Args) == 1 {
			if id, ok := x.Args[0].([]byte); ok {
				return hex.EncodeToString(id)
			}
		}
	}
	return ""
}

func (e exception) stateText(name string) string {
	v, _ := e.state.Get(name)
	text, _ := v.(string)
	return text
}

func (e exception) stateBool(name string) bool {
	v, _ := e.state.Get(name)
	is, _ := v.(bool)
	return is
}

// describeActor fills in what is known of the actor. Most of it Ray writes into the text only, as lines "\tname: value".
func (e exception) describeActor(out *ActorDiedError) {
	out.ActorID = e.stateText("actor_id")
	out.InitFailed, out.Preempted = e.stateBool("_actor_init_failed"), e.stateBool("_preempted")
	if len(e.args) == 1 {
		if cause, ok := asException(e.args[0]); ok && cause.module == rayErrors && cause.class == "RayTaskError" {
			raised := cause.taskError("the constructor", 0)
			out.InitFailed, out.Cause = true, raised
			out.PID, out.IP = raised.PID, raised.IP
			return
		}
	}
	for line := range strings.Lines(out.Message) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		if !ok || !strings.HasPrefix(name, "\t") {
			continue
		}
		switch name[1:] {
		case "class_name":
			out.ActorClass = value
		case "name":
			out.Name = value
		case "namespace":
			out.Namespace = value
		case "pid":
			out.PID, _ = strconv.Atoi(value)
		case "ip":
			out.IP = value
		}
	}
}

// describeObject fills in the object: its id, the address of its owner as a message, and where it was made.
func (e exception) describeObject(out *ObjectLostError) {
	out.ObjectID, out.CallSite = e.stateText("object_ref_hex"), e.stateText("call_site")
	out.Message = "object " + out.ObjectID
	if reason := e.stateText("reason_message"); reason != "" {
		out.Message += ": " + reason
	}
	if out.CallSite != "" {
		out.Message += ", made at " + out.CallSite
	}
	v, _ := e.state.Get("owner_address")
	raw, _ := v.([]byte)
	var address corepb.Address
	if len(raw) == 0 || proto.Unmarshal(raw, &address) != nil || address.GetIpAddress() == "" {
		return
	}
	out.Owner = &ObjectOwner{
		address.GetIpAddress(), int(address.GetPort()), hex.EncodeToString(address.GetWorkerId()), hex.EncodeToString(address.GetNodeId()),
	}
	out.Message += ", owned by the process " + out.Owner.WorkerID + " on " + out.Owner.IP
}
