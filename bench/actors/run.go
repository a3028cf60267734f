package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/bench/gauge"
	"github.com/seedcore/seedcore/bench/peer"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/ray"
)

//go:embed caller.py
var pythonSource string

// side is one kind of caller, as processes of its own.
type side struct {
	way     string
	hello   hello
	callers []*peer.Process
}

// caller is how to start n callers of one kind.
type caller struct {
	way  string
	n    int
	args []string
}

// stage is everything that the rows need.
type stage struct {
	settings
	gcs     *ray.GCS
	observe *ray.Direct // asks the Go actors what they saw
	sides   map[string]*side
	pids    map[string]int // of the actors and the plain server
	cpp     cpp
}

// actorNames names n actors of a kind: Go, Python, or Python with raised limits.
func actorNames(kind string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	return names
}

const goKind, pythonKind, inlineKind, cppKind = "go", "python", "python-inline", "cpp"

func run(ctx context.Context, s settings) (err error) {
	begun := time.Now()
	var closers []func() error
	defer func() {
		for len(closers) > 0 {
			last := len(closers) - 1
			err = errors.Join(err, closers[last]())
			closers = closers[:last]
		}
	}()
	setup, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	load := gauge.LoadAverage()
	api, err := findCpp(s.cppDir)
	if err != nil {
		return err
	}
	head, err := rayhead.Start(setup, rayhead.Config{Python: s.python, NumCPUs: 16, ObjectStoreMemory: 512 << 20, Env: api.env()})
	if err != nil {
		return err
	}
	closers = append(closers, func() error { return head.Stop(context.WithoutCancel(ctx)) })
	st := &stage{settings: s, cpp: api, sides: map[string]*side{}, pids: map[string]int{}}
	if st.gcs, err = ray.DialGCS(setup, head.GCSAddress(), ray.GCSOptions{}); err != nil {
		return err
	}
	closers = append(closers, st.gcs.Close)
	if st.observe, err = ray.NewDirect(st.gcs, ray.DirectOptions{}); err != nil {
		return err
	}
	closers = append(closers, func() error { return st.observe.Close(context.WithoutCancel(ctx)) })
	if err := st.createGoActors(setup, head.ClientAddress()); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var server plainHello
	plain, err := peer.Start(ctx, &server, self, "-plain-server")
	if err != nil {
		return err
	}
	closers = append(closers, plain.Close)
	st.pids[wayPlain] = plain.PID()
	python := func(address string) []string {
		return []string{
			s.python, "-c", pythonSource, address, namespace,
			strings.Join(actorNames(pythonKind, s.fan), ","), strings.Join(actorNames(inlineKind, s.fan), ","),
		}
	}
	commands := []caller{
		{wayDirect, s.fan, []string{self, "-caller", head.GCSAddress()}},
		{wayPlain, 1, []string{self, "-plain-caller", server.Address}},
		{wayDriver, s.fan, python(head.GCSAddress())},
		{wayClient, s.fan, python("ray://" + head.ClientAddress())},
	}
	if api.missing == "" {
		commands = append(commands, caller{wayCpp, s.fan, api.command(head.GCSAddress(), actorNames(cppKind, s.fan))})
	}
	if s.profile != "" {
		commands = commands[:1]
	}
	for _, c := range commands {
		started, err := startSide(ctx, c.way, c.n, c.args)
		closers = append(closers, started.close)
		if err != nil {
			return err
		}
		st.sides[c.way] = started
	}
	for _, kind := range []string{goKind, pythonKind, inlineKind, cppKind} {
		if kind != goKind && s.profile != "" || kind == cppKind && api.missing != "" {
			continue
		}
		for _, name := range actorNames(kind, s.fan) {
			info, err := st.gcs.NamedActor(setup, namespace, name)
			if err != nil {
				return err
			}
			st.pids[name] = info.PID
		}
	}
	if s.profile != "" {
		return st.writeProfiles(ctx)
	}
	rows := st.rows()
	if err := st.measure(ctx, rows); err != nil {
		return err
	}
	table := st.render(rows, load, time.Since(begun))
	fmt.Print(table)
	return os.WriteFile(s.out, []byte(table), 0o644)
}

// startSide starts the callers of one kind: the first alone, as it makes what all share. Close the side in any case.
func startSide(ctx context.Context, way string, n int, args []string) (*side, error) {
	s := &side{way: way, callers: make([]*peer.Process, n)}
	hellos, errs := make([]hello, n), make([]error, n)
	start := func(i int) { s.callers[i], errs[i] = peer.Start(ctx, &hellos[i], args[0], args[1:]...) }
	start(0)
	if errs[0] != nil {
		return s, errs[0]
	}
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { start(i) })
	}
	others.Wait()
	s.hello = hellos[0]
	for i, h := range hellos {
		if errs[i] == nil && h.Path != way {
			errs[i] = fmt.Errorf("a caller by %s calls by %s", way, h.Path)
		}
	}
	return s, errors.Join(errs...)
}

func (s *side) close() error {
	errs := make([]error, len(s.callers))
	var all sync.WaitGroup
	for i, c := range s.callers {
		if c != nil {
			all.Go(func() { errs[i] = c.Close() })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

func (st *stage) createGoActors(ctx context.Context, address string) (err error) {
	session, err := ray.Open(ctx, ray.Config{Address: address, Namespace: namespace})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(context.WithoutCancel(ctx))) }()
	if err := peer.CreateGoActors(ctx, session, echoClass, ray.ActorOptions{Namespace: namespace}, actorNames(goKind, st.fan)...); err != nil {
		return err
	}
	for _, name := range actorNames(goKind, st.fan) {
		if _, _, err := st.goCounts(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// goCounts asks a Go actor for its calls and allocations so far.
func (st *stage) goCounts(ctx context.Context, actor string) (calls, mallocs int64, err error) {
	v, err := st.observe.Call(ctx, namespace, actor, "counts")
	if err != nil {
		return 0, 0, err
	}
	var counts [2]int64
	err = ray.Decode(v, &counts)
	return counts[0], counts[1], err
}

// writeProfiles measures our calls of the Go actor alone, and writes where both processes spend their time.
func (st *stage) writeProfiles(ctx context.Context) error {
	dir, err := filepath.Abs(st.profile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, r := range map[string]*row{
		"sync":      {way: wayDirect, kind: goKind, shape: "1:1", size: 64, depth: 1},
		"pipelined": {way: wayDirect, kind: goKind, shape: "1:1", size: 64, depth: 64},
	} {
		warm, err := st.take(ctx, r, st.window, "")
		if err != nil {
			return err
		}
		actor := actorNames(goKind, 1)[0]
		if _, err := st.observe.Call(ctx, namespace, actor, "start_profile"); err != nil {
			return err
		}
		if _, err := st.take(ctx, r, st.window, filepath.Join(dir, name+".caller")); err != nil {
			return err
		}
		if _, err := st.observe.Call(ctx, namespace, actor, "stop_profile", filepath.Join(dir, name+".actor")); err != nil {
			return err
		}
		fmt.Printf("%s: %.0f calls/s, p50 %.0f us, caller %.1f us and %.1f allocations a call, actor %.1f us and %.1f allocations\n", name,
			warm.rate(), 1e6*warm.P50, warm.perCall(warm.CPU), warm.allocsPerCall(warm.Allocs), warm.perCall(warm.actorCPU), warm.allocsPerCall(warm.actorAllocs))
	}
	return nil
}
