package ray

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// farewell bounds how long Close waits for the server to take note.
const farewell = 10 * time.Second

// Session is one connection to a Ray cluster through its Ray Client server. Ray runs one process and one job for it, and
// keeps what it holds (refs, actors that are not detached) until it is closed or lost. It takes two of the server's 100
// threads (RAY_CLIENT_SERVER_MAX_THREADS): a process needs one session, a cluster serves some dozens.
//
// A cut of the connection shorter than Config.ReconnectGrace is healed: every request is executed exactly once, and calls
// only take longer. After that, or when the server forgot the session, it is lost: everything under way fails with
// ErrSessionLost, and a new session has to be opened. Requests are carried out by the server one after the other, in the
// order in which they were made; only gets are answered out of order.
//
// All methods are safe for concurrent use, and return promptly when their context ends. A context without a deadline is
// given one of Config.CallTimeout, for each request that a method makes. What had been sent by then is finished behind the
// caller and released, so that a cancelled call harms neither the session nor the cluster; the error (a CallError) says
// whether the request was sent.
type Session struct {
	cfg  Config
	id   string
	conn *grpc.ClientConn
	data raypb.RayletDataStreamerClient
	rpc  raypb.RayletDriverClient
	info SessionInfo
	out  *outbox
	refs *references
	mine *importedThings
	pins *pins

	// ctx ends when the session is over or must be, with the reason if that is a loss; cancel is the only way to stop the
	// owner goroutine.
	ctx    context.Context
	cancel context.CancelCauseFunc
	// accepted is closed once the server accepted the session: only then can it be resumed after a cut.
	accepted chan struct{}
	closing  atomic.Bool
	left     atomic.Bool // the farewell was sent
	probing  atomic.Bool // a probe after a resumption has no answer yet
	done     chan struct{}
	stopped  chan struct{} // closed when the owner goroutine and all it started are gone
	turned   chan struct{} // has room for one signal that the connection was cut or resumed

	reconnects, resent, requests, answers, moved, stale, bytesSent, bytesCame atomic.Int64
	// lastMoved is when moved was last counted up.
	lastMoved clock
	timers    timerPool

	mu  sync.Mutex // guards err
	err error

	// mutating admits one unary request that changes something at a time; lastMutation numbers them. The server
	// recognises a repetition by both.
	mutating     chan struct{}
	lastMutation int64
	// putTurns are for puts that nobody waits for.
	putTurns turns
	// together admits one request at a time that waits at the server for several values.
	together chan struct{}
}

// SessionInfo describes a session as the cluster reported it when it was opened.
type SessionInfo struct {
	ID            string `json:"id"`    // client id, 32 hex digits
	Epoch         uint64 `json:"epoch"` // Config.Epoch
	Namespace     string `json:"namespace"`
	RayVersion    string `json:"ray_version"`
	RayCommit     string `json:"ray_commit"`
	PythonVersion string `json:"python_version"`
	JobID         string `json:"job_id"`      // hex
	NodeID        string `json:"node_id"`     // hex, of the node that runs the Ray Client server
	GCSAddress    string `json:"gcs_address"` // as the cluster knows it; may not be reachable from here
	NumClients    int    `json:"num_clients"` // sessions at the server, this one included
}

// SessionStats is a snapshot of a session's counters.
type SessionStats struct {
	Reconnects  int64 `json:"reconnects"`  // how often the data channel was resumed
	Resent      int64 `json:"resent"`      // requests that were sent again after a cut
	Requests    int64 `json:"requests"`    // sent, repetitions not counted
	Answers     int64 `json:"answers"`     // complete answers
	Queued      int   `json:"queued"`      // requests that were not sent yet
	Outstanding int   `json:"outstanding"` // requests that were sent and have no answer yet
	Moved       int64 `json:"moved"`       // messages that came, and parts after the first of large requests that were taken
	Refs        int   `json:"refs"`        // objects and actors that the cluster holds for this session
	Stale       int64 `json:"stale"`       // uses of refs and handles of another session, which were refused
	BytesSent   int64 `json:"bytes_sent"`  // of values and arguments, pickled; what is sent again counts again
	BytesCame   int64 `json:"bytes_came"`  // of values
}

// ID returns the client id of the session, 32 hex digits, which appears in Ray's logs.
func (s *Session) ID() string { return s.id }

// String names the session, its server and its namespace.
func (s *Session) String() string {
	if s == nil {
		return "Session(nil)"
	}
	return fmt.Sprintf("Session(%s at %s, namespace %s)", s.id, s.cfg.Address, s.cfg.Namespace)
}

// Info returns what the cluster reported when the session was opened. SessionInfo.Untested says whether its Ray version is
// one that this package was tested with.
func (s *Session) Info() SessionInfo { return s.info }

// Done returns a channel that is closed when the session is lost or closed.
func (s *Session) Done() <-chan struct{} { return s.done }

// Turned returns a channel that has a signal when the connection was cut, or resumed after a cut, since the last signal was
// taken: a reason to look at the session, by Ping. It is for one receiver, and never closed.
func (s *Session) Turned() <-chan struct{} { return s.turned }

// turn leaves a signal for whoever looks at Turned.
func (s *Session) turn() {
	select {
	case s.turned <- struct{}{}:
	default:
	}
}

// Err returns nil while the session lives, and afterwards an error that wraps ErrSessionLost or ErrClosed. A session that
// is being resumed lives.
func (s *Session) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Stats returns the counters.
func (s *Session) Stats() SessionStats {
	queued, sent, _ := s.out.counts()
	return SessionStats{
		Reconnects: s.reconnects.Load(), Resent: s.resent.Load(), Requests: s.requests.Load(), Answers: s.answers.Load(),
		Queued: queued, Outstanding: sent, Moved: s.moved.Load(), Refs: s.refs.count(),
		Stale: s.stale.Load(), BytesSent: s.bytesSent.Load(), BytesCame: s.bytesCame.Load(),
	}
}

// Ping makes a round trip to the process that the server runs for this session. It takes its turn among the other
// requests: behind a large Put it is as slow as that. Bound it by ctx. MaxInFlight does not refuse it, unless as many as 100
// pings have no answer.
func (s *Session) Ping(ctx context.Context) error {
	_, err := s.connectionInfo(ctx, "ping")
	return err
}

func (s *Session) connectionInfo(ctx context.Context, target string) (*raypb.ConnectionInfoResponse, error) {
	r := &request{target: target, ping: true, msg: &raypb.DataRequest{Type: &raypb.DataRequest_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoRequest{}}}}
	if err := s.roundTrip(ctx, r); err != nil {
		return nil, err
	}
	return r.answer.GetConnectionInfo(), nil
}

// roundTrip sends r and waits for its answer. The refs in r.uses are returned in any case.
func (s *Session) roundTrip(ctx context.Context, r *request) error {
	if s.cfg.Tracer == nil {
		return s.carryOut(ctx, r)
	}
	return traced(ctx, s.cfg.Tracer, TracedCall{r.operation(), r.target}, func(ctx context.Context) error {
		if err := s.label(ctx, r); err != nil {
			s.refs.unuse(r.uses)
			return &CallError{Target: r.target, Sent: SentNo, Err: err}
		}
		return s.carryOut(ctx, r)
	})
}

func (s *Session) carryOut(ctx context.Context, r *request) error {
	err := ctx.Err()
	if err == nil {
		if r.producesActor {
			s.refs.produce(1)
		}
		if err = s.out.add(r); err != nil && r.producesActor {
			s.refs.produce(-1)
		}
	}
	if err != nil {
		s.refs.unuse(r.uses)
		return &CallError{Target: r.target, Sent: SentNo, Err: err}
	}
	if err = s.wait(ctx, r); err == nil {
		return r.err
	}
	switch s.out.withdraw(r) {
	case stateDone:
		return r.err
	case stateNew:
		s.settle(r)
		return &CallError{Target: r.target, Sent: SentNo, Err: err}
	default:
		return &CallError{Target: r.target, Sent: SentMaybe, Err: err}
	}
}

// settle ends what r kept from being released.
func (s *Session) settle(r *request) {
	s.refs.unuse(r.uses)
	if r.producesActor {
		s.refs.produce(-1)
	}
}

// Close refuses new calls, waits for those under way until ctx ends, and takes leave of the server, which then drops
// everything that it holds for the session. Calls that were still under way fail with ErrClosed. Close returns when every
// goroutine of the session has ended. It is idempotent; closing a lost session returns nil.
func (s *Session) Close(ctx context.Context) error {
	if !s.closing.CompareAndSwap(false, true) {
		select {
		case <-s.stopped:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("ray: close session: %w", ctx.Err())
		}
	}
	s.out.refuse(ErrClosed)
	var err error
	patience := farewell
	select {
	case <-s.out.drained():
	case <-s.stopped:
	case <-ctx.Done():
		_, _, n := s.out.counts()
		err = fmt.Errorf("ray: close session: %d calls were still under way: %w", n, ctx.Err())
		patience = time.Second
	}
	s.leave(ctx, patience)
	return err
}

// leave tells the server to drop the session, for at most patience, and ends the owner goroutine.
func (s *Session) leave(ctx context.Context, patience time.Duration) {
	r := &request{
		target: "close", internal: true, last: true,
		msg: &raypb.DataRequest{Type: &raypb.DataRequest_ConnectionCleanup{ConnectionCleanup: &raypb.ConnectionCleanupRequest{}}},
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	over := ctx.Done()
	if ctx.Err() != nil {
		over = nil // the patience is short then
	}
	if s.out.add(r) == nil {
		select {
		case <-s.stopped:
		case <-timer.C:
		case <-over:
		}
	}
	s.cancel(nil)
	<-s.stopped
}

// end makes err the session's last word. The owner goroutine calls it, once.
func (s *Session) end(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	close(s.done)
	s.cancel(nil)
	s.out.fail(err)
	for range s.refs.unfulfilled() {
		s.putTurns.pass() // whoever waits for a turn is refused then
	}
}

// isAccepted reports whether the server has a process for the session.
func (s *Session) isAccepted() bool {
	select {
	case <-s.accepted:
		return true
	default:
		return false
	}
}

// errLost wraps the reason why the server does not know the session any more.
func errLost(cause error) error { return fmt.Errorf("%w: %w", ErrSessionLost, cause) }
