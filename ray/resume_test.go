package ray_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// through opens a session through a proxy.
func through(t *testing.T, cfg ray.Config) (*faultproxy.Proxy, *ray.Session) {
	t.Helper()
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	cfg.Address = proxy.Address()
	return proxy, open(t, cfg)
}

func TestCutsExecuteEveryCallOnce(t *testing.T) {
	t.Parallel()
	proxy, s := through(t, ray.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	actor := counter(t, s, ray.ActorOptions{})
	if err := second(actor.Call(ctx, "value")); err != nil {
		t.Fatal(err)
	}
	var calls, writes atomic.Int64
	stop := make(chan struct{})
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			last := int64(0)
			for running() {
				v, err := actor.Call(ctx, "incr")
				if err != nil {
					t.Errorf("call: %v", err)
					return
				}
				calls.Add(1)
				if n, ok := v.(int64); !ok || n <= last {
					t.Errorf("%v came after %d", v, last)
				} else {
					last = n
				}
			}
		})
	}
	callers.Go(func() {
		prefix := raytest.Namespace(t)
		for i := 0; running(); i++ {
			// Executed twice, it would meet itself.
			existed, err := s.KVPut(ctx, prefix, strconv.Itoa(i), []byte("x"), false)
			if existed || err != nil {
				t.Errorf("write %d: %v, %v", i, existed, err)
				return
			}
			writes.Add(1)
		}
	})
	size := 6 << 20 // which travel in chunks
	if raytest.RayBefore(t, "2.60") {
		size = 3 << 20 // which do not: see TestCutsWithinLargeValues
	}
	callers.Go(func() {
		for running() {
			ref, err := s.Put(ctx, pattern(size))
			if err != nil {
				t.Errorf("put: %v", err)
				return
			}
			ref.Release()
		}
	})
	// A cut that meets no connection is none.
	const cuts = 50
	done := 0
	for done < cuts && ctx.Err() == nil && !t.Failed() {
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		done += min(1, proxy.Cut())
	}
	close(stop)
	callers.Wait()
	stats := s.Stats()
	t.Logf("%d calls, %d writes, %+v", calls.Load(), writes.Load(), stats)
	if v, err := actor.Call(ctx, "value"); v != calls.Load() {
		t.Errorf("%d calls were made, %v executed; %v", calls.Load(), v, err)
	}
	if done < cuts || stats.Reconnects == 0 || stats.Resent == 0 {
		t.Errorf("%d cuts, %+v", done, stats)
	}
}

// cutAfter cuts the connection once so many bytes went through.
func cutAfter(ctx context.Context, proxy *faultproxy.Proxy, bytes int64, count func(faultproxy.Stats) int64) <-chan struct{} {
	done := make(chan struct{})
	start := count(proxy.Stats())
	go func() {
		defer close(done)
		for count(proxy.Stats())-start < bytes && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		proxy.Cut()
	}()
	return done
}

func TestCutsWithinLargeValues(t *testing.T) {
	t.Parallel()
	proxy, s := through(t, ray.Config{})
	ctx := deadline(t)
	up := func(s faultproxy.Stats) int64 { return s.Up }
	down := func(s faultproxy.Stats) int64 { return s.Down }
	value := pattern(40 << 20)
	proxy.Delay(2 * time.Millisecond) // so that the cuts come in the middle

	cut := cutAfter(ctx, proxy, 22<<20, up)
	ref, err := s.Put(ctx, value)
	<-cut
	if endedByChunks(t, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if s.Stats().Resent == 0 {
		t.Error("the put was not sent again")
	}
	// The argument of a task takes another way at the server.
	cut = cutAfter(ctx, proxy, 8<<20, up)
	length, err := s.Submit(ctx, function("length"), value[:17<<20])
	<-cut
	if endedByChunks(t, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, length); v != int64(17<<20) {
		t.Errorf("%v, %v", v, err)
	}
	// What was put comes by a call of its own, a result on the data channel.
	result, err := s.Submit(ctx, function("echo"), ref)
	if err != nil {
		t.Fatal(err)
	}
	for name, ref := range map[string]*ray.ObjectRef{"what was put": ref, "a result": result} {
		before := proxy.Stats().Down
		cut = cutAfter(ctx, proxy, 25<<20, down)
		v, err := s.Get(ctx, ref)
		<-cut
		if endedByChunks(t, err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := v.([]byte); !ok || !bytes.Equal(got, value) {
			t.Errorf("%s changed on the way", name)
		}
		// What had arrived was not asked for again: there is slack for what was in the buffers on the way.
		if n := proxy.Stats().Down - before; n > int64(len(value))*3/2 {
			t.Errorf("%s: %d bytes came for a value of %d", name, n, len(value))
		}
	}
	proxy.Delay(0)
	// Later requests in chunks work as well: the server's own book about them is in order.
	if err := second(s.Put(ctx, value[:12<<20])); err != nil && !endedByChunks(t, err) {
		t.Error(err)
	}
}

func TestOutageWithinTheGracePeriod(t *testing.T) {
	t.Parallel()
	proxy, s := through(t, ray.Config{})
	ctx := deadline(t)
	slow, err := s.Submit(ctx, function("sleep_then"), 1, "slept")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 2)
	go func() {
		v, err := s.Get(ctx, slow)
		got <- fmt.Sprint(v, " ", err)
	}()
	waitFor(t, "the get to be under way", func() bool { return s.Stats().Outstanding > 0 })
	proxy.Refuse(true)
	proxy.Cut()
	waitFor(t, "an attempt to connect", func() bool { return proxy.Stats().Refused > 1 })
	go func() {
		v, err := s.KVExists(ctx, "", "absent")
		got <- fmt.Sprint(v, " ", err)
	}()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := s.Ping(short); !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a call during the outage: %v", err)
	}
	if err := s.Err(); err != nil {
		t.Errorf("a session that is being resumed: %v", err)
	}
	proxy.Refuse(false)
	for range 2 {
		if v := <-got; v != "slept <nil>" && v != "false <nil>" {
			t.Error(v)
		}
	}
	if s.Stats().Reconnects != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

func TestIdleSessionIsResumed(t *testing.T) {
	t.Parallel()
	proxy, s := through(t, ray.Config{ReconnectGrace: 5 * time.Second})
	proxy.Cut()
	waitFor(t, "the resumption", func() bool { return s.Stats().Reconnects == 1 })
	// Longer than the grace period: the server must have taken note.
	time.Sleep(6 * time.Second)
	if err := s.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestOutageBeyondTheGracePeriod(t *testing.T) {
	t.Parallel()
	proxy, s := through(t, ray.Config{ReconnectGrace: time.Second})
	ctx := deadline(t)
	ref, err := s.Submit(ctx, function("sleep_then"), 60, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- second(s.Get(ctx, ref)) }()
	waitFor(t, "the get to be under way", func() bool { return s.Stats().Outstanding > 0 })
	proxy.Refuse(true)
	proxy.Cut()
	waitLost(t, s)
	if err := <-got; !errors.Is(err, ray.ErrSessionLost) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("the call under way: %v", err)
	}
	for what, err := range map[string]error{
		"get":  second(s.Get(ctx, ref)),
		"put":  second(s.Put(ctx, 1)),
		"kv":   second(s.KVExists(ctx, "", "x")),
		"ping": s.Ping(ctx),
	} {
		if !errors.Is(err, ray.ErrSessionLost) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s with a lost session: %v", what, err)
		}
	}
	ref.Release()
	closeSession(t, s)
	// The way back is a new session.
	proxy.Refuse(false)
	again := open(t, ray.Config{Address: proxy.Address()})
	if err := second(again.Get(ctx, ref)); !errors.Is(err, ray.ErrStaleSession) {
		t.Errorf("an old ref: %v", err)
	}
}

func waitLost(t *testing.T, s *ray.Session) {
	t.Helper()
	select {
	case <-s.Done():
	case <-deadline(t).Done():
		t.Fatal("the session was not lost")
	}
	if err := s.Err(); !errors.Is(err, ray.ErrSessionLost) {
		t.Fatalf("Err: %v", err)
	}
	t.Log(s.Err())
}

// A connection that swallows everything looks alive; only the keepalive finds out.
func TestBlackHole(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the keepalive's 15 s")
	}
	t.Parallel()
	proxy, s := through(t, ray.Config{})
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{})
	if err := second(actor.Call(ctx, "incr")); err != nil {
		t.Fatal(err)
	}
	before := proxy.Stats().Accepted
	proxy.Stall()
	got := make(chan string, 1)
	go func() {
		v, err := actor.Call(ctx, "incr")
		got <- fmt.Sprint(v, " ", err)
	}()
	waitFor(t, "the session to give the connection up", func() bool { return proxy.Stats().Accepted > before })
	proxy.Resume()
	if v := <-got; v != "2 <nil>" {
		t.Error(v)
	}
	if v, err := actor.Call(ctx, "value"); v != int64(2) {
		t.Errorf("%v, %v", v, err)
	}
	if s.Stats().Reconnects != 1 {
		t.Errorf("%+v", s.Stats())
	}
}

// clientServers returns the processes of the Ray Client server of a head, the common one or those of the sessions.
func clientServers(t *testing.T, head *rayhead.Head, mode string) []int {
	t.Helper()
	words := []string{"ray.util.client.server", head.GCSAddress(), "mode=" + mode}
	if mode == "proxy" {
		words = append(words, head.ClientAddress()[strings.LastIndexByte(head.ClientAddress(), ':')+1:])
	}
	return raytest.Processes(t, words...)
}

func killProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// When the process behind a session dies, the session is lost soon, and not only after the grace period, which is longer
// than the test waits.
func TestDeathOfTheSessionsProcess(t *testing.T) {
	head := raytest.Head(t)
	before := clientServers(t, head, "specific-server")
	s := open(t, ray.Config{ReconnectGrace: 2 * time.Minute})
	mine := clientServers(t, head, "specific-server")
	mine = slices.DeleteFunc(mine, func(pid int) bool { return slices.Contains(before, pid) })
	if len(mine) != 1 {
		t.Fatalf("processes of the session: %v", mine)
	}
	ctx := deadline(t)
	ref, err := s.Submit(ctx, function("sleep_then"), 60, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- second(s.Get(ctx, ref)) }()
	waitFor(t, "the get to be under way", func() bool { return s.Stats().Outstanding > 0 })
	for _, pid := range mine {
		killProcess(t, pid)
	}
	waitLost(t, s)
	if err := <-got; !errors.Is(err, ray.ErrSessionLost) {
		t.Error(err)
	}
	open(t, ray.Config{})
}

func TestDeathOfTheServer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a head of its own")
	}
	t.Parallel()
	head := raytest.NewHead(t, rayhead.Config{})
	s := open(t, ray.Config{Address: head.ClientAddress(), ReconnectGrace: 2 * time.Second})
	servers := clientServers(t, head, "proxy")
	if len(servers) != 1 {
		t.Fatalf("servers: %v", servers)
	}
	for _, pid := range servers {
		killProcess(t, pid)
	}
	waitLost(t, s)
	if _, err := ray.Open(deadline(t), ray.Config{Address: head.ClientAddress(), Namespace: "x"}); !errors.Is(err, ray.ErrNoClientServer) {
		t.Errorf("%v", err)
	}
}
