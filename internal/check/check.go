// Package check holds the acceptance checks of the centralized connection: those of the Python project's three scripts,
// each made strict enough to fail. They run against the user's own cluster by `seedcore check`, and in the tests.
package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// checkTimeout bounds one check; the slowest brings a whole organism up.
const checkTimeout = 3 * time.Minute

// Check is one thing that must hold.
type Check struct {
	// Suite is the script that the check comes from, Number its place there, from 1.
	Suite  string
	Number int
	Name   string
	// run returns what was found, in a few words.
	run func(context.Context, *Bench) (string, error)
}

// Result is the outcome of a check.
type Result struct {
	Check
	Detail string
	Err    error
}

// The suites, in the order in which they run.
const (
	SuiteArchitecture  = "CentralizedArchitecture"
	SuiteBootstrap     = "Bootstrap"
	SuiteComprehensive = "Comprehensive"
)

// All lists the 19 checks in order.
func All() []Check {
	var all []Check
	for _, suite := range []struct {
		name   string
		checks []Check
	}{
		{SuiteArchitecture, []Check{
			{Name: "environment", run: environment},
			{Name: "connector before connecting", run: beforeConnecting},
			{Name: "connect and describe", run: connect},
			{Name: "organism without a connection", run: organismWithoutConnection},
			{Name: "bootstrap", run: bootstrap},
			{Name: "routes", run: routes},
			{Name: "remote task", run: remoteTask},
		}},
		{SuiteBootstrap, []Check{
			{Name: "connect twice", run: connectTwice},
			{Name: "bootstrap twice", run: bootstrapTwice},
			{Name: "organism comes up", run: organismComesUp},
			{Name: "forced reconnect", run: forcedReconnect},
		}},
		{SuiteComprehensive, []Check{
			{Name: "namespace rule", run: namespaceRule},
			{Name: "connector after closing", run: afterClosing},
			{Name: "many connects, one session", run: manyConnects},
			{Name: "forced reconnect gives a working session", run: resetWorks},
			{Name: "resources and a healthy task", run: resourcesAndTask},
			{Name: "bootstrap at once from many", run: bootstrapConcurrently},
			{Name: "organism follows the session", run: organismFollows},
			{Name: "tasks through the API", run: tasksThroughAPI},
		}},
	} {
		for i, c := range suite.checks {
			c.Suite, c.Number = suite.name, i+1
			all = append(all, c)
		}
	}
	return all
}

// Bench is what the checks share: one connector, and one organism on it, made when a check first needs them. Close removes
// from the cluster what the checks created there.
type Bench struct {
	// Lookup reads the environment; required.
	Lookup func(string) string
	// Connection says where the cluster is; required.
	Connection connector.Config
	// Organism is what to bring up; required.
	Organism organism.Config
	// Binary hosts the actors; default: the running program.
	Binary string
	// Logger takes one line an event. Default: discard.
	Logger *slog.Logger

	mu     sync.Mutex // guards the fields below
	conn   *connector.Connector
	org    *organism.Organism
	stop   context.CancelFunc
	loop   sync.WaitGroup
	before []string // actors of ours that ran before the checks
	listed bool     // before is known
}

// Run runs one check.
func (b *Bench) Run(ctx context.Context, c Check) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	detail, err := c.run(ctx, b)
	return Result{Check: c, Detail: detail, Err: err}
}

// connector returns the shared connector, connected.
func (b *Bench) connector(ctx context.Context) (*connector.Connector, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		conn, err := connector.New(b.Connection)
		if err != nil {
			return nil, err
		}
		b.conn = conn
		if err := conn.Connect(ctx); err != nil {
			return nil, err
		}
		if b.before, err = b.ours(ctx); err != nil {
			return nil, err
		}
		b.listed = true
	}
	return b.conn, b.conn.Connect(ctx)
}

// client returns the shared connection's client.
func (b *Bench) client(ctx context.Context) (*ray.Client, error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Client()
}

// organism returns the shared organism; started tells whether its loop runs already.
func (b *Bench) organism(ctx context.Context, start bool) (org *organism.Organism, started bool, err error) {
	conn, err := b.connector(ctx)
	if err != nil {
		return nil, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.org == nil {
		b.org, err = organism.New(conn, b.Organism, organism.Options{Binary: b.Binary, Logger: b.Logger})
		if err != nil {
			return nil, false, err
		}
	}
	started = b.stop != nil
	if start && !started {
		loop, stop := context.WithCancel(context.Background())
		b.stop = stop
		b.loop.Go(func() { b.org.Run(loop) })
	}
	return b.org, started, nil
}

// ours lists which of the organism's actors run; b.mu is held or not needed.
func (b *Bench) ours(ctx context.Context) ([]string, error) {
	client, err := b.conn.Client()
	if err != nil {
		return nil, err
	}
	named, err := client.Session().ListNamedActors(ctx, true)
	if err != nil {
		return nil, err
	}
	names := b.Organism.ActorNames()
	var ours []string
	for _, a := range named {
		if a.Namespace == b.conn.Info().Namespace && slices.Contains(names, a.Name) {
			ours = append(ours, a.Name)
		}
	}
	return ours, nil
}

// Close stops what the checks started, ends the actors that they created, and closes the connection. Actors that ran
// before are left alone.
func (b *Bench) Close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
		b.loop.Wait()
	}
	if b.conn == nil {
		return nil
	}
	return errors.Join(b.removeCreated(ctx), b.conn.Close(ctx))
}

func (b *Bench) removeCreated(ctx context.Context) error {
	if !b.listed {
		return nil // what ran before is unknown: nothing may be taken for ours
	}
	if !b.conn.Info().State.Answers() {
		return nil // nothing was created, or nobody is there to end it
	}
	now, err := b.ours(ctx)
	if err != nil {
		return err
	}
	client, err := b.conn.Client()
	if err != nil {
		return err
	}
	for _, name := range now {
		if slices.Contains(b.before, name) {
			continue
		}
		handle, err := client.Session().GetActor(ctx, name, b.conn.Info().Namespace)
		if err == nil {
			err = client.Session().Kill(ctx, handle, true)
			handle.Release()
		}
		if err != nil && !errors.Is(err, ray.ErrActorNotFound) {
			return fmt.Errorf("end actor %s: %w", name, err)
		}
	}
	return nil
}

// Print writes a result as one line.
func (r Result) Print(w io.Writer) {
	mark, text := "ok  ", r.Detail
	if r.Err != nil {
		mark, text = "FAIL", r.Err.Error()
	}
	fmt.Fprintf(w, "%s  %s %d  %s: %s\n", mark, r.Suite, r.Number, r.Name, text)
}
