package server

import (
	"context"
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
	// headerTimeout and bodyTimeout bound how long a client may take to send a request's header, and all of it. Neither
	// counts the time that the request then takes.
	headerTimeout, bodyTimeout = 10 * time.Second, 30 * time.Second
	// writeTimeout bounds how long a client may take to receive an answer.
	writeTimeout = 30 * time.Second
	// idleTimeout is how long a connection is kept for the next request.
	idleTimeout = 2 * time.Minute
	// drainTimeout is how long requests under way may take once the server is asked to stop, and answerTimeout how long
	// those that took longer have for telling so.
	drainTimeout, answerTimeout = 8 * time.Second, time.Second
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
	drain    drain
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

// Serve answers requests until ctx ends, and then lets those under way finish for up to eight seconds; meanwhile readyz is
// 503, and so is every new request. What takes longer is cancelled and answered as such; the error says how many requests
// that were. A Server serves once.
func (s *Server) Serve(ctx context.Context) error {
	if s.listener == nil {
		return errors.New("server: Serve before Listen")
	}
	base, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	srv := &http.Server{
		BaseContext:       func(net.Listener) context.Context { return base },
		Handler:           s.Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		var late error
		timer := time.NewTimer(drainTimeout)
		defer timer.Stop()
		idle := s.drain.stop()
		select {
		case <-idle:
		case <-timer.C:
			_, n := s.drain.now()
			late = fmt.Errorf("server: %d requests were cut, since they took longer than %s", n, drainTimeout)
			cut(errStopping)
		}
		answering, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		_ = srv.Shutdown(answering) // what it did not wait for is closed with the rest
		done <- errors.Join(late, srv.Close())
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
	for pattern, handle := range s.routes() {
		mux.Handle(pattern, s.route(pattern, handle))
	}
	return withJSONErrors(mux)
}

// routes lists the API; docs/api.md describes it.
func (s *Server) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
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
	}
}
