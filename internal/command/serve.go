package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
)

const (
	// closeTimeout bounds the farewell to the cluster.
	closeTimeout = 10 * time.Second
	// leastFarewell is what is left of that for the cluster, however long the requests took.
	leastFarewell = time.Second
)

type serveCommand struct {
	Listen       string        `help:"Address of the HTTP API." env:"SEEDCORE_LISTEN" default:"127.0.0.1:8002"`
	Config       string        `help:"Organism file; the built-in three organs when empty." env:"SEEDCORE_CONFIG" type:"path"`
	WorkerBinary string        `help:"Linux program that Ray starts as the actors, or several as linux/amd64=PATH,linux/arm64=PATH; this program when empty." env:"SEEDCORE_WORKER_BINARY"`
	CompatStatus bool          `help:"Answer failures with HTTP status 200, as the Python server did." env:"SEEDCORE_COMPAT_STATUS"`
	TaskTimeout  time.Duration `help:"Longest time of a task." env:"SEEDCORE_TASK_TIMEOUT" default:"30s"`
}

// Run serves until ctx ends.
func (c *serveCommand) Run(ctx context.Context, s streams) error {
	conn, connErr := connection(s.log)
	config, err := c.prepare()
	if err := errors.Join(connErr, err); err != nil {
		return err
	}
	return c.serve(ctx, s, conn, config, nil)
}

// prepare checks what can be checked before anything is started, and reports all that is wrong.
func (c *serveCommand) prepare() (organism.Config, error) {
	config, err := loadConfig(c.Config)
	var timeoutErr error
	if c.TaskTimeout <= 0 {
		timeoutErr = usageError{fmt.Errorf("--task-timeout or SEEDCORE_TASK_TIMEOUT is %s; give a time above 0", c.TaskTimeout)}
	}
	return config, errors.Join(err, checkWorkerBinary(c.WorkerBinary), timeoutErr)
}

// serve listens first, so that probes are answered from the start, and then connects and brings the organism up in the
// background, for as long as it takes. What it started ends in the reverse order, all together within closeTimeout.
func (c *serveCommand) serve(ctx context.Context, s streams, conn *connector.Connector, config organism.Config, head []string) (err error) {
	org, err := organism.New(conn, config, organism.Options{Binary: c.WorkerBinary, TaskTimeout: c.TaskTimeout, Logger: s.log})
	if err != nil {
		return err
	}
	srv := server.New(conn, org, server.Config{Listen: c.Listen, CompatStatus: c.CompatStatus, Logger: s.log})
	if err := srv.Listen(); err != nil {
		return err
	}
	s.log.Info("listening", "address", srv.Address())
	conn.OnSession("organism", func(ctx context.Context, _ *ray.Client, _ uint64) error { return org.WaitReady(ctx) })
	conn.Start()
	var asked time.Time // to end
	defer func() {
		left := max(time.Until(asked.Add(closeTimeout)), leastFarewell)
		farewell, cancel := context.WithTimeout(context.Background(), left)
		defer cancel()
		err = errors.Join(err, conn.Close(farewell))
	}()

	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	parts.Go(func() {
		<-ctx.Done()
		asked = time.Now()
	})
	defer parts.Wait()
	defer cancel()
	parts.Go(func() { org.Run(ctx) })
	parts.Go(func() {
		if conn.WaitReady(ctx) == nil {
			fmt.Fprint(s.out, welcome(srv.Address(), conn.Info(), org, head))
		}
	})
	return srv.Serve(ctx)
}

// welcome says what happened, what is where, and what to try.
func welcome(address string, info connector.Info, org *organism.Organism, head []string) string {
	var b strings.Builder
	for _, line := range head {
		fmt.Fprintln(&b, line)
	}
	h, config := org.Health(), org.Config()
	agents := 0
	for _, organ := range config.Organs {
		agents += organ.AgentCount
	}
	path := "direct calls"
	if !info.Direct {
		path = "calls through the session (" + info.NoDirect + ")"
	}
	fmt.Fprintf(&b, "Connected  %s, Ray %s, namespace %s, %s\n", info.Resolved, info.RayVersion, info.Namespace, path)
	fmt.Fprintf(&b, "Organism   %d organs, %d agents; %d actors created, %d adopted\n", len(config.Organs), agents, h.Created, h.Adopted)
	fmt.Fprintf(&b, "API        http://%s (/readyz, /organism/status, /metrics)\n", address)
	fmt.Fprintf(&b, "Try        curl -s -XPOST http://%s/organism/execute/%s -d '{\"task_data\":{\"type\":\"general\"}}'\n", address, config.Organs[0].ID)
	return b.String()
}
