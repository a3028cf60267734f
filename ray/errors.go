package ray

import (
	"errors"
	"fmt"
	"strings"
)

// Sent says whether a request that failed may have had an effect.
type Sent int8

const (
	// SentNo means: the call did not run and will not. It did not leave this process, or the other side refused it
	// unread or took it back before it started. Trying again is safe.
	SentNo Sent = iota
	// SentMaybe means: the call left, or may have left, and its outcome is unknown: it may not have run, have run, or run
	// still. Trying again may run it twice.
	SentMaybe
	// SentYes means: the call ran, whole or in part. Its result is an error, or did not arrive.
	SentYes
)

func (s Sent) String() string {
	switch s {
	case SentNo:
		return "no"
	case SentMaybe:
		return "maybe"
	default:
		return "yes"
	}
}

// Conditions that callers test for with errors.Is.
var (
	// ErrClosed means: the session, or whatever else was used, was closed by this process.
	ErrClosed = errors.New("ray: closed")
	// ErrSessionLost means: the cluster no longer knows the session. Open a new one; refs and handles of this one are gone,
	// named actors are not.
	ErrSessionLost = errors.New("ray: session lost")
	// ErrStaleSession means: a ref or handle was used with another session than the one that made it.
	ErrStaleSession = errors.New("ray: ref or handle belongs to another session")
	// ErrReleased means: a ref or handle was used after it was released. Nothing was sent.
	ErrReleased = errors.New("ray: ref or handle was released")
	// ErrNoSession means: the call needs a session, and there is none. Nothing was sent.
	ErrNoSession = errors.New("ray: there is no session")
	// ErrNoClientServer means: nothing at the address speaks the Ray Client protocol, or it has no room for another client.
	ErrNoClientServer = errors.New("ray: no Ray Client server answers")
	// ErrUnresolvable, ErrNotListening, ErrSilent, ErrNotRay, ErrTLS, ErrOtherServer and ErrServerFull say more of
	// ErrNoClientServer: the host name has no address; nothing accepts connections; what does says nothing at all, as a process
	// that hangs, or a way that swallows packets; it is no gRPC server; the TLS handshake that this process
	// began failed; it is another gRPC server; it is full, or silent for a reason that cannot be told from that, as the
	// FullError in the chain says.
	ErrUnresolvable = errors.New("ray: the host name does not resolve")
	ErrNotListening = errors.New("ray: nothing accepts connections at the address")
	ErrSilent       = errors.New("ray: what accepts connections at the address says nothing")
	ErrNotRay       = errors.New("ray: what listens at the address does not speak gRPC")
	ErrTLS          = errors.New("ray: the TLS handshake failed")
	ErrOtherServer  = errors.New("ray: a gRPC server of another kind is at the address")
	ErrServerFull   = errors.New("ray: the Ray Client server is full or does not answer")
	// ErrGCSUnavailable means: the cluster's control store does not answer.
	ErrGCSUnavailable = errors.New("ray: the GCS does not answer")
	// ErrClusterReplaced means: another cluster answers at the address than the one that was connected to.
	ErrClusterReplaced = errors.New("ray: cluster was replaced")
	// ErrActorNotFound means: no live actor of that name exists in that namespace.
	ErrActorNotFound = errors.New("ray: actor not found")
	// ErrActorExists means: an actor of that name exists in that namespace already. Nothing was made.
	ErrActorExists = errors.New("ray: an actor of that name exists")
	// ErrActorDied means: the actor is dead and Ray will not restart it.
	ErrActorDied = errors.New("ray: actor died")
	// ErrActorUnavailable means: the actor is starting or restarting, or its process went away during the call.
	ErrActorUnavailable = errors.New("ray: actor unavailable")
	// ErrNotStarted means: an actor was not up in time. It may still come up; the error says what the cluster knows of it.
	ErrNotStarted = errors.New("ray: actor not started")
	// ErrUnreachable means: the cluster says that the actor is alive, but its process does not accept connections or calls
	// from here. Nothing was sent.
	ErrUnreachable = errors.New("ray: the actor's process cannot be reached from here")
	// ErrNoSuchMethod means: the actor's class has no method of that name. Nothing was sent.
	ErrNoSuchMethod = errors.New("ray: no such actor method")
	// ErrUnsupportedValue means: a value cannot travel by the path that was asked for.
	ErrUnsupportedValue = errors.New("ray: unsupported value")
	// ErrTooLarge means: an argument or a result is above MaxGoValue, what a Go actor takes and gives. Pass it in parts, or its
	// place in a store that both sides reach. A direct call is refused unsent if it is an argument, where a driver in Go made
	// the actor's class. Otherwise the actor refuses it, and the error is a *TaskError as well, whose text begins with this one.
	ErrTooLarge = errors.New("value too large for a Go actor")
	// ErrByReference means: a Go actor refused an argument that was an object reference, or so large that Ray made it one on its
	// way through a session. Nothing ran. The error is a *TaskError as well, whose text begins with this one and says what to do.
	ErrByReference = errors.New("argument by reference")
	// ErrValueMismatch means: a value arrived, and does not fit into the Go type that was asked for.
	ErrValueMismatch = errors.New("ray: value does not fit the Go type")
	// ErrUnsupportedVersion means: the cluster runs a Ray version for which this path was not tested.
	ErrUnsupportedVersion = errors.New("ray: unsupported Ray version")
	// ErrInvalidOption means: an option of a call, an actor, a runtime environment or a placement group is wrong, or an
	// argument is nil that must not be. Nothing was sent; the error names it.
	ErrInvalidOption = errors.New("ray: invalid option")
	// ErrGetTimeout means: the value did not arrive before the deadline of the context, which is wrapped as well. The task goes
	// on, and the value can be asked for again.
	ErrGetTimeout = errors.New("ray: the value did not arrive in time")
	// ErrTaskCancelled means: the task was cancelled, before it ran or in the middle. A call that waits at an actor may run
	// in spite of it.
	ErrTaskCancelled = errors.New("ray: task cancelled")
	// ErrWorkerCrashed means: the process that ran the task ended unexpectedly, and Ray's retries are used up.
	ErrWorkerCrashed = errors.New("ray: worker crashed")
	// ErrNodeDied means: the node that ran the task was lost.
	ErrNodeDied = errors.New("ray: node died")
	// ErrOutOfMemory means: Ray ended the process of the task because its node ran out of memory.
	ErrOutOfMemory = errors.New("ray: out of memory")
	// ErrObjectStoreFull means: the object store, or the disk behind it, has no room.
	ErrObjectStoreFull = errors.New("ray: object store full")
	// ErrObjectLost means: all copies of the value are gone, or its owner is, and it could not be made again.
	ErrObjectLost = errors.New("ray: object lost")
	// ErrRuntimeEnvSetup means: the cluster could not set up the runtime environment of the task, the actor or the session.
	ErrRuntimeEnvSetup = errors.New("ray: runtime environment could not be set up")
	// ErrUnschedulable means: no node can run the task or actor as it was asked for, or its placement group was removed.
	ErrUnschedulable = errors.New("ray: unschedulable")
	// ErrOverloaded means: a bound of this process, or of the actor's, was reached. The call was not run.
	ErrOverloaded = errors.New("ray: too many calls in flight")
)

// CallError reports a call whose result did not arrive. It wraps the cause, which is one of the conditions above or
// the context's error.
type CallError struct {
	// Target names what was called, as "namespace/actor.method" or the name of the operation.
	Target string
	// Sent tells whether the call may have run.
	Sent Sent
	// Err is the cause.
	Err error
}

func (e *CallError) Error() string {
	return fmt.Sprintf("%s: %v (sent: %s)", e.Target, e.Err, e.Sent)
}

func (e *CallError) Unwrap() error { return e.Err }

// TaskError is an exception that the called code raised, or a Go error or panic in a Go actor. The call arrived and
// ran: it is not retried by this package.
//
// Only a raised exception is a TaskError: a task that returns an exception object returns a value. The exceptions of Ray's
// own module are the exception to that: a returned one looks like a raised one on the wire, and is taken for it.
type TaskError struct {
	// Class is the Python class of the exception, such as "ValueError"; "RuntimeError" for Go actors.
	Class string
	// Function is the function or method that raised it, as Ray reports it.
	Function string
	// Message is the exception's text.
	Message string
	// Traceback is the remote traceback or Go stack; may be empty.
	Traceback string
	// PID is the process that raised it, and IP its node; 0 and "" when unknown.
	PID int
	IP  string
	// Cause is set when the code failed because of what Ray said of another call, such as the death of an actor that the code
	// called: an error with a *SystemError in its chain. Where the other call raised, and the code did not catch it, Ray hands
	// the exception on: Class and Message are those of the innermost call, the texts of all are in Traceback, and Cause is nil,
	// except for the rare exception that Ray cannot hand on so: Cause is the *TaskError of the other call then. It is not
	// in the chain of errors.Is: that one speaks of this call. But a cancellation is, see Unwrap.
	Cause error
}

func (e *TaskError) Error() string {
	return fmt.Sprintf("ray: %s raised %s: %s", e.Function, e.Class, e.Message)
}

// Unwrap returns the Cause of a call that failed because what it called was cancelled, nil for any other: errors.Is finds
// ErrTaskCancelled, and errors.As the *TaskCancelledError, whose TaskID is that of the task that Ray cancelled. So ends a
// method that Ray does not interrupt, when Session.Cancel with recursive cancels what it waits for.
func (e *TaskError) Unwrap() error {
	if errors.Is(e.Cause, ErrTaskCancelled) {
		return e.Cause
	}
	return nil
}

// Is reports whether target is ErrTooLarge or ErrByReference, and a Go actor refused an argument or a result for that.
func (e *TaskError) Is(target error) bool {
	return (target == ErrTooLarge || target == ErrByReference) && e.Class == "RuntimeError" && strings.HasPrefix(e.Message, target.Error()) //nolint:errorlint // what errors.Is calls
}

// StaleSessionError reports a ref or handle that was used with another session than the one that made it. It wraps
// ErrStaleSession.
type StaleSessionError struct {
	// MadeBy and UsedWith are the ids of the two sessions, MadeEpoch and UsedEpoch their Config.Epoch.
	MadeBy, UsedWith     string
	MadeEpoch, UsedEpoch uint64
}

func (e *StaleSessionError) Error() string {
	return fmt.Sprintf("%v: made by session %s (epoch %d), used with %s (epoch %d); get the actor or the object again through this session",
		ErrStaleSession, e.MadeBy, e.MadeEpoch, e.UsedWith, e.UsedEpoch)
}

func (e *StaleSessionError) Unwrap() error { return ErrStaleSession }

// ActorNotFoundError says which actor was looked for: by its name, or by its id. It wraps ErrActorNotFound.
type ActorNotFoundError struct {
	Name, Namespace string
	ActorID         string // 32 hex characters
}

func (e *ActorNotFoundError) Error() string {
	if e.ActorID != "" {
		return fmt.Sprintf("%v: id %s", ErrActorNotFound, e.ActorID)
	}
	return fmt.Sprintf("%v: %q in namespace %q", ErrActorNotFound, e.Name, e.Namespace)
}

func (e *ActorNotFoundError) Unwrap() error { return ErrActorNotFound }

// NoSuchMethodError says which method an actor does not have. It wraps ErrNoSuchMethod.
type NoSuchMethodError struct {
	Method string
	// Class is the class of the actor, and Methods what it has, in order, those that Python makes itself among them. A direct
	// call knows them, a session does not.
	Class   string
	Methods []string
}

func (e *NoSuchMethodError) Error() string {
	if e.Class == "" {
		return fmt.Sprintf("%v: %q", ErrNoSuchMethod, e.Method)
	}
	return fmt.Sprintf("%v: %q; class %s has %v", ErrNoSuchMethod, e.Method, e.Class, e.Methods)
}

func (e *NoSuchMethodError) Unwrap() error { return ErrNoSuchMethod }

// OverloadedError says which bound of this process a call met. It wraps ErrOverloaded; what an actor or a server refuses is
// ErrOverloaded without it.
type OverloadedError struct {
	// What is bounded: "calls", "bytes" (of arguments and values), "calls of the actor", "bytes of the actor", "actors" that
	// are called at once, or "calls of the connector". Those count whose caller gave up and that have no answer yet.
	What string
	// Limit is the bound, InUse how much of it is taken, More what this call would add.
	Limit, InUse, More int64
}

func (e *OverloadedError) Error() string {
	return fmt.Sprintf("%v: %d %s are under way, %d more would exceed %d; wait for some of them first", ErrOverloaded, e.InUse, e.What, e.More, e.Limit)
}

func (e *OverloadedError) Unwrap() error { return ErrOverloaded }

// SentOf reports whether the call behind err may have run: the recorded value for a CallError, SentYes for a TaskError,
// SentNo for the conditions that are decided before sending, and SentMaybe for anything else.
func SentOf(err error) Sent {
	if call, ok := errors.AsType[*CallError](err); ok {
		return call.Sent
	}
	if _, ok := errors.AsType[*TaskError](err); ok {
		return SentYes
	}
	for _, before := range []error{
		ErrNoSuchMethod, ErrInvalidOption, ErrUnsupportedValue, ErrUnsupportedVersion, ErrOverloaded, ErrStaleSession, ErrReleased, ErrNoClientServer,
		ErrNoSession, ErrUnreachable, ErrUnauthenticated, ErrToken,
	} {
		if errors.Is(err, before) {
			return SentNo
		}
	}
	return SentMaybe
}
