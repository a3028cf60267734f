package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
)

const setupTimeout = 3 * time.Minute

// depths are tried for each path before the rounds; the best one is used in them.
var depths = []int{16, 64, 256}

// row is one path to one actor in one mode.
type row struct {
	path    string
	actor   string
	depth   int // 1 is synchronous
	samples []sample
}

func run(ctx context.Context, python string, rounds int, window time.Duration, out string) (err error) {
	setup, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	head, err := rayhead.Start(setup, rayhead.Config{Python: python, NumCPUs: 8})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, head.Stop(context.WithoutCancel(ctx))) }()

	conn, err := connector.New(connector.Config{Address: "ray://" + head.ClientAddress(), Namespace: namespace})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := conn.Connect(setup); err != nil {
		return err
	}
	client, err := conn.Client()
	if err != nil {
		return err
	}
	direct, err := client.Direct()
	if err != nil {
		return fmt.Errorf("no direct path: %w", err)
	}
	if err := createGoActor(setup, client); err != nil {
		return err
	}
	peer, err := startPython(ctx, python, "ray://"+head.ClientAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.Close()) }()
	driver, err := startPython(ctx, python, head.GCSAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	session, err := sessionPath(setup, client.Session())
	if err != nil {
		return err
	}
	address, stop, err := serve(setup, conn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	paths := map[string]path{
		"HTTP task": httpPath(address, client),
		"direct":    directPath(direct),
		"session":   session,
		rayClient:   peer,
		rayDriver:   driver,
	}
	processes := map[string]int{}
	for _, name := range []string{goActor, pythonActor} {
		info, err := client.GCS().NamedActor(setup, namespace, name)
		if err != nil {
			return err
		}
		processes[name] = info.PID
	}
	load := gauge.LoadAverage()
	rows, err := measure(ctx, paths, processes, rounds, window)
	if err != nil {
		return err
	}
	for name, p := range paths {
		if err := p.taken(); err != nil {
			return fmt.Errorf("%s did not take its path: %w", name, err)
		}
	}
	table := render(rows, peer.version, load, rounds, window)
	fmt.Print(table)
	return os.WriteFile(out, []byte(table), 0o644)
}

func createGoActor(ctx context.Context, client *ray.Client) error {
	if err := peer.CreateGoActors(ctx, client.Session(), echoClass, ray.ActorOptions{Namespace: namespace, NumCPUs: 0.1}, goActor); err != nil {
		return err
	}
	_, err := client.Call(ctx, namespace, goActor, "ping")
	return err
}

// serve runs our HTTP server with an organism of one organ: tasks can be given once it stands.
func serve(ctx context.Context, conn *connector.Connector) (address string, stop func() error, err error) {
	org, err := organism.New(conn, organism.Config{Organs: []organism.OrganConfig{{ID: "bench_organ", Type: "Utility"}}}, organism.Options{})
	if err != nil {
		return "", nil, err
	}
	srv := server.New(conn, org, server.Config{Listen: "127.0.0.1:0"})
	if err := srv.Listen(); err != nil {
		return "", nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	var serveErr error
	parts.Go(func() { org.Run(running) })
	parts.Go(func() { serveErr = srv.Serve(running) })
	stop = func() error {
		cancel()
		parts.Wait()
		return serveErr
	}
	if err := org.WaitReady(ctx); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return srv.Address(), stop, nil
}

const rayClient, rayDriver = "Python Ray Client", "Python driver"

var order = []string{"HTTP task", "direct", "session", rayClient, rayDriver}

// measure finds the best depth of each path, then lets every row have its turn in every round; each round starts with
// another row.
func measure(ctx context.Context, paths map[string]path, processes map[string]int, rounds int, window time.Duration) ([]*row, error) {
	var rows []*row
	for _, actor := range []string{goActor, pythonActor} {
		for _, name := range order {
			rows = append(rows, &row{path: name, actor: actor, depth: 1})
			best, bestRate := 0, 0.0
			for _, depth := range depths {
				s, err := paths[name].measure(ctx, actor, window/2, depth)
				if err != nil {
					return nil, fmt.Errorf("%s on %s: %w", name, actor, err)
				}
				if rate := float64(s.calls) / s.seconds; rate > bestRate {
					best, bestRate = depth, rate
				}
			}
			rows = append(rows, &row{path: name, actor: actor, depth: best})
		}
	}
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, rounds)
		for i := range rows {
			r := rows[(i+round)%len(rows)]
			before, err := gauge.CPUTime(processes[r.actor])
			if err != nil {
				return nil, fmt.Errorf("the actor's process: %w", err)
			}
			s, err := paths[r.path].measure(ctx, r.actor, window, r.depth)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", r.path, r.actor, err)
			}
			after, err := gauge.CPUTime(processes[r.actor])
			if err != nil {
				return nil, fmt.Errorf("the actor's process: %w", err)
			}
			s.actorCPU = after - before
			r.samples = append(r.samples, s)
		}
	}
	return rows, nil
}

// perCall returns the CPU time that the actor's process took for a call, in seconds.
func (r *row) perCall() float64 {
	var cpu, calls float64
	for _, s := range r.samples {
		cpu += s.actorCPU
		calls += float64(s.calls)
	}
	return cpu / calls
}

// busy returns the share of the time in which the actor's process ran, 1 for one whole core.
func (r *row) busy() float64 {
	var cpu, seconds float64
	for _, s := range r.samples {
		cpu += s.actorCPU
		seconds += s.seconds
	}
	return cpu / seconds
}

func (r *row) rate() float64 {
	rates := make([]float64, len(r.samples))
	for i, s := range r.samples {
		rates[i] = float64(s.calls) / s.seconds
	}
	return gauge.Quantile(rates, 0.5)
}

func (r *row) latency(q float64) float64 {
	var all []float64
	for _, s := range r.samples {
		all = append(all, s.latencies...)
	}
	return gauge.Quantile(all, q)
}

func render(rows []*row, rayVersion, load string, rounds int, window time.Duration) string {
	peers := map[string]float64{}
	key := func(r *row) string { return fmt.Sprint(r.actor, r.depth > 1) }
	for _, r := range rows {
		if r.path == rayClient {
			peers[key(r)] = r.rate()
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Calls of one actor, 64 bytes there and back\n\n")
	fmt.Fprintf(&b, "Ray %s, %s, %d CPUs, %s; %d alternating rounds of %s a row; load average before: %s.\n", rayVersion, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), rounds, window, load)
	fmt.Fprintf(&b, "Calls/s is the median of the rounds; a pipelined row used the best of %v calls in flight for its path.\n", depths)
	fmt.Fprintf(&b, "The latency of a pipelined Ray Client call is that of its batch. Ratio: to Python Ray Client in the same mode on the same actor.\n")
	fmt.Fprintf(&b, "Actor: CPU time of the actor's process, as a share of one core and for one call.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| path\t| actor\t| in flight\t| calls/s\t| p50 ms\t| p99 ms\t| ratio\t| actor busy\t| actor us/call\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range rows {
		actor := "Go"
		if r.actor == pythonActor {
			actor = "Python"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %d\t| %.0f\t| %.2f\t| %.2f\t| %.1f\t| %.0f %%\t| %.0f\t|\n",
			r.path, actor, r.depth, r.rate(), 1000*r.latency(0.5), 1000*r.latency(0.99), r.rate()/peers[key(r)], 100*r.busy(), 1e6*r.perCall())
	}
	_ = w.Flush() // a strings.Builder takes everything
	fmt.Fprintf(&b, "\n## What limits the pipelined rows\n\n")
	for _, actor := range []string{goActor, pythonActor} {
		b.WriteString(limits(rows, actor))
	}
	fmt.Fprintf(&b, "The caller, the actor, Ray and for HTTP also the server share %d CPUs.\n", runtime.NumCPU())
	return b.String()
}

// limits says how near the direct path comes to what the actor's own process allows: it runs one call at a time, and
// takes a certain CPU time for each.
func limits(rows []*row, actor string) string {
	pipelined := map[string]*row{}
	for _, r := range rows {
		if r.actor == actor && r.depth > 1 {
			pipelined[r.path] = r
		}
	}
	direct, name := pipelined["direct"], "Go"
	if actor == pythonActor {
		name = "Python"
	}
	most := 1 / direct.perCall()
	return fmt.Sprintf(`The %s actor's process takes %.0f us of CPU time for a direct call, so that one core of it gives nobody more than %.0f calls/s,
%.1f times the rate of Ray Client. The direct path gets %.0f (%.0f %%) of that, the HTTP path %.0f, Ray's own driver %.0f.

`, name, 1e6*direct.perCall(), most, most/pipelined[rayClient].rate(), direct.rate(), 100*direct.rate()/most, pipelined["HTTP task"].rate(), pipelined[rayDriver].rate())
}
