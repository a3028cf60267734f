package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/organism"
)

const (
	headStartTimeout = 2 * time.Minute
	headStopTimeout  = 30 * time.Second
)

type upCommand struct {
	serveCommand `embed:""`

	Python    string `help:"Python that has Ray, for the local head. Default: .venv/bin/python here or beside this program, else python3." env:"SEEDCORE_PYTHON"`
	NumCPUs   int    `help:"CPUs that the local head offers; 0 lets Ray count." name:"num-cpus" env:"SEEDCORE_NUM_CPUS"`
	Dashboard bool   `help:"Run Ray's dashboard with the local head." default:"true" negatable:""`
}

// Run starts a local head where none is configured, and serves.
func (c *upCommand) Run(ctx context.Context, s streams) (err error) {
	wanted := os.Getenv("RAY_ADDRESS") == "" && os.Getenv("RAY_HOST") == ""
	cfg, config, err := c.prepare(wanted)
	if err != nil {
		return err
	}
	cfg.Logger = s.log
	var lines []string
	if wanted {
		guard, err := protect(os.Getenv)
		if err != nil {
			return usageError{err}
		}
		fmt.Fprintln(s.out, "Starting a local Ray head, since RAY_ADDRESS is empty ...")
		local := rayhead.Config{
			Python: c.python(), NumCPUs: c.NumCPUs, Dashboard: c.Dashboard, Env: guard.env, Credentials: guard.credentials, Logger: s.log,
		}
		head, err := startHead(ctx, local)
		if err != nil {
			return err
		}
		cfg.Address, cfg.Credentials = "ray://"+head.ClientAddress(), guard.credentials
		hint, err := guard.describe(ctx, head)
		if err != nil {
			return errors.Join(err, stopHead(ctx, head))
		}
		lines = []string{
			fmt.Sprintf("Ray        ray://%s, GCS %s%s; stops with this program", head.ClientAddress(), head.GCSAddress(), dashboard(head)),
			"Token      " + hint,
		}

		// The head outlives the server, which takes leave of it.
		keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
		serving, end := context.WithCancelCause(ctx)
		defer end(nil)
		ctx = serving
		kept := make(chan error, 1)
		go func() {
			err := keepHead(keeping, s, local, head)
			end(err)
			kept <- err
		}()
		defer func() {
			stop()
			err = errors.Join(err, <-kept)
			fmt.Fprintln(s.out, "The local Ray head is stopped.")
		}()
	}
	cfg.Metrics = promray.New()
	conn, err := connector.New(cfg)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Connecting, and creating the organism ...")
	return c.serve(ctx, s, conn, config, lines)
}

// prepare finds what is wrong before a head is started in vain.
func (c *upCommand) prepare(head bool) (cfg connector.Config, config organism.Config, err error) {
	get := os.Getenv
	if head {
		get = with(get, "RAY_AUTH_MODE", "disabled") // protect reads what is about tokens, and makes one
	}
	cfg, envErr := settings(get)
	if envErr != nil {
		envErr = usageError{envErr}
	}
	config, err = c.serveCommand.prepare()
	var cpusErr error
	if c.NumCPUs < 0 {
		cpusErr = usageError{fmt.Errorf("--num-cpus or SEEDCORE_NUM_CPUS is %d; give a number of at least 0", c.NumCPUs)}
	}
	return cfg, config, errors.Join(envErr, err, cpusErr, portIsFree(c.Listen))
}

func startHead(ctx context.Context, config rayhead.Config) (*rayhead.Head, error) {
	ctx, cancel := context.WithTimeout(ctx, headStartTimeout)
	defer cancel()
	return rayhead.Start(ctx, config)
}

func stopHead(ctx context.Context, head *rayhead.Head) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), headStopTimeout)
	defer cancel()
	return head.Stop(ctx)
}

// keepHead starts the head again, at its address, when it ends by itself. When ctx ends it stops the head.
func keepHead(ctx context.Context, s streams, config rayhead.Config, head *rayhead.Head) error {
	config.Ports = head.Ports()
	for {
		select {
		case <-ctx.Done():
			return stopHead(ctx, head)
		case <-head.Done():
		}
		s.log.Warn("the local Ray head ended by itself and is started again", "cause", head.Err())
		next, err := startHead(ctx, config)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil //nolint:nilerr // it was asked to end, and a Start that fails leaves nothing behind
		case err != nil:
			return fmt.Errorf("the local Ray head ended by itself and does not start again: %w", err)
		}
		head = next
	}
}

// portIsFree finds a taken address before a head is started in vain.
func portIsFree(address string) error {
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("the API cannot listen on %s (--listen or SEEDCORE_LISTEN moves it): %w", address, err)
	}
	return ln.Close()
}

func dashboard(head *rayhead.Head) string {
	if head.DashboardAddress() == "" {
		return ""
	}
	return ", dashboard http://" + head.DashboardAddress()
}

// python finds the interpreter that `make setup` prepared.
func (c *upCommand) python() string {
	if c.Python != "" {
		return c.Python
	}
	candidates := []string{filepath.Join(".venv", "bin", "python")}
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), "..", ".venv", "bin", "python"))
	}
	for _, p := range candidates {
		if _, err := os.Stat(p); err == nil {
			if abs, err := filepath.Abs(p); err == nil {
				return abs
			}
		}
	}
	return "python3"
}
