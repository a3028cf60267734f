package server

import (
	"maps"
	"net"
	"net/http"
	"slices"

	"github.com/seedcore/seedcore/organism"
)

// BodyTimeout is how long a client may take to send a request.
const BodyTimeout = bodyTimeout

// ReplyExecution answers as an execute route does once its task ended.
func (s *Server) ReplyExecution(w http.ResponseWriter, r *http.Request, e organism.Execution, err error) {
	refuse := func(err error, sent string) {
		s.fail(w, r, err, failure{Error: text(err, e.OrganID), OrganID: e.OrganID, Sent: sent})
	}
	if err != nil {
		refuse(err, sent(err))
		return
	}
	s.replyResult(w, execution{Success: true, Result: e.Result, OrganID: e.OrganID}, refuse)
}

// ReadBody decodes a request's body as the execute routes do, and returns its task.
func (s *Server) ReadBody(w http.ResponseWriter, r *http.Request) (task map[string]any, ok bool) {
	ok = s.body(w, r, func(o *object) { task = o.mapping("task_data") })
	return task, ok
}

// ListenOn makes ln what Listen would have opened.
func (s *Server) ListenOn(ln net.Listener) { s.listener = ln }

// ErrStopping is the cause with which requests are cancelled that take too long for a server that stops.
var ErrStopping = errStopping

// DrainTimeout is how long requests may take then.
const DrainTimeout = drainTimeout

// Warning is what readyz says of a connection that answers.
var Warning = warning

// Routes lists the patterns of all routes, sorted.
func (s *Server) Routes() []string { return slices.Sorted(maps.Keys(s.routes())) }
