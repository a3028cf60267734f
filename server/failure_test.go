package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
)

// call is the error of a call that ended with cause.
func call(cause error, sent ray.Sent) error {
	return &ray.CallError{Target: "ns/agent.execute_task", Sent: sent, Err: fmt.Errorf("deep: %w", cause)}
}

func TestFailuresHaveAStatusAndTellWhatWasSent(t *testing.T) {
	s := newServer(t, server.Config{})
	for name, c := range map[string]struct {
		err    error
		status int
		sent   string // empty: not in the body
	}{
		"unknown organ":        {call(organism.ErrUnknownOrgan, ray.SentNo), 404, "no"},
		"not initialised":      {call(organism.ErrNotReady, ray.SentNo), 503, "no"},
		"no agents":            {call(organism.ErrNoAgents, ray.SentNo), 503, "no"},
		"connector closed":     {call(errors.Join(organism.ErrNotReady, connector.ErrClosed), ray.SentNo), 503, "no"},
		"not connected":        {connector.ErrNotConnected, 503, ""},
		"unusable task":        {fmt.Errorf("%w: type", organism.ErrTask), 400, ""},
		"unusable value":       {call(ray.ErrUnsupportedValue, ray.SentNo), 400, "no"},
		"unusable result":      {call(ray.ErrUnsupportedValue, ray.SentYes), 500, "yes"},
		"no such method":       {call(ray.ErrNoSuchMethod, ray.SentNo), 404, "no"},
		"no such actor":        {call(ray.ErrActorNotFound, ray.SentNo), 404, "no"},
		"actor died":           {call(ray.ErrActorDied, ray.SentNo), 503, "no"},
		"actor unavailable":    {call(ray.ErrActorUnavailable, ray.SentMaybe), 503, "maybe"},
		"deadline, sent":       {call(context.DeadlineExceeded, ray.SentMaybe), 504, "maybe"},
		"deadline, unsent":     {call(context.DeadlineExceeded, ray.SentNo), 504, "no"},
		"no GCS in time":       {fmt.Errorf("%w: %w", organism.ErrNoGCS, context.DeadlineExceeded), 503, ""},
		"GCS silent":           {call(fmt.Errorf("%w: %w", ray.ErrGCSUnavailable, context.DeadlineExceeded), ray.SentNo), 503, "no"},
		"session closed":       {call(ray.ErrClosed, ray.SentMaybe), 503, "maybe"},
		"session lost":         {call(ray.ErrSessionLost, ray.SentMaybe), 503, "maybe"},
		"worker crashed":       {call(&ray.SystemError{Class: "WorkerCrashedError"}, ray.SentMaybe), 503, "maybe"},
		"too many calls":       {call(ray.ErrOverloaded, ray.SentNo), 503, "no"},
		"not let in":           {fmt.Errorf("%w: no token", ray.ErrUnauthenticated), 503, "no"},
		"no token":             {call(ray.ErrToken, ray.SentNo), 503, "no"},
		"handler failed":       {&ray.TaskError{Class: "RuntimeError", Function: "f", Message: "no"}, 500, "yes"},
		"name taken":           {organism.ErrNameTaken, 409, ""},
		"given up by the end":  {call(context.Canceled, ray.SentMaybe), 503, "maybe"},
		"something new":        {errors.New("something new"), 500, ""},
		"new, of a known call": {call(errors.New("something new"), ray.SentYes), 500, "yes"},
	} {
		w := httptest.NewRecorder()
		s.ReplyExecution(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), organism.Execution{OrganID: "o"}, c.err)
		body := w.Body.String()
		if w.Code != c.status || strings.Contains(body, `"sent"`) != (c.sent != "") || c.sent != "" && !strings.Contains(body, `"sent":"`+c.sent+`"`) {
			t.Errorf("%s (%v): %d %s; want %d with sent %q", name, c.err, w.Code, body, c.status, c.sent)
		}
	}
}

// What only this server knows of a request: nothing was sent, so "maybe" would be untrue.
func TestRoutesTellThatNothingWasSent(t *testing.T) {
	h := unconnected(t, server.Config{})
	for _, path := range []string{"/organism/execute/nowhere", "/organism/execute/cognitive_organ_1", "/organism/execute/random", "/tier0/agents/a/execute"} {
		if _, body := ask(t, h, "POST", path, `{"task_data":{}}`); !strings.Contains(body, `"sent":"no"`) {
			t.Errorf("%s: %s", path, body)
		}
	}
	for _, task := range []string{`{"type":5}`, `{"complexity":-1}`, `{"complexity":"much"}`} {
		code, body := ask(t, h, "POST", "/organism/execute/cognitive_organ_1", `{"task_data":`+task+`}`)
		if code != 400 || !strings.Contains(body, `"sent":"no"`) || strings.Contains(body, "int64") || strings.Contains(body, "float64") {
			t.Errorf("task %s: %d %s", task, code, body)
		}
	}
}

func TestOnlyTheUnexpectedIsLoggedAsAnError(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, server.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	answer := func(ctx context.Context, err error) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.ReplyExecution(w, httptest.NewRequestWithContext(ctx, "POST", "/", nil), organism.Execution{}, err)
		return w
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if w := answer(gone, call(context.Canceled, ray.SentMaybe)); w.Code != 499 {
		t.Errorf("a client that left: %d %s", w.Code, w.Body)
	}
	if w := answer(gone, errors.New("a consequence of that")); w.Code != 499 {
		t.Errorf("a client that left: %d %s", w.Code, w.Body)
	}
	cut, stop := context.WithCancelCause(t.Context())
	stop(server.ErrStopping)
	if w := answer(cut, call(context.Canceled, ray.SentMaybe)); w.Code != 503 || !strings.Contains(w.Body.String(), `"sent":"maybe"`) {
		t.Errorf("a request that the end of the server cut: %d %s", w.Code, w.Body)
	}
	answer(t.Context(), organism.ErrNotReady)
	answer(t.Context(), &ray.TaskError{Message: "the handler's own"})
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
	answer(t.Context(), errors.New("something new"))
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "something new") {
		t.Errorf("logged: %s", &log)
	}
}

// JSON has no NaN: the task ran, and the answer says so, says where the trouble is, and is JSON.
func TestResultsWithoutAJSONForm(t *testing.T) {
	for _, compat := range []bool{false, true} {
		s := newServer(t, server.Config{CompatStatus: compat})
		for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			w := httptest.NewRecorder()
			result := map[string]any{"agent_id": "a", "output": map[string]any{"scores": []any{1.0, value}}}
			s.ReplyExecution(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), organism.Execution{Result: result}, nil)
			want := 500
			if compat {
				want = 200
			}
			body := w.Body.String()
			if w.Code != want || !strings.Contains(body, `"success":false`) || !strings.Contains(body, `"sent":"yes"`) || !strings.Contains(body, "result.output.scores[1]") {
				t.Errorf("compat %t, %v: %d %s", compat, value, w.Code, body)
			}
		}
	}
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("the reader's secret") }

func TestAPanicIsAnAnswerALogLineAndACount(t *testing.T) {
	var log bytes.Buffer
	h := newServer(t, server.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Handler()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/organism/execute/random", io.NopCloser(panicking{})))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"success":false`) || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, part := range []string{"level=ERROR", "the reader's secret", "panicking.Read"} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("the log does not have %q: %s", part, &log)
		}
	}
	_, metrics := ask(t, h, "GET", "/metrics", "")
	for _, line := range []string{
		`seedcore_http_panics_total{endpoint="/organism/execute/random",method="POST"} 1`,
		`api_requests_total{code="500",endpoint="/organism/execute/random",method="POST"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("/metrics does not have %s", line)
		}
	}
}
