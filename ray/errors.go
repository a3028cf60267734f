package ray

import (
	"errors"
	"fmt"
)

// Sent says whether a request that failed may have had an effect.
type Sent int8

const (
	// SentNo means: the request did not leave this process, or the other side refused it without running it. Trying again is
	// safe.
	SentNo Sent = iota
	// SentMaybe means: the request left, or may have left, and its outcome is unknown. Trying again may run it twice.
	SentMaybe
	// SentYes means: the request arrived and was executed or refused by the other side.
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
	// ErrNoClientServer means: nothing at the address speaks the Ray Client protocol, or it has no room for another client.
	ErrNoClientServer = errors.New("ray: no Ray Client server answers")
	// ErrGCSUnavailable means: the cluster's control store does not answer.
	ErrGCSUnavailable = errors.New("ray: the GCS does not answer")
	// ErrClusterReplaced means: another cluster answers at the address than the one that was connected to.
	ErrClusterReplaced = errors.New("ray: cluster was replaced")
	// ErrActorNotFound means: no live actor of that name exists in that namespace.
	ErrActorNotFound = errors.New("ray: actor not found")
	// ErrActorDied means: the actor is dead and Ray will not restart it.
	ErrActorDied = errors.New("ray: actor died")
	// ErrActorUnavailable means: the actor is starting or restarting, or its process went away during the call.
	ErrActorUnavailable = errors.New("ray: actor unavailable")
	// ErrUnreachable means: the cluster says that the actor is alive, but its process does not accept connections from here.
	ErrUnreachable = errors.New("ray: the actor's process cannot be reached from here")
	// ErrNoSuchMethod means: the actor's class has no method of that name. Nothing was sent.
	ErrNoSuchMethod = errors.New("ray: no such actor method")
	// ErrUnsupportedValue means: a value cannot travel by the path that was asked for.
	ErrUnsupportedValue = errors.New("ray: unsupported value")
	// ErrUnsupportedVersion means: the cluster runs a Ray version for which this path was not tested.
	ErrUnsupportedVersion = errors.New("ray: unsupported Ray version")
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

// RemoteError is an exception that the called code raised, or a Go error or panic in a Go actor. The call arrived and
// ran: it is not retried by this package.
type RemoteError struct {
	// Class is the Python class of the exception, such as "ValueError"; "RuntimeError" for Go actors.
	Class string
	// Function is the function or method that raised it, as Ray reports it.
	Function string
	// Message is the exception's text.
	Message string
	// Traceback is the remote traceback or Go stack; may be empty.
	Traceback string
	// PID is the process that raised it; 0 when unknown.
	PID int
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("ray: %s raised %s: %s", e.Function, e.Class, e.Message)
}

// SentOf reports whether the call behind err may have run: the recorded value for a CallError, SentYes for a RemoteError,
// SentNo for the conditions that are decided before sending, and SentMaybe for anything else.
func SentOf(err error) Sent {
	if call, ok := errors.AsType[*CallError](err); ok {
		return call.Sent
	}
	if _, ok := errors.AsType[*RemoteError](err); ok {
		return SentYes
	}
	for _, before := range []error{
		ErrNoSuchMethod, ErrUnsupportedValue, ErrUnsupportedVersion, ErrOverloaded, ErrStaleSession, ErrReleased, ErrNoClientServer,
		ErrUnreachable,
	} {
		if errors.Is(err, before) {
			return SentNo
		}
	}
	return SentMaybe
}
