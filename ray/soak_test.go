package ray_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
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
	rss               int64
}

func takeStock(t *testing.T) leftovers {
	t.Helper()
	debug.FreeOSMemory()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	l := leftovers{goroutines: runtime.NumGoroutine(), files: len(files)}
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

// Sessions come and go, and nothing of them stays, here or at the server.
func TestSoakSessions(t *testing.T) {
	cycles := soak(t, 100)
	warm := max(1, cycles/5) // until buffers and pools have their size
	var base leftovers
	clients := 0
	for i := range cycles + warm {
		if i == warm {
			base = takeStock(t)
		}
		s, err := ray.Open(deadline(t), ray.Config{Address: raytest.Head(t).ClientAddress(), Namespace: "soak", Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := ray.As[int](s.Get(deadline(t), must(t)(s.Put(deadline(t), i)))); v != i || err != nil {
			t.Fatalf("%v, %v", v, err)
		}
		clients = max(clients, s.Info().NumClients)
		closeSession(t, s)
	}
	end := takeStock(t)
	raytest.SoakFound(t, "%d sessions: goroutines %d to %d, files %d to %d, RSS %.1f to %.1f MB; at most %d clients at a server",
		cycles, base.goroutines, end.goroutines, base.files, end.files, float64(base.rss)/1e6, float64(end.rss)/1e6, clients)
	if end.goroutines > base.goroutines+2 || end.files > base.files+2 || end.rss > base.rss+8<<20 || clients != 1 {
		t.Errorf("%+v became %+v, %d clients", base, end, clients)
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
	run(calls / 5)
	settle := func() (leftovers, int) {
		waitFor(t, "the releases", func() bool { return s.Stats().Refs <= callers+1+int(heldAsked.Load()) })
		n := heldByServer(t, s)
		return takeStock(t), n
	}
	base, before := settle()
	begun := time.Now()
	run(calls)
	took := time.Since(begun)
	end, after := settle()
	raytest.SoakFound(t, "%d calls at %.0f/s: goroutines %d to %d, files %d to %d, RSS %.1f to %.1f MB; objects at the server %d to %d",
		calls, float64(calls)/took.Seconds(), base.goroutines, end.goroutines, base.files, end.files, float64(base.rss)/1e6, float64(end.rss)/1e6, before, after)
	// The second question finds the first one's function.
	if end.goroutines > base.goroutines+2 || end.files > base.files+2 || end.rss > base.rss+8<<20 || after > before+2 {
		t.Errorf("%+v became %+v, %d objects %d", base, end, before, after)
	}
}

// The connection is cut again and again under eight callers, each time when calls got through since, and every call runs
// exactly once.
func TestSoakCuts(t *testing.T) {
	cuts := soak(t, 300)
	cutter := faultproxy.New(t, raytest.Head(t).ClientAddress())
	// The server keeps a thread for every stream that it lost until the grace period is over: 5 a second for 5 seconds.
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
	for _, n := range sent {
		total += n
	}
	raytest.SoakFound(t, "%d cuts, %d calls, each executed once; %+v", done, total, s.Stats())
	if done < cuts || s.Stats().Reconnects < int64(done)-1 {
		t.Errorf("%d cuts, %+v", done, s.Stats())
	}
}

// A value of 1 GiB arrives although every third chunk fails, without being held much more than twice.
func TestSoakLargeGetWithFaults(t *testing.T) {
	size := soak(t, 1<<30)
	middleman, s := behind(t)
	ref := large(t, s, size)
	chunks := 0
	var mu sync.Mutex
	middleman.SetHook(onData(t, func(_ *raypb.DataRequest, resp *raypb.DataResponse) error {
		if resp.GetGet() == nil {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if chunks++; chunks%3 == 0 {
			return errInjected
		}
		return nil
	}))
	checkLarge(t, s, ref, size)
	raytest.SoakFound(t, "%d bytes, %d chunks, %d resumptions", size, chunks, s.Stats().Reconnects)
}

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
