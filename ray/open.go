package ray

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	// pingTimeout bounds the first round trip. A server without a free thread accepts connections and never answers.
	pingTimeout = 15 * time.Second
	// initTimeout bounds one attempt to make the server start its process for the session: seconds on an idle machine, unless
	// there is a runtime environment to set up.
	initTimeout = 40 * time.Second
	// firstOpenPause and lastOpenPause bound the pauses between attempts. Each failed attempt keeps a thread of the
	// server busy for the grace period.
	firstOpenPause = 200 * time.Millisecond
	lastOpenPause  = 3 * time.Second

	maxMessage = 1<<31 - 1
)

// errStart: the server could not start a process for the session. Ray's fork fails at random.
var errStart = errors.New("the Ray Client server failed to start a process for the session")

// Open makes a new session. A context without deadline is given DefaultOpenTimeout, which may be too short for a RuntimeEnv
// that takes its time, such as one with Pip: Open waits for it as long as ctx allows.
//
// Ray's server fails to start sessions at random; Open tries again, as a new client, until ctx ends. It does not wait for
// a server to appear: when nothing answers at the address, or something that is no Ray Client server or has no room for
// another client, it returns an error that wraps ErrNoClientServer at once, or after 15 seconds of silence. A server that is
// full is a *FullError in it: one that begins the session and then has no thread for its requests is found out after some 7
// seconds, while one whose process for the session is slow is waited for.
//
// A cluster whose Ray version is none of TestedVersions is no error: Open says so once, as a warning to the logger.
func Open(ctx context.Context, cfg Config) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultOpenTimeout)
		defer cancel()
	}
	if _, warning := cfg.Credentials.DialOptions(cfg.Address); warning != "" {
		cfg.Logger.Warn(warning)
	}
	pace := pacer{firstOpenPause, lastOpenPause}
	for {
		s, err := open(ctx, cfg)
		if err == nil {
			if problem := s.info.Untested(); problem != "" {
				cfg.Logger.Warn("the cluster is not one that this driver was tested with", "problem", problem, "session", s.id)
			}
			return s, nil
		}
		if !isWorthAnotherClient(err) {
			return nil, fmt.Errorf("ray: open session at %s: %w", cfg.Address, err)
		}
		cfg.Logger.Info("opening a session failed; trying as a new client", "address", cfg.Address, "cause", err)
		if ended := pace.wait(ctx); ended != nil {
			return nil, fmt.Errorf("ray: open session at %s: %w; the last attempt: %w", cfg.Address, ended, err)
		}
	}
}

// isWorthAnotherClient reports whether an attempt failed for a reason that a new client may not meet.
func isWorthAnotherClient(err error) bool {
	if errors.Is(err, errStart) {
		return true
	}
	return errors.Is(err, ErrSessionLost) && !errors.Is(err, ErrNoClientServer) && refused(nil, err) == nil
}

// open makes one attempt, with a client id of its own. Nothing is left of it if it fails.
func open(ctx context.Context, cfg Config) (*Session, error) {
	s, err := newSession(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		s.cancel(nil)
		_ = s.conn.Close() // the error before is the one that matters
		return nil, err
	}
	go s.run()
	if err := s.introduce(ctx); err != nil {
		if s.isAccepted() {
			// The server has a process for this client by now, and should not keep it for the grace period.
			s.closing.Store(true)
			s.out.refuse(ErrClosed)
			s.leave(ctx, time.Second)
		}
		s.cancel(nil)
		<-s.stopped
		return nil, err
	}
	return s, nil
}

func newSession(cfg Config) (*Session, error) {
	// The pass-through resolver leaves names to the dialler, which asks for them at every connection: the address of a
	// head that moved is found at once. gRPC's own resolver would ask at most every 30 s.
	secured, _ := cfg.Credentials.DialOptions(cfg.Address)
	conn, err := grpc.NewClient("passthrough:///"+cfg.Address, append(append(secured, redialing(cfg.Dial.open, 6*time.Second)...),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		// Ray's server allows this; a connection that went silent is noticed after 15 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithInitialWindowSize(8<<20), grpc.WithInitialConnWindowSize(16<<20),
		// An eighth of the system calls of a large value. The buffer lasts as long as the connection.
		grpc.WithWriteBufferSize(256<<10),
		grpc.WithIdleTimeout(0), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	)...)
	if err != nil {
		return nil, err
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &Session{
		cfg: cfg, id: hex.EncodeToString(id[:]), conn: conn,
		data: raypb.NewRayletDataStreamerClient(conn), rpc: raypb.NewRayletDriverClient(conn),
		out: newOutbox(MaxInFlight, MaxInFlightBytes), mine: newImportedThings(),
		accepted: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}), turned: make(chan struct{}, 1), mutating: make(chan struct{}, 1),
		putTurns: newTurns(putsAhead), together: make(chan struct{}, 1), pins: newPins(),
	}
	s.refs = newReferences(s)
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s, nil
}

// prepare does what comes before the session begins.
func (s *Session) prepare(ctx context.Context) error {
	if err := s.greet(ctx); err != nil {
		return err
	}
	for _, p := range s.cfg.Packages {
		if _, err := s.upload(ctx, p); err != nil {
			return err
		}
	}
	return s.findPackages(ctx)
}

// findPackages looks whether the cluster has what the session's environment names. A server that finds out itself keeps one of
// its thousand ports for good, and a thread for the grace period, and refuses the same environment for ten minutes.
func (s *Session) findPackages(ctx context.Context) error {
	if s.cfg.RuntimeEnv == nil {
		return nil
	}
	for _, uri := range append([]string{s.cfg.RuntimeEnv.WorkingDir}, s.cfg.RuntimeEnv.PyModules...) {
		if !strings.HasPrefix(uri, "gcs://") || s.pins.find(uri) != nil {
			continue
		}
		exists, err := s.KVExists(ctx, "", uri)
		if err != nil {
			return fmt.Errorf("look for package %s: %w", uri, err)
		}
		if !exists {
			return SystemError{Class: "RuntimeEnvSetupError", Message: "Failed to download runtime_env file package " + uri + " from the GCS: it is not there"}.typed()
		}
	}
	return nil
}

// greet checks that a Ray Client server is at the address. It answers this request itself, before it knows the client.
func (s *Session) greet(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := s.rpc.ClusterInfo(s.outgoing(bounded), &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_PING})
	if status.Code(err) == codes.DeadlineExceeded {
		// The server knows our deadline and may end the request a moment before our own clock does: which of the two
		// contexts ended can be told only then.
		<-bounded.Done()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: no answer yet: %w", ErrNoClientServer, ctx.Err())
	case bounded.Err() != nil:
		if err := absent(ctx, s.cfg.Dial, s.cfg.Address); err != nil {
			return fmt.Errorf("%w: silence for %v: %w", ErrNoClientServer, pingTimeout, err)
		}
		return fmt.Errorf("%w: %w", ErrNoClientServer, &FullError{Sign: FullSilent})
	}
	if refusal := refused(s.cfg.Credentials, err); refusal != nil {
		return refusal
	}
	switch status.Code(err) {
	case codes.PermissionDenied:
		return fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	case codes.Unimplemented:
		return fmt.Errorf("%w: %w; the Ray Client server is mostly at port 10001 of the head node (6379 is the GCS): %w",
			ErrNoClientServer, ErrOtherServer, err)
	case codes.Unavailable:
		if ctx.Err() == nil && fellSilent(err) {
			return fmt.Errorf("%w: %w: %w", ErrNoClientServer, ErrSilent, err)
		}
		if failedTLS(s.cfg.Credentials, err) {
			return fmt.Errorf("%w: %w; the certificates of the two sides have to go together, and the server has to speak TLS: %w", ErrNoClientServer, ErrTLS, err)
		}
		cause := absent(ctx, s.cfg.Dial, s.cfg.Address)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: no answer yet: %w", ErrNoClientServer, ctx.Err())
		case cause == nil && strings.Contains(err.Error(), "connection refused"):
			cause = fmt.Errorf("%w a moment ago", ErrNotListening) // it does by now
		case cause == nil:
			cause = ErrNotRay
		}
		if s.cfg.Credentials == nil && strings.Contains(err.Error(), "error reading server preface") && !strings.Contains(err.Error(), "HTTP/1.1") {
			return fmt.Errorf("%w: %w: it accepts connections and does not speak HTTP/2 in clear text; the cluster may want TLS (RAY_USE_TLS), or the port is another one: the Ray Client server is mostly at 10001, the dashboard at 8265: %w", ErrNoClientServer, cause, err)
		}
		return fmt.Errorf("%w: %w; check that the head node runs with a Ray Client server (ray start --head --ray-client-server-port=10001) and that the address is that port: %w",
			ErrNoClientServer, cause, err)
	}
	return fmt.Errorf("%w: %w", ErrNoClientServer, err)
}

// fellSilent tells whether a connection was accepted and then given up because nothing came on it: neither the first message of
// HTTP/2, which a server sends unasked, nor of TLS. gRPC says so in words only.
func fellSilent(err error) bool {
	text := err.Error()
	givenUp := strings.Contains(text, "use of closed network connection") || strings.Contains(text, "closed pipe")
	return strings.Contains(text, "error reading server preface") && givenUp ||
		strings.Contains(text, "authentication handshake failed: context deadline exceeded")
}

// failedTLS tells whether a connection was not made because of TLS. gRPC says so in words only, and a server that does not take
// our certificate in none: with TLS 1.3 it ends the connection after a handshake that went well, sooner or later.
func failedTLS(c *Credentials, err error) bool {
	if c == nil || c.TLS == nil {
		return false
	}
	for _, words := range []string{"authentication handshake failed", "remote error: tls", "EOF", "connection reset", "broken pipe"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}

// introduce makes the server start its process for the session, and learns where the session is.
func (s *Session) introduce(ctx context.Context) error {
	first := ctx
	if s.cfg.RuntimeEnv == nil {
		var cancel context.CancelFunc
		first, cancel = context.WithTimeout(ctx, s.cfg.bounds.init)
		defer cancel()
	}
	if err := s.init(first); err != nil {
		return err
	}
	close(s.accepted)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.bounds.init)
	defer cancel()
	about, err := s.connectionInfo(ctx, "connection info")
	if err != nil {
		return err
	}
	place, err := s.place(ctx, int(about.GetNumClients()))
	if err != nil {
		return err
	}
	s.info = SessionInfo{
		ID: s.id, Epoch: s.cfg.Epoch, Namespace: place.GetNamespace(), GCSAddress: place.GetGcsAddress(),
		JobID: hex.EncodeToString(place.GetJobId()), NodeID: hex.EncodeToString(place.GetNodeId()),
		RayVersion: about.GetRayVersion(), RayCommit: about.GetRayCommit(), PythonVersion: about.GetPythonVersion(),
		NumClients: int(about.GetNumClients()),
	}
	if s.info.Namespace != s.cfg.Namespace {
		return fmt.Errorf("the session is in namespace %q instead of %q", s.info.Namespace, s.cfg.Namespace)
	}
	return nil
}

// init is the first message of the data channel.
func (s *Session) init(ctx context.Context) error {
	// from_json takes a plain dict, whatever attributes JobConfig has in this version of Ray.
	config := map[string]any{"ray_namespace": s.cfg.Namespace}
	if s.cfg.RuntimeEnv != nil {
		env, err := s.cfg.RuntimeEnv.processOptions()
		if err != nil {
			return fmt.Errorf("%w: runtime env: %w", ErrInvalidOption, err)
		}
		config["runtime_env"] = env
	}
	job, err := pickle.Marshal(pickle.Call{
		Func: pickle.Global{Module: "ray.job_config", Name: "JobConfig.from_json"}, Args: pickle.Tuple{config},
	})
	if err != nil {
		return fmt.Errorf("namespace %q or runtime env: %w", s.cfg.Namespace, err)
	}
	r := &request{target: "init", msg: &raypb.DataRequest{Type: &raypb.DataRequest_Init{Init: &raypb.InitRequest{
		JobConfig: job, RayInitKwargs: `{"_skip_env_hook": true}`, ReconnectGracePeriod: int32(s.cfg.ReconnectGrace / time.Second),
	}}}}
	err = s.roundTrip(ctx, r)
	switch {
	case err == nil:
	case status.Code(err) == codes.ResourceExhausted:
		return fmt.Errorf("%w: %w", ErrNoClientServer, &FullError{Sign: FullRefused, Err: err})
	case ctx.Err() != nil:
		return fmt.Errorf("%w: no process for the session yet: %w", ErrNoClientServer, err)
	default:
		return err
	}
	answer := r.answer.GetInit()
	if answer.GetOk() {
		return nil
	}
	if s.cfg.RuntimeEnv != nil && strings.Contains(answer.GetMsg(), "runtime_env") {
		text := strings.TrimSpace(answer.GetMsg())
		if _, cause, ok := strings.Cut(text, "it is caused by:\n"); ok {
			text = cause
		}
		return SystemError{Class: "RuntimeEnvSetupError", Message: text}.typed()
	}
	text := lastLine(answer.GetMsg())
	// The process died before it was up, seen from different places of the server.
	for _, sign := range []string{"Starting Ray client server failed", "Proxy failed to Connect to backend", "psutil", "Server startup failed"} {
		if strings.Contains(answer.GetMsg(), sign) {
			return fmt.Errorf("%w: %s", errStart, text)
		}
	}
	return fmt.Errorf("the cluster refused the session: %s", text)
}

// lastLine returns the last line of a Python traceback, which names the exception.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}
