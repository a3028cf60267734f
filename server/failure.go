package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// statusOf is the one place that turns an error into a status code.
func statusOf(err error) int {
	var remote *ray.TaskError
	switch {
	case errors.Is(err, organism.ErrUnknownOrgan), errors.Is(err, ray.ErrActorNotFound):
		return http.StatusNotFound
	case errors.Is(err, organism.ErrArgument), errors.Is(err, ray.ErrUnsupportedValue) && ray.SentOf(err) == ray.SentNo:
		return http.StatusBadRequest
	case errors.Is(err, organism.ErrNameTaken):
		return http.StatusConflict
	case errors.As(err, &remote):
		return http.StatusInternalServerError
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, organism.ErrNotReady), errors.Is(err, connector.ErrNotConnected), errors.Is(err, connector.ErrClosed),
		errors.Is(err, ray.ErrSessionLost), errors.Is(err, ray.ErrActorUnavailable), errors.Is(err, ray.ErrActorDied),
		errors.Is(err, ray.ErrOverloaded), errors.Is(err, ray.ErrUnreachable), errors.Is(err, organism.ErrNoAgents),
		errors.Is(err, organism.ErrNoGCS), errors.Is(err, ray.ErrGCSUnavailable), errors.Is(err, ray.ErrClusterReplaced):
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
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
	// Sent tells whether the task may have run: no, maybe or yes.
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

func (s *Server) fail(w http.ResponseWriter, err error, body failure) {
	status := statusOf(err)
	if s.cfg.CompatStatus {
		status = http.StatusOK
	}
	if t := body.Error + body.Message; t != err.Error() {
		body.Cause = err.Error()
	}
	s.reply(w, status, body)
}

// invalidBody is one entry of a 422 answer, in the form of the Python server's validator.
type invalidBody struct {
	Type  string   `json:"type"`
	Loc   []string `json:"loc"`
	Msg   string   `json:"msg"`
	Input any      `json:"input"`
}

// decode reads a JSON object from the request into v. It answers by itself, and returns false, when that is not possible:
// 413 for a body above the limit, 422 for anything that is not an object of the wanted form.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, v any) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.reply(w, http.StatusRequestEntityTooLarge, detail{fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)})
		return false
	}
	if err != nil {
		s.reply(w, http.StatusBadRequest, detail{"the body could not be read: " + err.Error()})
		return false
	}
	if len(data) == 0 {
		s.reply(w, http.StatusUnprocessableEntity, detail{[]invalidBody{{"missing", []string{"body"}, "Field required", nil}}})
		return false
	}
	err = json.Unmarshal(data, v)
	if err == nil {
		return true
	}
	problem := invalidBody{Type: "json_invalid", Loc: []string{"body"}, Msg: err.Error()}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		problem.Type = "dict_type"
		problem.Msg = fmt.Sprintf("Input should be a %s, not a %s", mismatch.Type, mismatch.Value)
		if mismatch.Field != "" {
			problem.Loc = append(problem.Loc, mismatch.Field)
		}
	}
	s.reply(w, http.StatusUnprocessableEntity, detail{[]invalidBody{problem}})
	return false
}
