package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/seedcore/seedcore/internal/check"
)

type checkCommand struct {
	Config       string        `help:"Organism file; the built-in three organs when empty." env:"SEEDCORE_CONFIG" type:"path"`
	WorkerBinary string        `help:"Linux program that Ray starts as the actors, or several as linux/amd64=PATH,linux/arm64=PATH; this program when empty." env:"SEEDCORE_WORKER_BINARY"`
	Timeout      time.Duration `help:"Longest time for all checks." default:"10m"`
}

// Run runs every check, also after one has failed, and ends the actors that they created: in a namespace of their own, so
// that nobody else's can be among them.
func (c *checkCommand) Run(ctx context.Context, s streams) error {
	connection, err := settings(os.Getenv)
	if err != nil {
		err = usageError{err}
	}
	config, configErr := loadConfig(c.Config)
	if err := errors.Join(err, configErr, checkWorkerBinary(c.WorkerBinary)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	bench := &check.Bench{Lookup: os.Getenv, Connection: connection, Organism: config, Binary: c.WorkerBinary, Logger: slog.New(slog.DiscardHandler)}
	fmt.Fprintf(s.out, "Actors are created in namespace %s alone, and ended afterwards.\n", bench.Scratch())
	passed, all := 0, check.All()
	for _, one := range all {
		if ctx.Err() != nil {
			break
		}
		result := bench.Run(ctx, one)
		result.Print(s.out)
		if result.Err == nil {
			passed++
		}
	}
	fmt.Fprintf(s.out, "%d/%d passed\n", passed, len(all))
	farewell, cancelFarewell := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancelFarewell()
	if err := bench.Close(farewell); err != nil {
		return err // it also tells what may be left behind, whatever passed
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("not all checks ran (--timeout bounds them): %w", context.Cause(ctx))
	case passed < len(all):
		return errSilent
	}
	return nil
}
