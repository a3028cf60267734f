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
	"github.com/seedcore/seedcore/internal/rayhead"
)

const (
	headStartTimeout = 90 * time.Second
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
	cfg, err := connector.FromEnv()
	if err != nil {
		return usageError{err}
	}
	cfg.Logger = s.log
	if err := portIsFree(c.Listen); err != nil {
		return err
	}
	var lines []string
	if os.Getenv("RAY_ADDRESS") == "" && os.Getenv("RAY_HOST") == "" {
		s.log.Info("starting a local Ray head; RAY_ADDRESS is empty")
		start, cancel := context.WithTimeout(ctx, headStartTimeout)
		defer cancel()
		head, err := rayhead.Start(start, rayhead.Config{Python: c.python(), NumCPUs: c.NumCPUs, Dashboard: c.Dashboard, Logger: s.log})
		if err != nil {
			return err
		}
		defer func() {
			stop, cancel := context.WithTimeout(context.Background(), headStopTimeout)
			defer cancel()
			err = errors.Join(err, head.Stop(stop))
			s.log.Info("the local Ray head is stopped")
		}()
		cfg.Address = "ray://" + head.ClientAddress()
		lines = []string{fmt.Sprintf("Ray        ray://%s, GCS %s%s; stops with this program", head.ClientAddress(), head.GCSAddress(), dashboard(head))}

		var ended context.CancelCauseFunc
		ctx, ended = context.WithCancelCause(ctx)
		defer ended(nil)
		stopWatch := make(chan struct{})
		defer close(stopWatch)
		go func() {
			select {
			case <-head.Done():
				ended(fmt.Errorf("the local Ray head ended by itself: %w", head.Err()))
			case <-stopWatch:
			}
		}()
	}
	conn, err := connector.New(cfg)
	if err != nil {
		return err
	}
	err = c.serve(ctx, s, conn, lines)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
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
