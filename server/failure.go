package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// statusClientGone is what a request counts as whose client did not wait for the answer. Nobody reads it; it keeps such
// requests apart from failures of ours.
const statusClientGone = 499

// errResult: the task ran, and what it returned has no JSON form.
var errResult = errors.New("server: the result has no JSON form")

// statuses is the one table that turns a failure into a status code: the first line counts whose cause is in the chain
// of the error. What no line names is a defect or something new, 500, and is logged.
var statuses = []struct {
	cause  error
	status int
	known  func(error) bool // narrows the line; nil: always
}{
	{cause: errResult, status: http.StatusInternalServerError},
	{cause: errStopping, status: http.StatusServiceUnavailable},

	// The request is wrong: nothing was sent.
	{cause: organism.ErrArgument, status: http.StatusBadRequest},
	{cause: organism.ErrTask, status: http.StatusBadRequest},
	{cause: ray.ErrUnsupportedValue, status: http.StatusBadRequest, known: unsent},
	// The agent did what it could: it returned something that cannot travel.
	{cause: ray.ErrUnsupportedValue, status: http.StatusInternalServerError},

	// What the request names is not there, or is something else. An agent that is configured and does not run is
	// ray.ErrActorUnavailable: that is the organism's trouble, not the client's.
	{cause: organism.ErrUnknownOrgan, status: http.StatusNotFound},
	{cause: ray.ErrActorNotFound, status: http.StatusNotFound},
	{cause: ray.ErrNoSuchMethod, status: http.StatusNotFound},
	{cause: organism.ErrNameTaken, status: http.StatusConflict},
	{cause: ray.ErrActorExists, status: http.StatusConflict},

	// Ray or the organism is not there at the moment; also when that showed by a question that got no answer in time.
	{cause: organism.ErrNotReady, status: http.StatusServiceUnavailable},
	{cause: organism.ErrNoAgents, status: http.StatusServiceUnavailable},
	{cause: organism.ErrNoGCS, status: http.StatusServiceUnavailable},
	{cause: connector.ErrNotConnected, status: http.StatusServiceUnavailable},
	{cause: connector.ErrClosed, status: http.StatusServiceUnavailable},
	{cause: ray.ErrClosed, status: http.StatusServiceUnavailable},
	{cause: ray.ErrSessionLost, status: http.StatusServiceUnavailable},
	{cause: ray.ErrStaleSession, status: http.StatusServiceUnavailable},
	{cause: ray.ErrNoSession, status: http.StatusServiceUnavailable},
	{cause: ray.ErrNoClientServer, status: http.StatusServiceUnavailable},
	{cause: ray.ErrGCSUnavailable, status: http.StatusServiceUnavailable},
	{cause: ray.ErrClusterReplaced, status: http.StatusServiceUnavailable},
	{cause: ray.ErrActorUnavailable, status: http.StatusServiceUnavailable},
	{cause: ray.ErrActorDied, status: http.StatusServiceUnavailable},
	{cause: ray.ErrUnreachable, status: http.StatusServiceUnavailable},
	{cause: ray.ErrUnauthenticated, status: http.StatusServiceUnavailable}, // the cluster does not let this process in
	{cause: ray.ErrToken, status: http.StatusServiceUnavailable},
	{cause: ray.ErrOverloaded, status: http.StatusServiceUnavailable},
	{cause: ray.ErrUnsupportedVersion, status: http.StatusServiceUnavailable},
	{cause: ray.ErrWorkerCrashed, status: http.StatusServiceUnavailable},
	{cause: ray.ErrNodeDied, status: http.StatusServiceUnavailable},
	{cause: ray.ErrOutOfMemory, status: http.StatusServiceUnavailable},
	{cause: ray.ErrObjectStoreFull, status: http.StatusServiceUnavailable},
	{cause: ray.ErrObjectLost, status: http.StatusServiceUnavailable},
	{cause: ray.ErrRuntimeEnvSetup, status: http.StatusServiceUnavailable},
	{cause: ray.ErrUnschedulable, status: http.StatusServiceUnavailable},
	{cause: ray.ErrTaskCancelled, status: http.StatusServiceUnavailable},

	// The task did not end in its time.
	{cause: ray.ErrGetTimeout, status: http.StatusGatewayTimeout},
	{cause: context.DeadlineExceeded, status: http.StatusGatewayTimeout},
	// This process gave it up, since it ends.
	{cause: context.Canceled, status: http.StatusServiceUnavailable},
}

func unsent(err error) bool { return ray.SentOf(err) == ray.SentNo }

// statusOf returns the status code for err, and whether it is one that was to be expected.
func statusOf(err error) (status int, expected bool) {
	if _, ok := errors.AsType[*ray.TaskError](err); ok {
		return http.StatusInternalServerError, true // the agent's own failure, told in full to whom it concerns
	}
	for _, line := range statuses {
		if errors.Is(err, line.cause) && (line.known == nil || line.known(err)) {
			return line.status, true
		}
	}
	return http.StatusInternalServerError, false
}

// sent tells whether a task that failed may have run: "no", "maybe" or "yes" where that is known, else "".
func sent(err error) string {
	if call, ok := errors.AsType[*ray.CallError](err); ok {
		return call.Sent.String()
	}
	if s := ray.SentOf(err); s != ray.SentMaybe { // which stands for what is not known, too
		return s.String()
	}
	return ""
}

// failure is the body of a failed request. The Python server named the text "error" in one group of routes and
// "message" in the other, so either is set.
type failure struct {
	Success bool   `json:"success"`
	Error   string `json:"error,omitempty"`
	Message string `json:"message,omitempty"`
	OrganID string `json:"organ_id,omitempty"`
	// Cause says more where the text is fixed.
	Cause string `json:"cause,omitempty"`
	// Sent tells whether the task may have run: no, maybe or yes; left out where that is not known.
	Sent string `json:"sent,omitempty"`
}

// text is what a client reads of err: the fixed texts of the Python server where it had one.
func text(err error, organID string) string {
	switch {
	case errors.Is(err, organism.ErrUnknownOrgan):
		return fmt.Sprintf("Organ %s not found", organID)
	case errors.Is(err, organism.ErrNotReady):
		return "Organism not initialized"
	default:
		return err.Error()
	}
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error, body failure) {
	status, expected := statusOf(err)
	switch {
	case r.Context().Err() != nil && !errors.Is(context.Cause(r.Context()), errStopping): // whatever happened, it happened since the client left
		s.reply(w, statusClientGone, body)
		return
	case !expected:
		s.log.Error("a request failed for a reason that has no status code of its own", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if s.cfg.CompatStatus {
		status = http.StatusOK
	}
	if t := body.Error + body.Message; t != err.Error() {
		body.Cause = err.Error()
	}
	s.reply(w, status, body)
}
