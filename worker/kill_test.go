package worker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

var killSeed = flag.Uint64("worker.seed", rand.Uint64(), "decides which processes are killed, and when")

const (
	killCallers = 24
	killDirects = 3 // the callers share them
	killPause   = 200 * time.Millisecond
	killSlowest = 2 * time.Second // between two kills; the pause is random below it
	killTimeout = 20 * time.Second
	// killLate is how long after its deadline a call may end on a machine that has no time.
	killLate = 5 * time.Second
)

// TestSoakKills kills actors in Go and Python at random for five minutes.
func TestSoakKills(t *testing.T) {
	duration := time.Duration(raytest.Soak(t) * float64(5*time.Minute))
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 2})
	session := openSession(t, head, raytest.Namespace(t))
	raytest.SoakFound(t, "%s", killAtRandom(t, head, session, duration))
}

// verdict is what a caller was told.
type verdict int

const (
	wasDone    verdict = iota // it ran and was answered
	wasRefused                // it ran, and the actor's own code raised
	notSent                   // it did not run and will not
	mayHaveRun                // nobody knows
	verdicts
)

func (v verdict) String() string { return [...]string{"ok", "actor errors", "not sent", "maybe"}[v] }

// toldCall is a call and what came of it.
type toldCall struct {
	actor   string
	caller  int
	number  int // of this caller
	verdict verdict
	count   int64 // what an ok call returned
}

// killDrill has actors whose processes are killed under the calls of many callers.
type killDrill struct {
	t         *testing.T
	gcs       *ray.GCS
	directs   []*ray.Direct
	namespace string
	ledger    string   // each call that runs writes a line in it
	actors    []string // names

	mu     sync.Mutex // guards what follows
	told   map[string]toldCall
	counts [verdicts]int
	late   time.Duration // of the call that ended longest after its deadline
}

// killAtRandom kills processes of actors at random moments, all of which Ray restarts, and compares what callers were told
// with what ran. It returns what happened, in a sentence.
func killAtRandom(t *testing.T, head *rayhead.Head, session *ray.Session, duration time.Duration) string {
	t.Logf("-worker.seed=%d", *killSeed)
	ctx, cancel := context.WithTimeout(t.Context(), duration+5*time.Minute)
	defer cancel()
	d := &killDrill{t: t, namespace: raytest.Namespace(t), ledger: filepath.Join(t.TempDir(), "ledger"), told: map[string]toldCall{}}
	handles := d.create(ctx, session)
	d.connect(ctx, head)
	before := d.list(ctx)

	loading, stop := context.WithTimeout(ctx, duration)
	defer stop()
	var callers sync.WaitGroup
	for caller := range killCallers {
		callers.Go(func() {
			for number := 0; loading.Err() == nil; number++ {
				d.one(caller, number)
				time.Sleep(rand.N(killPause))
			}
		})
	}
	kills := d.kill(loading)
	callers.Wait()

	for i, name := range d.actors {
		d.answers(ctx, "directly, "+name, func(call string) (any, error) {
			return d.directs[0].Call(ctx, d.namespace, name, "count", call, 0.0)
		})
		d.answers(ctx, "through the session, "+name, func(call string) (any, error) { return handles[i].Call(ctx, "count", call, 0.0) })
	}
	ran, lives := d.check(ctx)
	after := d.list(ctx)
	total := 0
	for name, info := range before {
		info.restarts += kills[name]
		total += kills[name]
		before[name] = info
	}
	if !maps.Equal(after, before) {
		t.Errorf("Ray's actors are %v, and should be %v", after, before)
	}
	if total == 0 || lives <= len(d.actors) || d.counts[wasDone] == 0 {
		t.Errorf("%d kills, %d lives: nothing was tried", total, lives)
	}
	for _, h := range handles {
		if err := session.Kill(ctx, h, true); err != nil {
			t.Error(err)
		}
	}
	calls := 0
	for _, n := range d.counts {
		calls += n
	}
	return fmt.Sprintf("%d kills of %d Go and Python actors in %.0f s, after which Ray's list is the same with as many restarts; %d callers, %d calls: "+
		"%d ok, %d actor errors, %d not sent, %d maybe (%d of them ran), none twice; the latest ended %d ms after its deadline; seed %d",
		total, len(d.actors), duration.Seconds(), killCallers, calls, d.counts[wasDone], d.counts[wasRefused], d.counts[notSent], d.counts[mayHaveRun], ran,
		d.late.Milliseconds(), *killSeed)
}

func openSession(t *testing.T, head *rayhead.Head, namespace string) *ray.Session {
	t.Helper()
	session, err := ray.Open(t.Context(), ray.Config{Address: head.ClientAddress(), Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	return session
}

// goActorEnv uploads the test program.
func goActorEnv(ctx context.Context, t *testing.T, session *ray.Session) *ray.RuntimeEnv {
	t.Helper()
	pkg, err := ray.BinaryPackage(raytest.BuildGo(t, "./worker/internal/testworker"))
	if err != nil {
		t.Fatal(err)
	}
	uri, err := session.UploadPackage(ctx, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return ray.GoRuntimeEnv(uri)
}

// create makes the actors, the same class in Go and in Python.
func (d *killDrill) create(ctx context.Context, session *ray.Session) []*ray.ActorHandle {
	d.t.Helper()
	env := goActorEnv(ctx, d.t, session)
	goClass, err := session.GoClass(ctx, "Tally", []string{"count", "refuse"})
	if err != nil {
		d.t.Fatal(err)
	}
	pyClass, err := session.PythonClass(ctx, "seedtest", "Tally")
	if err != nil {
		d.t.Fatal(err)
	}
	var handles []*ray.ActorHandle
	for i := range 6 {
		opts := ray.ActorOptions{Namespace: d.namespace, Detached: true, MaxRestarts: -1}
		class := pyClass
		opts.Name = fmt.Sprintf("py-%d", i/2)
		if i%2 == 0 {
			class, opts.Name, opts.RuntimeEnv = goClass, fmt.Sprintf("go-%d", i/2), env
		}
		h, err := session.CreateActor(ctx, class, opts, d.ledger)
		if err != nil {
			d.t.Fatal(err)
		}
		handles, d.actors = append(handles, h), append(d.actors, opts.Name)
	}
	return handles
}

// connect waits until all actors are there.
func (d *killDrill) connect(ctx context.Context, head *rayhead.Head) {
	d.t.Helper()
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = gcs.Close() })
	d.gcs = gcs
	for range killDirects {
		direct, err := ray.NewDirect(gcs, ray.DirectOptions{})
		if err != nil {
			d.t.Fatal(err)
		}
		d.t.Cleanup(func() { _ = direct.Close(context.Background()) })
		d.directs = append(d.directs, direct)
	}
	for _, name := range d.actors {
		d.answers(ctx, "at first, "+name, func(call string) (any, error) {
			return d.directs[0].Call(ctx, d.namespace, name, "count", call, 0.0)
		})
	}
}

// rayActor is what Ray's own list tells of an actor that is not dead.
type rayActor struct {
	id       string
	state    ray.ActorState
	restarts int
}

func (d *killDrill) list(ctx context.Context) map[string]rayActor {
	d.t.Helper()
	all, err := d.gcs.Actors(ctx)
	if err != nil {
		d.t.Fatal(err)
	}
	list := map[string]rayActor{}
	for _, a := range all {
		if a.Namespace != d.namespace || a.State == ray.ActorDead {
			continue
		}
		if _, twice := list[a.Name]; twice {
			d.t.Errorf("two actors are named %s", a.Name)
		}
		list[a.Name] = rayActor{a.ID, a.State, a.Restarts}
	}
	return list
}

// kill kills a process now and then until ctx ends, and returns how often it was one of each actor.
func (d *killDrill) kill(ctx context.Context) map[string]int {
	random := rand.New(rand.NewPCG(*killSeed, 0))
	kills := map[string]int{}
	dead := map[int]bool{}
	for {
		name := d.actors[random.IntN(len(d.actors))]
		select {
		case <-time.After(time.Duration(random.Int64N(int64(killSlowest)))):
		case <-ctx.Done():
			return kills
		}
		info, err := d.gcs.NamedActor(ctx, d.namespace, name)
		if err != nil || info.State != ray.ActorAlive || dead[info.PID] {
			continue // it is on its way back
		}
		if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil {
			d.t.Errorf("%s, process %d: %v", name, info.PID, err)
			continue
		}
		dead[info.PID] = true
		kills[name]++
	}
}

// one makes a call and remembers what came of it. One in four has so little time that it may be given up under way.
func (d *killDrill) one(caller, number int) {
	c := toldCall{actor: d.actors[rand.IntN(len(d.actors))], caller: caller, number: number}
	timeout, method := killTimeout, "count"
	if rand.IntN(4) == 0 {
		timeout = time.Millisecond + rand.N(50*time.Millisecond)
	}
	if rand.IntN(4) == 0 {
		method = "refuse"
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // each call has an end of its own
	defer cancel()
	name := fmt.Sprintf("%d-%d", caller, number)
	start := time.Now()
	value, err := d.directs[caller%killDirects].Call(ctx, d.namespace, c.actor, method, name, 0.005*rand.Float64())
	late := time.Since(start) - timeout
	if late > killLate {
		d.t.Errorf("call %s of %s ended %s after its deadline", name, c.actor, late)
	}
	if c.verdict, err = judgeKilled(err); err != nil {
		d.t.Errorf("call %s of %s.%s: %v", name, c.actor, method, err)
	}
	if (c.verdict == wasDone) != (method == "count") && c.verdict <= wasRefused {
		d.t.Errorf("call %s of %s.%s: %s", name, c.actor, method, c.verdict)
	}
	c.count, _ = value.(int64)
	d.remember(name, c, late)
}

func (d *killDrill) remember(name string, c toldCall, late time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told[name] = c
	d.counts[c.verdict]++
	d.late = max(d.late, late)
}

// judgeKilled says what an error tells the caller. It returns those that no caller should see while Ray restarts the actor.
func judgeKilled(err error) (verdict, error) {
	if err == nil {
		return wasDone, nil
	}
	if task, raised := errors.AsType[*ray.TaskError](err); raised {
		if task.Message != "refused" {
			return wasRefused, err
		}
		return wasRefused, nil
	}
	v := mayHaveRun
	if ray.SentOf(err) == ray.SentNo {
		v = notSent
	}
	_, typed := errors.AsType[*ray.CallError](err)
	for _, expected := range []error{context.DeadlineExceeded, ray.ErrActorUnavailable, ray.ErrUnreachable, ray.ErrGCSUnavailable} {
		if typed && errors.Is(err, expected) && ray.SentOf(err) != ray.SentYes {
			return v, nil
		}
	}
	return v, err
}

// answers waits until an actor answers: a call that was under way when its process was killed may be lost.
func (d *killDrill) answers(ctx context.Context, what string, call func(name string) (any, error)) {
	d.t.Helper()
	for attempt := 0; ; attempt++ {
		name := strings.NewReplacer(" ", "_", "-", "_").Replace(what) + fmt.Sprintf("-%d", attempt)
		value, err := call(name)
		v, wrong := judgeKilled(err)
		c := toldCall{actor: what[strings.LastIndex(what, " ")+1:], caller: -1, verdict: v}
		c.count, _ = value.(int64)
		d.remember(name, c, 0)
		switch {
		case v == wasDone:
			return
		case wrong != nil, ctx.Err() != nil, attempt == 100:
			d.t.Errorf("%s: %v", what, err)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// check waits for the calls that were given up, and compares what ran with what callers were told. It returns how many of
// the calls ran of which nobody knew, and how many processes had calls.
func (d *killDrill) check(ctx context.Context) (ran, lives int) {
	d.t.Helper()
	for _, direct := range d.directs {
		if err := direct.Close(ctx); err != nil {
			d.t.Error(err)
		}
	}
	text, err := os.ReadFile(d.ledger)
	if err != nil {
		d.t.Fatal(err)
	}
	type order struct {
		life   string
		caller int
	}
	times := map[string]int{}
	last := map[order]int{} // the number of a caller's last call in a life
	count := map[string]int64{}
	owner := map[string]string{}
	for line := range strings.Lines(string(text)) {
		var name, life string
		var n int64
		if _, err := fmt.Sscanf(line, "%s %s %d\n", &name, &life, &n); err != nil {
			d.t.Fatalf("%q: %v", line, err)
		}
		c, known := d.told[name]
		if times[name]++; !known || times[name] > 1 || c.verdict == notSent {
			d.t.Errorf("call %s ran %d times, and its caller was told: %s", name, times[name], c.verdict)
		}
		if c.verdict == wasDone && c.count != n {
			d.t.Errorf("call %s was number %d of its process, and its caller was told %d", name, n, c.count)
		}
		if c.verdict == mayHaveRun {
			ran++
		}
		if count[life]++; n != count[life] {
			d.t.Errorf("call %s of %s: the counter went from %d to %d", name, c.actor, count[life]-1, n)
		}
		if owner[life] == "" {
			owner[life] = c.actor
		}
		if owner[life] != c.actor {
			d.t.Errorf("call %s of %s ran in a process of %s", name, c.actor, owner[life])
		}
		if key := (order{life, c.caller}); c.caller >= 0 {
			if before, later := last[key]; later && before >= c.number {
				d.t.Errorf("call %d of caller %d ran after its call %d in one process of %s", c.number, c.caller, before, c.actor)
			}
			last[key] = c.number
		}
	}
	for name, c := range d.told {
		if times[name] == 0 && (c.verdict == wasDone || c.verdict == wasRefused) {
			d.t.Errorf("call %s of %s did not run, and its caller was told: %s", name, c.actor, c.verdict)
		}
	}
	return ran, len(count)
}
