package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/server"
	"github.com/seedcore/seedcore/worker"
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
	peer, err := startPython(ctx, python, head.ClientAddress())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
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
		"HTTP task":         httpPath(address, client),
		"direct":            directPath(direct),
		"session":           session,
		"Python Ray Client": peer,
	}
	rows, err := measure(ctx, paths, rounds, window)
	if err != nil {
		return err
	}
	for name, p := range paths {
		if err := p.taken(); err != nil {
			return fmt.Errorf("%s did not take its path: %w", name, err)
		}
	}
	table := render(rows, peer.version, rounds, window)
	fmt.Print(table)
	return os.WriteFile(out, []byte(table), 0o644)
}

func createGoActor(ctx context.Context, client *ray.Client) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pkg, err := ray.BinaryPackage(self)
	if err != nil {
		return err
	}
	session := client.Session()
	uri, err := session.UploadPackage(ctx, pkg)
	if err != nil {
		return err
	}
	for _, c := range worker.Classes() {
		if c.Name != echoClass {
			continue
		}
		class, err := session.GoClass(ctx, c.Name, c.Methods)
		if err != nil {
			return err
		}
		if _, err := session.CreateActor(ctx, class, ray.ActorOptions{
			Name: goActor, Namespace: namespace, Detached: true, NumCPUs: 0.1,
			RuntimeEnv: &ray.RuntimeEnv{WorkingDir: uri, PyExecutable: "./" + ray.PackagedBinary},
		}); err != nil {
			return err
		}
	}
	_, err = client.Call(ctx, namespace, goActor, "ping")
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

var order = []string{"HTTP task", "direct", "session", "Python Ray Client"}

// measure finds the best depth of each path, then lets every row have its turn in every round; each round starts with
// another row.
func measure(ctx context.Context, paths map[string]path, rounds int, window time.Duration) ([]*row, error) {
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
			s, err := paths[r.path].measure(ctx, r.actor, window, r.depth)
			if err != nil {
				return nil, fmt.Errorf("%s on %s: %w", r.path, r.actor, err)
			}
			r.samples = append(r.samples, s)
		}
	}
	return rows, nil
}

func (r *row) rate() float64 {
	rates := make([]float64, len(r.samples))
	for i, s := range r.samples {
		rates[i] = float64(s.calls) / s.seconds
	}
	return quantile(rates, 0.5)
}

func (r *row) latency(q float64) float64 {
	var all []float64
	for _, s := range r.samples {
		all = append(all, s.latencies...)
	}
	return quantile(all, q)
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func render(rows []*row, rayVersion string, rounds int, window time.Duration) string {
	peers := map[string]float64{}
	key := func(r *row) string { return fmt.Sprint(r.actor, r.depth > 1) }
	for _, r := range rows {
		if r.path == "Python Ray Client" {
			peers[key(r)] = r.rate()
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Calls of one actor, 64 bytes there and back\n\n")
	fmt.Fprintf(&b, "Ray %s, %s, %d CPUs, %s; %d alternating rounds of %s a row.\n", rayVersion, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), rounds, window)
	fmt.Fprintf(&b, "Calls/s is the median of the rounds; a pipelined row used the best of %v calls in flight for its path.\n", depths)
	fmt.Fprintf(&b, "The latency of a pipelined Ray Client call is that of its batch. Ratio: to Python Ray Client in the same mode on the same actor.\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 1, ' ', 0)
	fmt.Fprintln(w, "| path\t| actor\t| in flight\t| calls/s\t| p50 ms\t| p99 ms\t| ratio\t|")
	fmt.Fprintln(w, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range rows {
		actor := "Go"
		if r.actor == pythonActor {
			actor = "Python"
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %d\t| %.0f\t| %.2f\t| %.2f\t| %.1f\t|\n",
			r.path, actor, r.depth, r.rate(), 1000*r.latency(0.5), 1000*r.latency(0.99), r.rate()/peers[key(r)])
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
