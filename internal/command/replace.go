package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/organism"
)

type replaceCommand struct {
	Config       string        `help:"Organism file; the built-in three organs when empty." env:"SEEDCORE_CONFIG" type:"path"`
	WorkerBinary string        `help:"Linux program that Ray starts as the actors; this program when empty." env:"SEEDCORE_WORKER_BINARY" type:"path"`
	Timeout      time.Duration `help:"Longest time for all." default:"10m"`
}

// Run makes outdated actors anew, on a connection of its own.
func (c *replaceCommand) Run(ctx context.Context, s streams) (err error) {
	conn, connErr := connection(s.log)
	config, configErr := loadConfig(c.Config)
	if err := errors.Join(connErr, configErr, checkWorkerBinary(c.WorkerBinary)); err != nil {
		return err
	}
	org, err := organism.New(conn, config, organism.Options{Binary: c.WorkerBinary, Logger: s.log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	defer func() {
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err = errors.Join(err, conn.Close(farewell))
	}()
	if err := conn.Connect(ctx); err != nil {
		return err
	}
	replaced, err := org.ReplaceOutdated(ctx)
	for _, name := range replaced {
		fmt.Fprintf(s.out, "%s was made anew\n", name)
	}
	if err == nil && len(replaced) == 0 {
		fmt.Fprintln(s.out, "nothing that runs is outdated")
	}
	return err
}
