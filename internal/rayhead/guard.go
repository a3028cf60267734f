package rayhead

import (
	"cmp"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed guard.py
var guardScript []byte

const (
	guardFile = "seedcore_guard.py"
	// A unix socket's path holds 107 bytes, and Ray's longest name below its temporary directory is
	// /session_YYYY-MM-DD_HH-MM-SS_ffffff_PPPPPPP/sockets/ and some 16 more.
	maxTempDir = 38
)

// launch starts the guard, and through it `ray start`.
func launch(cfg Config) (_ *Head, err error) {
	h := &Head{logger: cfg.Logger, secured: cfg.Credentials, output: newOutput(cfg.Output), done: make(chan struct{})}
	if h.logger == nil {
		h.logger = slog.New(slog.DiscardHandler)
	}
	if h.python, err = findPython(cfg.Python); err != nil {
		return nil, err
	}
	memory := cfg.ObjectStoreMemory
	switch {
	case memory == 0:
		memory = defaultObjectStoreMemory
	case memory < minObjectStoreMemory:
		return nil, fmt.Errorf("rayhead: Config.ObjectStoreMemory is %d bytes, Ray needs at least %d", memory, int64(minObjectStoreMemory))
	}
	if h.ports, h.release, err = reservePorts(cfg.Ports, cfg.Dashboard); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.cleanUp()
		}
	}()
	if err = h.makeTempDir(cfg.TempDir); err != nil {
		return nil, err
	}
	h.name = "head-" + strings.ToLower(rand.Text()[:10])
	h.nodeIP = "127.0.0.1"

	h.cmd, h.stdin, err = h.startGuard(h.ownedBase, h.output, append(environment(cfg.Env), h.mark()), h.rayArgs(cfg, memory))
	if err != nil {
		return nil, err
	}
	h.logger.Info("Ray head is starting", "guard", h.cmd.Process.Pid, "temp_dir", h.tempDir)
	return h, nil
}

// wait owns the guard: it returns when the guard, and with it the whole head, has ended.
func (h *Head) wait() {
	_ = h.cmd.Wait() // how it ended is in ProcessState
	h.sweep()
	h.cleanUp()
	h.mu.Lock()
	asked := h.asked
	if !asked {
		h.err = fmt.Errorf("%w (guard: %s): %s", ErrEnded, h.cmd.ProcessState, h.output)
	}
	h.mu.Unlock()
	h.logger.Info("Ray head has ended", "asked", asked)
	close(h.done)
}

func (h *Head) cleanUp() {
	h.release()
	if h.ownedBase {
		_ = os.RemoveAll(h.baseDir) // the guard did this already, unless it was killed
	}
}

// startGuard starts a guard, and through it the program in args. The guard listens to its standard input. It removes the
// directory of the head at the end if it is to.
func (h *Head) startGuard(remove bool, output io.Writer, env, args []string) (*exec.Cmd, io.WriteCloser, error) {
	removes := "0"
	if remove {
		removes = "1"
	}
	guard := []string{
		"-I", "-S", filepath.Join(h.baseDir, guardFile),
		h.baseDir, removes, strconv.FormatFloat(grace.Seconds(), 'f', -1, 64),
	}
	cmd := exec.Command(h.python, append(guard, args...)...)
	cmd.Dir = h.tempDir // not in the caller's directory: a module there could shadow one of Ray's
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the owner, who then ends the guard
	cmd.WaitDelay = 2 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("rayhead: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNoPython, err)
	}
	return cmd, stdin, nil
}

func (h *Head) rayArgs(cfg Config, memory int64) []string {
	args := []string{
		// Not the `ray` script: its first line names the interpreter by a path that a moved environment has lost.
		h.python, "-m", "ray.scripts.scripts", "start", "--head", "--block",
		"--log-style", "record", "--log-color", "false",
		"--node-ip-address", h.nodeIP,
		"--node-name", h.name,
		"--port", strconv.Itoa(h.ports.GCS),
		"--ray-client-server-port", strconv.Itoa(h.ports.Client),
		"--dashboard-agent-listen-port", strconv.Itoa(h.ports.agent), // the fixed default is taken when a second head runs
		"--object-store-memory", strconv.FormatInt(memory, 10),
		"--temp-dir", h.tempDir,
		"--include-dashboard", strconv.FormatBool(cfg.Dashboard),
	}
	if cfg.Dashboard {
		args = append(args, "--dashboard-host", h.nodeIP, "--dashboard-port", strconv.Itoa(h.ports.Dashboard))
	}
	if cfg.NumCPUs > 0 {
		args = append(args, "--num-cpus", strconv.Itoa(cfg.NumCPUs))
	}
	return args
}

// rayletPatience is how many seconds `ray start` waits until its raylet is registered, if rayletPatienceVariable is not set
// here: Ray's own 30 are not enough for a slow machine. A raylet that dies on the way shows only when they are over, so they
// stay below the time that a start has.
const rayletPatience, rayletPatienceVariable = "75", "RAY_raylet_start_wait_time_s"

// environment is what the head's processes see. Ray's variables of the caller speak of another cluster (RAY_ADDRESS,
// RAY_REDIS_ADDRESS), so they are not inherited, except for the one that speaks of this machine.
func environment(extra []string) []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "RAY_") {
			env = append(env, entry)
		}
	}
	env = append(
		env,
		"RAY_USAGE_STATS_ENABLED=0",
		"RAY_AUTH_MODE=disabled", // else a token file in the home directory would turn it on
		// Without this, Ray takes 127.0.0.1 for the address of an interface and listens to the whole network.
		"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0",
		// On SIGTERM do not wait up to 30 seconds for the actors to leave the node.
		"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0",
		// The Ray Client server forks for every session, and gRPC's handlers for that crash some of the children.
		"GRPC_ENABLE_FORK_SUPPORT=0",
		rayletPatienceVariable+"="+cmp.Or(os.Getenv(rayletPatienceVariable), rayletPatience),
	)
	return append(env, extra...)
}

func findPython(python string) (string, error) {
	if python == "" {
		return "", fmt.Errorf("%w: Config.Python is empty; `make setup` makes .venv/bin/python", ErrNoPython)
	}
	path, err := exec.LookPath(python)
	if err != nil {
		return "", fmt.Errorf("%w: Config.Python: %w; `make setup` makes .venv/bin/python", ErrNoPython, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", fmt.Errorf("%w: Config.Python: %w", ErrNoPython, err)
	}
	return path, nil
}

// makeTempDir makes the temporary directory and puts the guard's script there.
func (h *Head) makeTempDir(wanted string) (err error) {
	if wanted == "" {
		parent := os.TempDir()
		if len(parent) > maxTempDir-len("/seedcore-0123456789/r") {
			parent = "/tmp"
		}
		if h.baseDir, err = os.MkdirTemp(parent, "seedcore-"); err != nil {
			return fmt.Errorf("rayhead: temporary directory: %w", err)
		}
		h.ownedBase = true
		// Ray opens its directory to every user; nobody else gets past the one above.
		h.tempDir = filepath.Join(h.baseDir, "r")
		if err = os.Mkdir(h.tempDir, 0o700); err != nil {
			return fmt.Errorf("rayhead: temporary directory: %w", err)
		}
	} else {
		if h.tempDir, err = filepath.Abs(wanted); err != nil {
			return fmt.Errorf("rayhead: Config.TempDir: %w", err)
		}
		if len(h.tempDir) > maxTempDir {
			return fmt.Errorf("rayhead: Config.TempDir %q is %d bytes long, at most %d fit: the path of a unix socket is limited", h.tempDir, len(h.tempDir), maxTempDir)
		}
		if err = os.MkdirAll(h.tempDir, 0o700); err != nil {
			return fmt.Errorf("rayhead: Config.TempDir: %w", err)
		}
		// An earlier head's would look like ours.
		if err = os.Remove(filepath.Join(h.tempDir, addressFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rayhead: Config.TempDir: %w", err)
		}
		h.baseDir = h.tempDir
	}
	if err = os.WriteFile(filepath.Join(h.baseDir, guardFile), guardScript, 0o600); err != nil {
		return fmt.Errorf("rayhead: temporary directory: %w", err)
	}
	return nil
}
