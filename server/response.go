package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// reply writes a value as compact JSON.
func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.log.Error("an answer has no JSON form", "error", err)
		status, body = http.StatusInternalServerError, []byte(`{"success":false,"error":"the answer has no JSON form"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(body, '\n')); err != nil {
		s.log.Debug("the client went away", "error", err)
	}
}

// detail is the body of an answer that no handler gave, in the form that clients of the Python server know.
type detail struct {
	Detail any `json:"detail"`
}

// route wraps the handler of one route: it counts the requests, logs each at debug level, and turns a panic into an
// answer. The pattern "METHOD /path" is the label, so that ids do not make series.
func (s *Server) route(pattern string, handle http.HandlerFunc) http.Handler {
	method, endpoint, _ := strings.Cut(pattern, " ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rw := &responseWriter{ResponseWriter: w}
		defer func() {
			cause := recover()
			if cause != nil && !isAbort(cause) {
				s.metrics.panics.WithLabelValues(endpoint, method).Inc()
				s.log.Error("a handler panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
				if rw.status == 0 {
					s.reply(rw, http.StatusInternalServerError, failure{Error: "internal error: the server's log tells more"})
					cause = nil
				}
			}
			elapsed := time.Since(start)
			s.metrics.duration.WithLabelValues(endpoint, method).Observe(elapsed.Seconds())
			s.metrics.requests.WithLabelValues(endpoint, method, strconv.Itoa(rw.status)).Inc()
			if s.log.Enabled(r.Context(), slog.LevelDebug) {
				s.log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", rw.status, "seconds", elapsed.Seconds())
			}
			if cause != nil {
				panic(http.ErrAbortHandler) // half an answer is out: only the end of the connection tells that it is not whole
			}
		}()
		if !isProbe(endpoint) {
			if !s.drain.enter() {
				s.refuseLate(rw, r, endpoint)
				return
			}
			defer s.drain.leave()
		}
		handle(rw, r)
	})
}

// isProbe tells the routes that are answered to the end.
func isProbe(endpoint string) bool {
	return endpoint == "/healthz" || endpoint == "/readyz" || endpoint == "/metrics"
}

// refuseLate answers a request that came after the server was asked to stop.
func (s *Server) refuseLate(w http.ResponseWriter, r *http.Request, endpoint string) {
	body := failure{Error: errStopping.Error(), Sent: ray.SentNo.String()}
	if strings.HasPrefix(endpoint, "/tier0/") {
		body.Error, body.Message = "", body.Error
	}
	w.Header().Set("Connection", "close")
	s.fail(w, r, errStopping, body)
}

func isAbort(cause any) bool {
	err, ok := cause.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// responseWriter remembers the status, and gives the client a bounded time to take the answer.
type responseWriter struct {
	http.ResponseWriter
	status int // 0 until the header is written
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		// From here on, and not from the start of the request: a task may take its time.
		_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout)) // a writer without a connection has no deadline
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(data)
}

// withJSONErrors gives the router's own refusals (unknown path, wrong method) a JSON body, and leads a path with a slash
// too many to the route without it, as the Python server did.
func withJSONErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		if trimmed, ok := strings.CutSuffix(r.URL.Path, "/"); ok && trimmed != "" {
			target := r.Clone(r.Context())
			target.URL.Path, target.URL.RawPath = trimmed, strings.TrimSuffix(r.URL.RawPath, "/")
			if _, pattern := mux.Handler(target); pattern != "" {
				// 307 keeps the method and the body. Only the path: a host from the request is the client's word.
				w.Header().Set("Location", target.URL.RequestURI())
				w.WriteHeader(http.StatusTemporaryRedirect)
				return
			}
		}
		refusal := &refusalWriter{ResponseWriter: w}
		mux.ServeHTTP(refusal, r)
		body, _ := json.Marshal(detail{http.StatusText(refusal.status)}) //nolint:errchkjson // a string always has a form
		w.Header().Set("Content-Type", "application/json")
		w.Header().Del("X-Content-Type-Options")
		w.WriteHeader(refusal.status)
		_, _ = w.Write(append(body, '\n')) // the client went away: nobody is left to tell
	})
}

// refusalWriter keeps the status and headers that the router chose and drops its text.
type refusalWriter struct {
	http.ResponseWriter
	status int
}

func (w *refusalWriter) WriteHeader(status int)         { w.status = status }
func (w *refusalWriter) Write(text []byte) (int, error) { return len(text), nil }
