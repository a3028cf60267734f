// Package check holds the acceptance checks of the centralized connection: those of the Python project's three scripts,
// each made strict enough to fail. They run against the user's own cluster by `seedcore check`, and in the tests.
//
// What they create they create in a namespace of their own, [Bench.Scratch], and at the end every actor there is ended.
// Nothing in the configured namespace is created, adopted or ended: an organism that runs there, or starts there during
// the checks, is not touched. There the checks only connect. Their actors and tasks reserve nothing, so that there is room
// for them beside it, also on a full cluster.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

const (
	// checkTimeout bounds one check; the slowest brings a whole organism up.
	checkTimeout = 3 * time.Minute
	// scratchPrefix begins the name of every namespace in which checks create actors.
	scratchPrefix = "seedcore-check-"
	// taskTimeout bounds a remote task.
	taskTimeout = time.Minute
	// lookAgain is the pause between two looks at something that has to settle.
	lookAgain = 300 * time.Millisecond
)

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

// Bench is what the checks share: a connector in the configured namespace, and one in a namespace of the checks' own
// with an organism on it. Each is made when a check first needs it.
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

	mu        sync.Mutex // guards the fields below
	namespace string     // see Scratch; empty until it is asked for
	conn      *connector.Connector
	scratch   *connector.Connector
	org       *organism.Organism
	stop      context.CancelFunc
	loop      sync.WaitGroup
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
	return b.connected(ctx, &b.conn, b.Connection.Namespace)
}

// scratchConnector returns the connector of the checks' own namespace, connected.
func (b *Bench) scratchConnector(ctx context.Context) (*connector.Connector, error) {
	return b.connected(ctx, &b.scratch, b.Scratch())
}

func (b *Bench) connected(ctx context.Context, field **connector.Connector, namespace string) (*connector.Connector, error) {
	b.mu.Lock()
	if *field == nil {
		config := b.Connection
		config.Namespace = namespace
		conn, err := connector.New(config)
		if err != nil {
			b.mu.Unlock()
			return nil, err
		}
		*field = conn
	}
	conn := *field
	b.mu.Unlock()
	return conn, conn.Connect(ctx)
}

// Scratch returns the namespace in which the checks create actors, also before one does: a process that is ended at once
// leaves them there.
func (b *Bench) Scratch() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.namespace == "" {
		b.namespace = scratchPrefix + strings.ToLower(rand.Text()[:10])
	}
	return b.namespace
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
	conn, err := b.scratchConnector(ctx)
	if err != nil {
		return nil, false, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.org == nil {
		b.org, err = organism.New(conn, b.Organism, organism.Options{Binary: b.Binary, NoCPU: true, Logger: b.Logger})
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

// Close stops what the checks started, ends the actors that they created, and closes the connections. An error says what
// may be left, and where.
func (b *Bench) Close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stop != nil {
		b.stop()
		b.loop.Wait()
	}
	var errs []error
	if b.org != nil {
		if err := b.removeActors(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the actors that the checks created in namespace %s may still run, as `RAY_NAMESPACE=%[1]s seedcore status` shows; nothing else is in there, so all can be ended: %w", b.scratch.Info().Namespace, err))
		}
	}
	for _, conn := range []*connector.Connector{b.scratch, b.conn} {
		if conn != nil {
			errs = append(errs, conn.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

// removeActors ends every actor of the checks' own namespace. A creation that was given up may still come true, so it is
// over only when two looks in a row find nothing.
func (b *Bench) removeActors(ctx context.Context) error {
	if err := b.scratch.Connect(ctx); err != nil { // at once when the connection is up
		return err
	}
	client, err := b.scratch.Client()
	if err != nil {
		return err
	}
	session, namespace := client.Session(), b.scratch.Info().Namespace
	for empty := 0; empty < 2; {
		named, err := session.ListNamedActors(ctx, false)
		if err != nil {
			return err
		}
		empty++
		for _, a := range named {
			empty = 0
			handle, err := session.GetActor(ctx, a.Name, namespace)
			if err == nil {
				err = session.Kill(ctx, handle, true)
				handle.Release()
			}
			if err != nil && !errors.Is(err, ray.ErrActorNotFound) {
				return fmt.Errorf("end actor %s: %w", a.Name, err)
			}
		}
		if err := pause(ctx, lookAgain); err != nil {
			return err
		}
	}
	return nil
}

// Print writes a result as one line.
func (r Result) Print(w io.Writer) {
	mark, text := "ok  ", r.Detail
	if r.Err != nil {
		mark, text = "FAIL", strings.ReplaceAll(r.Err.Error(), "\n", "; ")
	}
	fmt.Fprintf(w, "%s  %s %d  %s: %s\n", mark, r.Suite, r.Number, r.Name, text)
}
