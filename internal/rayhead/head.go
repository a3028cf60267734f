package rayhead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/seedcore/seedcore/internal/wire/credentials"
)

// Conditions that callers test for with errors.Is.
var (
	// ErrNoPython: Config.Python is missing or cannot be run, or Ray is not installed there.
	ErrNoPython = errors.New("rayhead: no Python with Ray")
	// ErrPortTaken: a port that Config.Ports asks for is in use.
	ErrPortTaken = errors.New("rayhead: port in use")
	// ErrEnded: the head ended although nobody asked it to.
	ErrEnded = errors.New("rayhead: Ray ended by itself")
	// ErrNotReady: the head did not answer in time.
	ErrNotReady = errors.New("rayhead: Ray did not get ready")
)

const (
	defaultObjectStoreMemory = 200 << 20
	minObjectStoreMemory     = 75 << 20 // Ray refuses less
	defaultStartTimeout      = 2 * time.Minute
	// How long the processes may take to end after SIGTERM before SIGKILL.
	grace = 6 * time.Second
	// How long Kill waits for the guard before it kills the guard itself.
	killTimeout = 15 * time.Second
)

// Config describes a head. The zero value of every field but Python is usable.
type Config struct {
	// Python is the interpreter of an environment that holds ray[default], such as ".venv/bin/python". Required.
	Python string
	// NumCPUs is the number of logical CPUs that Ray may hand out; 0 means as many as the machine has.
	NumCPUs int
	// ObjectStoreMemory is the size of the object store in bytes; 0 means 200 MiB, the least is 75 MiB.
	ObjectStoreMemory int64
	// Dashboard starts Ray's dashboard, which also serves the state API and jobs. It costs about ten processes.
	Dashboard bool
	// Ports fixes ports; see Ports.
	Ports Ports
	// TempDir is Ray's temporary directory, for sockets, logs and session files. Empty: a new one, removed when the
	// head ends. One that is named here is created if missing, and not removed. Its path must be short (38 bytes):
	// unix sockets lie deep inside.
	TempDir string
	// Env is added to the environment of every process of the head, as "KEY=value". Of this process's own environment
	// the head inherits everything but the variables that start with RAY_; of these, RAY_raylet_start_wait_time_s alone, which
	// is 75 where it is not set.
	Env []string
	// Credentials are what the head's servers are asked with whether they answer; nil: plain text, no token. A head whose
	// Env asks for TLS or a token needs them.
	Credentials *credentials.Credentials
	// Logger gets a line when the head is started, ready and stopped. Nil discards them.
	Logger *slog.Logger
	// Output gets what `ray start` prints, from one goroutine. It must not block for long; its errors are ignored.
	Output io.Writer
}

// Ports are the ports on which a head listens. In a Config, 0 means Ray's own port (6379, 10001, 8265) where it is
// free and another one where it is not; any other value must be free, else Start fails with ErrPortTaken.
type Ports struct {
	GCS, Client, Dashboard int

	// agent is where the head's agent listens, which runs jobs; 0 without a dashboard: anywhere. Ray 2.48 looks for the logs of
	// jobs elsewhere if it was told to choose one.
	agent int
}

// Head is a running Ray head. Its methods may be called from any goroutine.
type Head struct {
	python  string
	baseDir string // what is removed at the end, if we own it
	tempDir string // Ray's, in baseDir or the same
	name    string // the node's, unique: tells our GCS from another one at the same address
	ports   Ports
	nodeIP  string
	logger  *slog.Logger
	secured *credentials.Credentials

	cmd       *exec.Cmd // the guard
	stdin     io.WriteCloser
	output    *output
	release   func() // gives the ports back
	ownedBase bool
	done      chan struct{} // closed by wait, the goroutine that owns cmd

	mu    sync.Mutex // guards asked and err
	asked bool       // Stop or Kill was called
	err   error
}

// Start starts a head and returns when its GCS knows the node as alive, its Ray Client server answers and, if asked
// for, its dashboard does. ctx bounds the start only; without a deadline in it the bound is two minutes. On an error
// nothing is left running, and the error says what Ray said of it.
func Start(ctx context.Context, cfg Config) (*Head, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("rayhead: a local Ray head needs Linux, this is %s: start Ray by other means and set RAY_ADDRESS", runtime.GOOS)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultStartTimeout)
		defer cancel()
	}
	h, err := launch(cfg)
	if err != nil {
		return nil, err
	}
	go h.wait()
	if err := h.awaitReady(ctx, cfg.Dashboard); err != nil {
		h.Kill()
		return nil, err
	}
	h.logger.Info("Ray head is ready", "gcs", h.GCSAddress(), "client", h.ClientAddress(), "temp_dir", h.tempDir)
	return h, nil
}

// GCSAddress returns host:port of the GCS.
func (h *Head) GCSAddress() string { return h.address(h.ports.GCS) }

// ClientAddress returns host:port of the Ray Client server, the address after "ray://".
func (h *Head) ClientAddress() string { return h.address(h.ports.Client) }

// DashboardAddress returns host:port of the dashboard, or "" if the head has none.
func (h *Head) DashboardAddress() string {
	if h.ports.Dashboard == 0 {
		return ""
	}
	return h.address(h.ports.Dashboard)
}

func (h *Head) address(port int) string { return net.JoinHostPort(h.nodeIP, strconv.Itoa(port)) }

// Ports returns the ports in use, for starting another head at the same addresses once this one has ended.
func (h *Head) Ports() Ports { return h.ports }

// NodeIP returns the address by which Ray knows the node: 127.0.0.1, unless Config.Env made Ray choose another.
func (h *Head) NodeIP() string { return h.nodeIP }

// TempDir returns Ray's temporary directory. It holds the logs, below session_latest/logs.
func (h *Head) TempDir() string { return h.tempDir }

// Done returns a channel that is closed when all processes of the head have ended, for whatever reason.
func (h *Head) Done() <-chan struct{} { return h.done }

// Err returns nil while the head runs and after Stop or Kill. After the head ended by itself it returns an error that
// wraps ErrEnded and says what Ray said of it.
func (h *Head) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Stop ends all processes of the head, SIGTERM first and SIGKILL after six seconds, and waits until they are gone. If
// ctx ends before that they are killed at once, and the error says so. Stop may be called again, and after Kill.
func (h *Head) Stop(ctx context.Context) error {
	h.ask('T')
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
		h.Kill()
		return fmt.Errorf("rayhead: Ray was killed instead of stopped: %w", context.Cause(ctx))
	}
}

// Kill ends all processes of the head at once, like a loss of power, and waits until they are gone. It may be called
// again, and during Stop.
func (h *Head) Kill() {
	h.ask('K')
	select {
	case <-h.done:
		return
	case <-time.After(killTimeout):
	}
	// The guard does not answer. Without it, wait looks for the processes itself.
	_ = h.cmd.Process.Kill() // it can only say that the guard has ended meanwhile
	<-h.done
}

// ask tells the guard to end the head. An error would only mean that it is doing so already.
func (h *Head) ask(how byte) {
	h.mu.Lock()
	h.asked = true
	h.mu.Unlock()
	_, _ = h.stdin.Write([]byte{how})
}
