package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/check"
)

type checkCommand struct {
	Config       string        `help:"Organism file; the built-in three organs when empty." env:"SEEDCORE_CONFIG" type:"path"`
	WorkerBinary string        `help:"Linux program that Ray starts as the actors; this program when empty." env:"SEEDCORE_WORKER_BINARY" type:"path"`
	Timeout      time.Duration `help:"Longest time for all checks." default:"10m"`
}

// Run runs every check, also after one has failed, and ends the actors that they created.
func (c *checkCommand) Run(ctx context.Context, s streams) (err error) {
	connection, err := connector.FromEnv()
	if err != nil {
		return usageError{err}
	}
	config, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	bench := &check.Bench{Lookup: os.Getenv, Connection: connection, Organism: config, Binary: c.WorkerBinary, Logger: slog.New(slog.DiscardHandler)}
	defer func() {
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, bench.Close(farewell))
	}()
	passed, all := 0, check.All()
	for _, one := range all {
		result := bench.Run(ctx, one)
		result.Print(s.out)
		if result.Err == nil {
			passed++
		}
	}
	fmt.Fprintf(s.out, "%d/%d passed\n", passed, len(all))
	if passed < len(all) {
		return errSilent
	}
	return nil
}
