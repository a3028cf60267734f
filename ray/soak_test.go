package ray_test

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// soak returns the share of n that make soak asks for, at least 2; elsewhere the test is skipped.
func soak(t *testing.T, n int) int {
	t.Helper()
	return max(2, int(raytest.Soak(t)*float64(n)))
}

// leftovers is what a process has when nothing is under way.
type leftovers struct {
	goroutines, files int
	rss, heap         int64 // bytes; the heap holds what is reachable
}

func takeStock(t *testing.T) leftovers {
	t.Helper()
	runtime.GC() // twice, for the pools
	debug.FreeOSMemory()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	l := leftovers{goroutines: runtime.NumGoroutine(), files: len(files), heap: int64(memory.HeapAlloc)}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			l.rss = kib << 10
		}
	}
	return l
}

const (
	// soakSamples is how often the stock is taken while something is repeated.
	soakSamples = 10
	// rssNoise and heapNoise are what an even line through the samples may rise by from the first to the last: pages come
	// and go with the runtime and the program's own code. The heap may gain less than 3 bytes for each of 100,000 calls.
	rssNoise, heapNoise = 4 << 20, 256 << 10
)

// growth is how much a straight line through the samples rises from the first to the last, by least squares.
func growth(samples []leftovers, of func(leftovers) int64) float64 {
	middle, mean := float64(len(samples)-1)/2, 0.0
	for _, l := range samples {
		mean += float64(of(l)) / float64(len(samples))
	}
	var xy, xx float64
	for i, l := range samples {
		x := float64(i) - middle
		xy += x * (float64(of(l)) - mean)
		xx += x * x
	}
	return xy / xx * 2 * middle
}

// compare fails the test if something stayed between the first sample and the last, and says what there was.
func compare(t *testing.T, samples []leftovers) string {
	t.Helper()
	base, end := samples[0], samples[len(samples)-1]
	rss := growth(samples, func(l leftovers) int64 { return l.rss })
	heap := growth(samples, func(l leftovers) int64 { return l.heap })
	if end.goroutines > base.goroutines || end.files > base.files || rss > rssNoise || heap > heapNoise {
		t.Errorf("%+v", samples)
	}
	return fmt.Sprintf("goroutines %d to %d, files %d to %d, RSS %.1f to %.1f MB (a slope of %+.2f MB in all), heap %.2f to %.2f MB (%+.3f)",
		base.goroutines, end.goroutines, base.files, end.files, float64(base.rss)/1e6, float64(end.rss)/1e6, rss/1e6,
		float64(base.heap)/1e6, float64(end.heap)/1e6, heap/1e6)
}

// Sessions come and go, and nothing of them stays, here or at the server.
func TestSoakSessions(t *testing.T) {
	cycles := soak(t, 100)
	head := raytest.Head(t)
	clients := 0
	cycle := func(i int) {
		// What deadline makes stays until the end of the test.
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		s, err := ray.Open(ctx, ray.Config{Address: head.ClientAddress(), Namespace: "soak", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := ray.As[int](s.Get(ctx, must(t)(s.Put(ctx, i)))); v != i || err != nil {
			t.Fatalf("%v, %v", v, err)
		}
		clients = max(clients, s.Info().NumClients)
		closeSession(t, s)
	}
	for i := range max(2, cycles/5) { // until buffers and pools have their size
		cycle(i)
	}
	samples := []leftovers{takeStock(t)}
	for i := range cycles {
		cycle(i)
		if (i+1)%max(1, cycles/soakSamples) == 0 {
			samples = append(samples, takeStock(t))
		}
	}
	// The server looks for sessions that ended every 30 s, and ends their processes.
	processes := func() int { return len(clientServers(t, head, "specific-server")) }
	waitFor(t, "the sessions' processes to end", func() bool { return processes() == 0 })
	raytest.SoakFound(t, "%d sessions: %s; at most %d clients at a server, %d processes of sessions left there",
		cycles, compare(t, samples), clients, processes())
	if clients != 1 {
		t.Errorf("%d clients at a time", clients)
	}
}

// must ends the test at an error.
func must(t *testing.T) func(*ray.ObjectRef, error) *ray.ObjectRef {
	return func(ref *ray.ObjectRef, err error) *ray.ObjectRef {
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
}

// heldSource counts, in the server's process, what it holds for its clients. The comment makes each question a new one.
const heldSource = `# %d
import gc
from ray.util.client.server.server import RayletServicer
gc.collect()
held = sum(len(refs) for o in gc.get_objects() if isinstance(o, RayletServicer) for refs in o.object_refs.values())
def count():
    return held
`

var heldAsked atomic.Int64

// heldByServer returns how many objects the server holds. Each question adds one: the function that asks.
func heldByServer(t *testing.T, s *ray.Session) int {
	t.Helper()
	ref, err := s.Submit(deadline(t), ray.Function{Name: "count", Source: fmt.Sprintf(heldSource, heldAsked.Add(1))})
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Release()
	n, err := ray.As[int](s.Get(deadline(t), ref))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Calls leave nothing behind, here or at the server.
func TestSoakCalls(t *testing.T) {
	calls := soak(t, 100_000)
	s := open(t, ray.Config{Logger: quiet})
	const callers = 16
	actors := make([]*ray.ActorHandle, callers)
	for i := range actors {
		actors[i] = counter(t, s, ray.ActorOptions{})
	}
	run := func(n int) {
		var all sync.WaitGroup
		for _, actor := range actors {
			all.Go(func() {
				for range n / callers {
					if _, err := actor.Call(t.Context(), "incr"); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	// A session remembers the last 10,000 objects that it released; before that its memory grows.
	run(max(calls/5, 12_000))
	settle := func() leftovers {
		waitFor(t, "the releases", func() bool { return s.Stats().Refs <= callers+1+int(heldAsked.Load()) })
		return takeStock(t)
	}
	server := func() (held, clients int) {
		held = heldByServer(t, s)
		clients, err := s.NumClients(deadline(t))
		if err != nil {
			t.Fatal(err)
		}
		return held, clients
	}
	settle()
	heldBefore, clientsBefore := server()
	samples := []leftovers{settle()}
	var took time.Duration
	for range soakSamples {
		begun := time.Now()
		run(calls / soakSamples)
		took += time.Since(begun)
		samples = append(samples, settle())
	}
	held, clients := server()
	raytest.SoakFound(t, "%d calls at %.0f/s: %s; objects at the server %d to %d, clients %d to %d",
		calls, float64(calls)/took.Seconds(), compare(t, samples), heldBefore, held, clientsBefore, clients)
	// The second question finds the first one's function.
	if held > heldBefore+1 || clients > clientsBefore {
		t.Errorf("%d objects and %d clients at the server became %d and %d", heldBefore, clientsBefore, held, clients)
	}
}

// The connection is cut again and again under eight callers, each time when calls got through since, and every call runs
// exactly once.
func TestSoakCuts(t *testing.T) {
	cuts := soak(t, 1000)
	cutter := faultproxy.New(t, raytest.Head(t).ClientAddress())
	// The server keeps a thread for every stream that it lost until the grace period is over: 5 a second for 5 seconds, of
	// the 100 that it has unless told otherwise.
	s := open(t, ray.Config{Address: cutter.Address(), ReconnectGrace: 5 * time.Second, Logger: quiet})
	const callers = 8
	actors := make([]*ray.ActorHandle, callers)
	for i := range actors {
		actors[i] = counter(t, s, ray.ActorOptions{})
	}
	ctx, stop := context.WithCancel(t.Context())
	sent := make([]int, callers)
	var answered atomic.Int64
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for i, actor := range actors {
		all.Go(func() {
			for ctx.Err() == nil {
				v, err := actor.Call(t.Context(), "incr")
				if sent[i]++; err != nil || v != int64(sent[i]) {
					t.Errorf("call %d of caller %d gave %v, %v", sent[i], i, v, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	done := 0
	for range cuts {
		before := answered.Load()
		time.Sleep(200 * time.Millisecond)
		waitFor(t, "calls between two cuts", func() bool { return t.Failed() || answered.Load() >= before+10*callers })
		done += min(1, cutter.Cut())
	}
	stop()
	all.Wait()
	total := 0
	for i, n := range sent {
		if v, err := actors[i].Call(deadline(t), "value"); v != int64(n) {
			t.Errorf("%d calls of caller %d, %v executed; %v", n, i, v, err)
		}
		total += n
	}
	raytest.SoakFound(t, "%d cuts, %d calls, each executed once; %+v", done, total, s.Stats())
	if done < cuts || s.Stats().Reconnects < int64(done)-1 {
		t.Errorf("%d cuts, %+v", done, s.Stats())
	}
}

// A session on which nothing is asked lives on its keepalive alone, and has lost nothing afterwards. A connection to the GCS
// and one to actors, which have no keepalive of gRPC's, serve again after it: gRPC lets go of one that is unused for half an
// hour, and this takes a minute longer.
func TestSoakIdle(t *testing.T) {
	const every = 30 * time.Second // three pings
	periods := soak(t, 62)
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	x := directly(t, ray.DirectOptions{Idle: time.Second})
	x.actor(t, "counter", 0)
	s := open(t, ray.Config{Address: proxy.Address(), Logger: quiet})
	actor := counter(t, s, ray.ActorOptions{})
	value := pattern(8 << 20)
	ref := must(t)(s.Put(deadline(t), value))
	calls := int64(0)
	use := func() {
		t.Helper()
		calls++
		if v, err := actor.Call(deadline(t), "incr"); v != calls {
			t.Fatalf("call %d of the session: %v, %v", calls, v, err)
		}
		if v, err := s.Get(deadline(t), ref); err != nil || !bytes.Equal(v.([]byte), value) {
			t.Fatalf("the object: %v", err)
		}
		if v, err := x.call(deadline(t), "counter", "incr"); v != calls {
			t.Fatalf("direct call %d: %v, %v", calls, v, err)
		}
		if _, err := x.gcs.NamedActors(deadline(t), x.namespace); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the direct connection to be closed", func() bool { return x.direct.Stats().Connections == 0 })
	}
	for range 3 {
		use()
	}
	clients, err := s.NumClients(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	samples := []leftovers{takeStock(t)}
	before := proxy.Stats()
	quietest := int64(math.MaxInt64)
	for range periods {
		last := proxy.Stats()
		time.Sleep(every)
		samples = append(samples, takeStock(t))
		now := proxy.Stats()
		if quietest = min(quietest, now.Up-last.Up, now.Down-last.Down); quietest == 0 {
			t.Errorf("nothing passed for %v: whoever forgets connections that are silent forgets this one", every)
		}
	}
	after := proxy.Stats()
	use()
	now, err := s.NumClients(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	raytest.SoakFound(t, "idle for %v: %s; %d bytes up and %d down, at least %d within %v, %d reconnections; clients %d to %d",
		time.Duration(periods)*every, compare(t, samples), after.Up-before.Up, after.Down-before.Down, quietest, every, s.Stats().Reconnects, clients, now)
	if stats := s.Stats(); stats.Reconnects+stats.Resent > 0 || proxy.Stats().Accepted != before.Accepted || now != clients {
		t.Errorf("%+v, %+v became %+v; %d clients became %d", stats, before, proxy.Stats(), clients, now)
	}
}

// A value of 1 GiB arrives although every third chunk fails, without being held much more than twice.
func TestSoakLargeGetWithFaults(t *testing.T) {
	size := soak(t, 1<<30)
	middleman, s := behind(t)
	// What was put comes by a call of its own, a result on the data channel.
	put := large(t, s, size)
	result := must(t)(s.Submit(t.Context(), function("echo"), put))
	var found []string
	for way, ref := range map[string]*ray.ObjectRef{getObject: put, datapath: result} {
		var chunks, failures atomic.Int64
		middleman.SetHook(onPieces(t, way, func(*raypb.GetResponse) error {
			if chunks.Add(1)%3 == 0 {
				failures.Add(1)
				return errInjected
			}
			return nil
		}))
		checkLarge(t, s, ref, size)
		found = append(found, fmt.Sprintf("by %s %d chunks, %d failures", way, chunks.Load(), failures.Load()))
		if failures.Load() < int64(size/largestPiece/3) {
			t.Errorf("%s: %d failures", way, failures.Load())
		}
	}
	slices.Sort(found)
	raytest.SoakFound(t, "%d bytes, twice: %s", size, strings.Join(found, "; "))
}

// largestPiece is how the server cuts values.
const largestPiece = 5 << 20

// A value of more than 2 GiB, which no message of Ray can carry, goes there and comes back.
func TestSoakBeyondTwoGiB(t *testing.T) {
	size := soak(t, 2200<<20)
	s := open(t, ray.Config{Logger: quiet})
	ref := large(t, s, size)
	put := takeStock(t)
	checkLarge(t, s, ref, size)
	got := takeStock(t)
	raytest.SoakFound(t, "%d bytes put and got; RSS %.0f MB after the put, %.0f MB after the get", size, float64(put.rss)/1e6, float64(got.rss)/1e6)
	if put.rss > 300<<20 || got.rss > 300<<20 {
		t.Errorf("the value stays in memory: %+v, %+v", put, got)
	}
}

// Arguments of more than 2 GiB, in one or together, reach a task and a method of an actor.
func TestSoakArgumentsBeyondTwoGiB(t *testing.T) {
	size := soak(t, 2200<<20)
	s := open(t, ray.Config{Logger: quiet})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	value := pattern(size)
	sum := func(b []byte) string { return fmt.Sprintf("%d %08x", len(b), crc32.ChecksumIEEE(b)) }
	wants := func(what string, got any, err error, parts ...[]byte) {
		t.Helper()
		var want []any
		for _, part := range parts {
			want = append(want, sum(part))
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	ref := must(t)(s.Submit(ctx, function("checksums"), value))
	got, err := s.Get(ctx, ref)
	wants("one argument of a task", got, err, value)
	ref.Release()
	actor, err := s.CreateActor(ctx, pythonClass(t, s, "Values"), ray.ActorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	got, err = actor.Call(ctx, "checksums", value[:size/2], value[size/2:])
	wants("two arguments of a method", got, err, value[:size/2], value[size/2:])
	runtime.GC()
	found := takeStock(t)
	raytest.SoakFound(t, "%d bytes in one argument of a task, and in two of a method; RSS %.0f MB afterwards", size, float64(found.rss)/1e6)
	if found.rss > 300<<20 {
		t.Errorf("the arguments stay in memory: %+v", found)
	}
}

func large(t *testing.T, s *ray.Session, size int) *ray.ObjectRef {
	t.Helper()
	value := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		value[i] = byte(i >> 12)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	return must(t)(s.Put(ctx, value))
}

func checkLarge(t *testing.T, s *ray.Session, ref *ray.ObjectRef, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	v, err := s.Get(ctx, ref)
	got, ok := v.([]byte)
	if err != nil || !ok || len(got) != size {
		t.Fatalf("%d bytes came; %v", len(got), err)
	}
	for i := 0; i < size; i += 4096 {
		if got[i] != byte(i>>12) || !bytes.Equal(got[i+1:min(i+16, size)], make([]byte, min(i+16, size)-i-1)) {
			t.Fatalf("byte %d changed on the way", i)
		}
	}
}
