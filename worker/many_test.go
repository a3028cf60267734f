package worker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

const (
	// manyShare is how long the creation of one of many actors may take: a second of CPU, most of it Ray's.
	manyShare = 10 * time.Second
	// manyCallers call many actors at once.
	manyCallers = 32
	// idleLimit is what an idle actor may weigh, in MB of PSS; see docs/go-actors.md.
	idleLimit = 5.0
)

// A thousand actors are created at once, called and killed, and nothing of them stays.
func TestSoakManyActors(t *testing.T) {
	actors := max(2, int(1000*raytest.Soak(t)))
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 2})
	namespace := raytest.Namespace(t)
	session := openSession(t, head, namespace)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+time.Duration(actors)*manyShare)
	defer cancel()
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gcs.Close() })
	m := manyActors{
		t: t, head: head, session: session, gcs: gcs, namespace: namespace, env: goActorEnv(ctx, t, session),
		gcsServer: raytest.Process(t, "--gcs_server_port="), raylet: raytest.Process(t, "--maximum_startup_concurrency="),
	}
	// What Ray keeps for good is there after the first one: the unpacked program, the class.
	m.create(ctx, 1)
	m.kill(ctx)
	base, refs := m.weigh(), session.Stats().Refs

	took := m.create(ctx, actors)
	m.callDirectly(ctx)
	full := m.weigh()
	var pss []float64
	for _, pid := range m.pids {
		pss = append(pss, megabytes(t, pid))
	}
	mean := sum(pss) / float64(len(pss))
	if mean > idleLimit {
		t.Errorf("an idle actor weighs %.2f MB", mean)
	}
	killed := m.kill(ctx)
	end := m.weigh()
	for what, files := range map[string][2]int{"the raylet": {base.rayletFiles, end.rayletFiles}, "the GCS": {base.gcsFiles, end.gcsFiles}} {
		if files[1] > files[0]+8 {
			t.Errorf("%s has %d files open in place of %d", what, files[1], files[0])
		}
	}
	// Releases travel together, after what they follow.
	for end := time.Now().Add(patience); session.Stats().Refs > refs; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("the session holds %d references in place of %d", session.Stats().Refs, refs)
			break
		}
	}
	raytest.SoakFound(t, "%d Go actors created in %.0f s (%.1f a second), each called through the session and directly; idle PSS %.2f MB mean, %.2f heaviest, %.0f all; "+
		"GCS %.0f, %.0f and %.0f MB before, with and after them, raylet %.0f, %.0f and %.0f MB and %d, %d and %d files; all gone %.1f s after the first kill",
		actors, took.Seconds(), float64(actors)/took.Seconds(), mean, slices.Max(pss), sum(pss), base.gcs, full.gcs, end.gcs,
		base.raylet, full.raylet, end.raylet, base.rayletFiles, full.rayletFiles, end.rayletFiles, killed.Seconds())
}

// manyActors are the actors of one class on a head of their own, known by number.
type manyActors struct {
	t                 *testing.T
	head              *rayhead.Head
	session           *ray.Session
	gcs               *ray.GCS
	namespace         string
	env               *ray.RuntimeEnv
	gcsServer, raylet int // processes

	handles []*ray.ActorHandle
	pids    []int
}

func manyName(i int) string { return "many-" + strconv.Itoa(i) }

// create makes so many actors at once and returns how long it took until all had answered.
func (m *manyActors) create(ctx context.Context, count int) time.Duration {
	m.t.Helper()
	class, err := m.session.GoClass(ctx, "Subject", []string{"pid", "add"})
	if err != nil {
		m.t.Fatal(err)
	}
	started := time.Now()
	var answers []*ray.ObjectRef
	for i := range count {
		handle, err := m.session.CreateActor(ctx, class, ray.ActorOptions{Name: manyName(i), Namespace: m.namespace, RuntimeEnv: m.env}, int64(i))
		if err != nil {
			m.t.Fatal(err)
		}
		m.handles = append(m.handles, handle)
		answer, err := handle.Submit(ctx, "pid")
		if err != nil {
			m.t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	for i, answer := range answers {
		pid, err := ray.As[int](m.session.Get(ctx, answer))
		if err != nil || slices.Contains(m.pids, pid) {
			m.t.Fatalf("actor %d is process %d: %v", i, pid, err)
		}
		m.pids = append(m.pids, pid)
		answer.Release()
	}
	return time.Since(started)
}

// callDirectly finds that each actor has the state that it was created with.
func (m *manyActors) callDirectly(ctx context.Context) {
	m.t.Helper()
	direct, err := ray.NewDirect(m.gcs, ray.DirectOptions{})
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() {
		if err := direct.Close(ctx); err != nil {
			m.t.Error(err)
		}
	}()
	var callers sync.WaitGroup
	for caller := range manyCallers {
		callers.Go(func() {
			for i := caller; i < len(m.handles); i += manyCallers {
				if n, err := direct.Call(ctx, m.namespace, manyName(i), "add", 1); n != int64(i)+1 || err != nil {
					m.t.Errorf("actor %d: %v, %v", i, n, err)
				}
			}
		})
	}
	callers.Wait()
}

// kill ends the actors and returns how long it took until Ray and the machine had none left.
func (m *manyActors) kill(ctx context.Context) time.Duration {
	m.t.Helper()
	started := time.Now()
	for _, handle := range m.handles {
		if err := m.session.Kill(ctx, handle, true); err != nil {
			m.t.Fatal(err)
		}
		handle.Release()
	}
	m.handles, m.pids = nil, nil
	for {
		named, err := m.gcs.NamedActors(ctx, m.namespace)
		if err != nil {
			m.t.Fatal(err)
		}
		left := workers(m.t, m.head)
		if len(named)+len(left) == 0 {
			return time.Since(started)
		}
		select {
		case <-ctx.Done():
			m.t.Fatalf("%d actors in Ray's list and %d processes are left", len(named), len(left))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// rayWeight is what Ray's own processes hold: memory in MB.
type rayWeight struct {
	gcs, raylet           float64
	gcsFiles, rayletFiles int
}

func (m *manyActors) weigh() rayWeight {
	m.t.Helper()
	return rayWeight{
		gcs: megabytes(m.t, m.gcsServer), gcsFiles: openFiles(m.t, m.gcsServer),
		raylet: megabytes(m.t, m.raylet), rayletFiles: openFiles(m.t, m.raylet),
	}
}

// megabytes is the proportional set size of a process.
func megabytes(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); fields[0] == "Pss:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatalf("no PSS of process %d: %s", pid, text)
	return 0
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("the open files of process %d: %d, %v", pid, len(files), err)
	}
	return len(files)
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
