package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// DefaultListen is where the server listens unless told otherwise: on this machine only, since it has no authentication.
const DefaultListen = "127.0.0.1:8002"

const (
	// maxBody bounds a request's body in bytes.
	maxBody = 8 << 20
	// drainTimeout is how long requests under way may take once the server is asked to stop.
	drainTimeout = 10 * time.Second
	// statusTimeout bounds the questions to the cluster that one status request asks.
	statusTimeout = 5 * time.Second
)

// Config tunes a Server. The zero value works.
type Config struct {
	// Listen is the TCP address, "host:port"; port 0 takes a free one. Default DefaultListen.
	Listen string
	// CompatStatus answers business failures with status 200, as the Python server did.
	CompatStatus bool
	// Logger takes one line an event; requests are logged at debug level. Default: discard.
	Logger *slog.Logger
}

// Server serves the API of one organism on one connection, neither of which it owns.
type Server struct {
	conn     *connector.Connector
	organism *organism.Organism
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	listener net.Listener
}

// New makes a server. It opens nothing.
func New(conn *connector.Connector, org *organism.Organism, cfg Config) *Server {
	if cfg.Listen == "" {
		cfg.Listen = DefaultListen
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{conn: conn, organism: org, cfg: cfg, log: cfg.Logger, metrics: newMetrics(conn, org)}
}

// Listen takes the address, so that probes can be answered before there is a connection. Serve does the rest.
func (s *Server) Listen() error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("server: listen on %s (--listen or SEEDCORE_LISTEN moves it): %w", s.cfg.Listen, err)
	}
	s.listener = ln
	return nil
}

// Address returns where the server listens, with the real port; empty before Listen.
func (s *Server) Address() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Serve answers requests until ctx ends, then lets those under way finish for up to ten seconds.
func (s *Server) Serve(ctx context.Context) error {
	if s.listener == nil {
		return errors.New("server: Serve before Listen")
	}
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		defer cancel()
		if err := srv.Shutdown(drain); err != nil {
			done <- errors.Join(fmt.Errorf("server: requests were cut: %w", err), srv.Close())
			return
		}
		done <- nil
	})
	err := srv.Serve(s.listener)
	if stop() { // it ended by itself
		return fmt.Errorf("server: %w", err)
	}
	return <-done
}

// Handler returns the API as a handler, for use without Listen and Serve.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]http.HandlerFunc{
		"GET /healthz":                          s.healthz,
		"GET /readyz":                           s.readyz,
		"GET /ray/status":                       s.rayStatus,
		"GET /organism/status":                  s.organismStatus,
		"GET /organism/summary":                 s.organismSummary,
		"POST /organism/execute/random":         s.executeRandom,
		"POST /organism/execute/{organ_id}":     s.execute,
		"GET /tier0/agents":                     s.agents,
		"POST /tier0/agents/create":             s.createAgent,
		"POST /tier0/agents/{agent_id}/execute": s.executeOnAgent,
		"GET /metrics":                          s.metrics.handler().ServeHTTP,
	} {
		mux.Handle(pattern, s.metrics.observe(pattern, handle))
	}
	return withJSONErrors(mux)
}

// reply writes a value as compact JSON.
func (s *Server) reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"success":false,"error":"the result has no JSON form"}`)
		s.log.Warn("a result has no JSON form", "error", err)
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

// withJSONErrors gives the router's own refusals (unknown path, wrong method) a JSON body.
func withJSONErrors(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
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
