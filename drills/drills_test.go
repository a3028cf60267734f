package drills_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
)

var (
	all  = flag.Bool("drills.all", false, "run every drill, three rounds each, and write bench/drills.md")
	seed = flag.Uint64("drills.seed", rand.Uint64(), "decides the moments at which things break")
)

func TestMain(m *testing.M) {
	flag.Parse()
	organism.RegisterActors() // what the actors' classes are called; their processes are those of drills/server
	raytest.Main(m, raytest.WithLeakCheck())
}

// sameness is what Ray's own list of actors has to share before and after a drill.
type sameness int

const (
	sameProcesses sameness = iota // nothing happened to the actors
	sameIDs                       // the same actors, in whatever processes
	sameNames                     // a cluster that knows nothing of the one before: its actors are new
)

func (s sameness) String() string {
	return [...]string{"same ids, same processes", "same ids", "same names, new cluster"}[s]
}

// drill is one way to break things. Each of them leaves the rig with a Ray that is back.
type drill struct {
	name  string
	same  sameness
	run   func(*rig)
	short func(*rig) // in make test; nil: not there
	fresh bool       // it starts our side and Ray itself
}

func drills() []drill {
	return []drill{
		{"head 60 s late", sameNames, late(60 * time.Second), late(3 * time.Second), true},
		{"session's server process killed", sameProcesses, (*rig).killSession, (*rig).killSession, false},
		{"proxier killed", sameProcesses, (*rig).killProxier, (*rig).killProxier, false},
		{"black hole 5 s", sameProcesses, blackHole(5 * time.Second), blackHole(5 * time.Second), false},
		{"black hole 25 s", sameProcesses, blackHole(25 * time.Second), nil, false},
		{"black hole 60 s", sameProcesses, blackHole(60 * time.Second), nil, false},
		{"flapping link 2 min", sameProcesses, flapping(2 * time.Minute), flapping(8 * time.Second), false},
		{"head killed, same port", sameNames, (*rig).restartHead, (*rig).restartHead, false},
		{"head killed, other port", sameNames, (*rig).moveHead, nil, false},
		{"cluster replaced", sameNames, (*rig).replaceCluster, nil, false},
	}
}

// Each drill is a test of its own below one of these. Those of make test share one rig; see e2e for a server that is killed
// without load, while the drill with Redis needs a program that make test does without.
func TestDrills(t *testing.T) {
	t.Run("Ray", func(t *testing.T) {
		r := newRig(t)
		for _, d := range drills() {
			r.rounds(d)
		}
	})
	if *all {
		t.Run("GCS", withRedis)
		t.Run("server", serve)
	}
}

// withRedis kills a GCS that keeps its tables in Redis: it comes back as the same cluster, with the same actors.
func withRedis(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("this drill needs redis-server (Debian, Ubuntu: apt install redis-server): %v", err)
	}
	port := strconv.Itoa(freePorts(t).GCS)
	redis := exec.Command(path, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = redis.Process.Kill()
		_ = redis.Wait() // killed
	})
	newRig(t, "RAY_REDIS_ADDRESS=127.0.0.1:"+port).rounds(drill{gcsDrill, sameProcesses, (*rig).killGCS, nil, false})
}

// rounds runs a drill at random moments, under load.
func (r *rig) rounds(d drill) {
	run, times := d.run, 3
	if !*all {
		run, times = d.short, 1
	}
	if run == nil {
		return
	}
	r.t.Run(d.name, func(t *testing.T) {
		t.Logf("seed %d", *seed)
		name := fnv.New64()
		_, _ = name.Write([]byte(d.name))                     // it never fails
		r.random = rand.New(rand.NewPCG(*seed, name.Sum64())) // whichever drills came before
		result := outcome{Drill: d.name, Actors: d.same.String(), Seed: *seed}
		for range times {
			if !r.round(t, d, run, &result) {
				return
			}
		}
		result.record(t)
	})
}

func (r *rig) round(t *testing.T, d drill, run func(*rig), result *outcome) bool {
	t.Helper()
	r.now = t
	var before map[string]string
	var counts [verdicts]int
	cluster := ""
	if d.fresh {
		before = r.expected()
	} else {
		r.up()
		eventually(t, time.Minute, "every actor is alive", func(ctx context.Context) (err error) {
			before, err = r.actors(ctx, d.same)
			return err
		})
		cluster, counts = r.conn.Info().ClusterID, r.load.counts()
	}
	r.timeline.begin()
	time.Sleep(time.Duration(r.random.Int64N(int64(3 * time.Second))))
	run(r)
	r.recovered(before, d.same)
	r.timeline.note("all is well again")
	r.load.check(t)
	if r.load.counts()[done] == counts[done] {
		t.Error("of all calls in this round none was done: there was no load")
	}
	if now := r.conn.Info().ClusterID; (now == cluster) != (d.same != sameNames) {
		t.Errorf("the cluster's id was %s and is %s", cluster, now)
	}
	t.Logf("timeline:\n%s", &r.timeline)
	result.add(&r.timeline, counts, r.load.counts())
	return !t.Failed() && !r.t.Failed()
}

// late starts our side with its callers first, and Ray so much later.
func late(by time.Duration) func(*rig) {
	return func(r *rig) {
		if r.head != nil {
			r.stopOurs()
			r.killHead()
		}
		r.startOurs()
		time.Sleep(by)
		r.startHead(r.ports)
	}
}

// killSession kills the process that Ray runs for our session; there is no other session.
func (r *rig) killSession() {
	kill(r.now, raytest.Process(r.now, "ray.util.client.server", "mode=specific-server", r.head.GCSAddress()), syscall.SIGKILL)
	r.timeline.note("the session's process is killed")
	r.timeline.back() // Ray has to start one more process, and nothing else
}

// killProxier kills the Ray Client server and starts it again.
func (r *rig) killProxier() {
	r.killAndStart("the proxier", "ray.util.client.server", "mode=proxy", r.head.GCSAddress())
}

// killGCS kills the GCS and starts it again. The raylet tells every Go actor of it, and they go on.
func (r *rig) killGCS() {
	before := r.gcsNotices()
	r.killAndStart("the GCS", "gcs_server", "--gcs_server_port="+strconv.Itoa(r.ports.GCS))
	want := before + len(organism.DefaultConfig().ActorNames())
	eventually(r.now, time.Minute, "the Go actors know that the GCS has started again", func(context.Context) error {
		if n := r.gcsNotices(); n < want {
			return fmt.Errorf("%d notices in their logs, and there should be %d", n, want)
		}
		return nil
	})
}

// gcsNotices counts in the logs of Go actors how often they were told that the GCS has started again.
func (r *rig) gcsNotices() int {
	r.now.Helper()
	logs, err := filepath.Glob(filepath.Join(r.head.TempDir(), "session_latest", "logs", "worker-*.err"))
	if err != nil || len(logs) == 0 {
		r.now.Fatalf("the logs of actors: %v, %v", logs, err)
	}
	notices := 0
	for _, log := range logs {
		content, err := os.ReadFile(log)
		if err != nil {
			r.now.Fatal(err)
		}
		notices += strings.Count(string(content), "the GCS has started again")
	}
	return notices
}

// killAndStart kills one process of the head and starts it again. `ray start` would end the head for that, so it is
// stopped first, and stays so: a supervisor of single processes is in its place.
func (r *rig) killAndStart(what string, words ...string) {
	kill(r.now, raytest.Process(r.now, "-m\x00ray.scripts.scripts\x00start\x00--head", "--port\x00"+strconv.Itoa(r.ports.GCS)), syscall.SIGSTOP)
	pid := raytest.Process(r.now, words...)
	program := remember(r.now, pid)
	kill(r.now, pid, syscall.SIGKILL)
	r.timeline.note("%s is killed", what)
	time.Sleep(time.Duration(r.random.Int64N(int64(3 * time.Second))))
	stop := program.start(r.now)
	r.t.Cleanup(stop)
	r.apart = append(r.apart, stop)
	r.timeline.note("%s is started", what)
	r.awaitPorts()
}

// awaitPorts notes when the head's servers listen again.
func (r *rig) awaitPorts() {
	eventually(r.now, time.Minute, "the servers listen", func(ctx context.Context) error {
		for _, server := range []string{address(r.ports.GCS), address(r.ports.Client)} {
			var dialer net.Dialer
			conn, err := dialer.DialContext(ctx, "tcp", server)
			if err != nil {
				return err
			}
			_ = conn.Close()
		}
		return nil
	})
	r.timeline.back()
}

// blackHole lets nothing through for a while, neither to the session nor to the GCS nor to the actors.
func blackHole(length time.Duration) func(*rig) {
	return func(r *rig) {
		r.suffer(silence)
		r.timeline.note("nothing gets through")
		time.Sleep(length)
		r.heal(silence)
		r.timeline.back()
	}
}

// ways are all that lead to Ray.
func (r *rig) ways() []way { return []way{toOne{r.session}, toOne{r.gcs}, r.toActors} }

// suffer begins a fault on every way, and heal ends it.
func (r *rig) suffer(f fault) {
	for _, w := range r.ways() {
		w.begin(f)
	}
}

func (r *rig) heal(f fault) {
	for _, w := range r.ways() {
		w.end(f)
	}
}

// flapping cuts, refuses and stalls the ways at random, one or more at a time.
func flapping(length time.Duration) func(*rig) {
	return func(r *rig) {
		faults := []fault{cut, refusal, silence}
		within := func(d time.Duration) { time.Sleep(time.Duration(r.random.Int64N(int64(d)))) }
		r.timeline.note("the links begin to flap")
		count := 0
		for end := time.Now().Add(length); time.Now().Before(end); count++ {
			fault := faults[r.random.IntN(len(faults))]
			hit := r.ways()
			r.random.Shuffle(len(hit), func(i, j int) { hit[i], hit[j] = hit[j], hit[i] })
			hit = hit[:1+r.random.IntN(len(hit))]
			for _, w := range hit {
				w.begin(fault)
			}
			within(3 * time.Second)
			for _, w := range hit {
				w.end(fault)
			}
			within(2 * time.Second)
		}
		r.timeline.note("%d faults were enough", count)
		r.timeline.back()
	}
}

func (r *rig) restartHead() {
	r.killHead()
	r.startHead(r.ports)
}

func (r *rig) moveHead() {
	r.killHead()
	r.startHead(freePorts(r.now))
}

// replaceCluster is what an upgrade does behind a service: the old head goes without a word, and when something gets
// through again it is another cluster. Never are there two: see raytest.OnlyHead.
func (r *rig) replaceCluster() {
	r.suffer(silence)
	r.timeline.note("nothing gets through")
	r.killHead()
	r.startHead(freePorts(r.now))
	r.heal(silence)
	r.suffer(cut)
	r.heal(cut)
	r.timeline.back()
}
