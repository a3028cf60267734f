package ray_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// never is longer than any test.
const never = time.Hour

// TestDirectNetworks runs direct calls over networks that fail, on one session.
func TestDirectNetworks(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	for name, test := range map[string]func(*testing.T, directSetup){
		"a call to an actor that is gone ends":          testCallToALostActorEnds,
		"a call that was given up makes the GCS asked":  testGivenUpCallsFindTheActorAgain,
		"an actor that hangs keeps its call":            testAHangingActorKeepsItsCall,
		"a filtered address is remembered":              testAFilteredAddressIsRemembered,
		"a refused address is remembered":               testARefusedAddressIsRemembered,
		"a refused address leaves time":                 testARefusedAddressLeavesTimeForTheSession,
		"an address that can be reached again is found": testAnAddressThatCanBeReachedAgain,
		"what is silent is no worker":                   testASilentListener,
		"Close ends what waits for an actor":            testCloseEndsWaitingCalls,
		"callers wait for one search":                   testCallersShareASearch,
		"names make room for others":                    testNamesMakeRoom,
		"one actor does not use up the bounds":          testOneActorDoesNotUseUpTheBounds,
		"sizes":                                         testDirectSizes,
		"deadlines of callers":                          testDeadlinesOfCallers,
		"what a worker refuses":                         testWhatAWorkerRefuses,
		"calls that are never processed":                testCallsThatAreNeverProcessed,
		"an actor that was never built":                 testAnActorThatWasNeverBuilt,
		"results in the object store are freed":         testResultsInTheObjectStore,
		"a client without a session":                    testAClientWithoutASession,
		"modes of a client":                             testModes,
		"a direct path that changes":                    testTheDirectPathChanges,
		"a GCS that is silent is remembered":            testASilentGCSIsRemembered,
		"only the client port can be reached":           testOnlyTheClientPort,
	} {
		t.Run(name, func(t *testing.T) { test(t, x) })
	}
}

// over returns a direct path of its own with other bounds, over a GCS.
func (x directSetup) over(t *testing.T, gcs *ray.GCS, opts ray.DirectOptions, bounds ray.DirectBounds) directSetup {
	t.Helper()
	d, err := ray.NewDirectWith(gcs, opts, bounds)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := d.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	x.gcs, x.direct = gcs, d
	return x
}

func (x directSetup) address(t *testing.T, name string) string {
	t.Helper()
	info, err := x.gcs.NamedActor(deadline(t), x.namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(info.IP, strconv.Itoa(info.Port))
}

// silenced makes an actor behind a proxy, and returns what makes the network there go silent and the actor end.
func silenced(t *testing.T, x directSetup, name string, bounds ray.DirectBounds) (_ directSetup, vanish func()) {
	t.Helper()
	x.actor(t, name, 1)
	behind, pid := x.address(t, name), x.pid(t, name)
	proxy := faultproxy.New(t, behind)
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(address string) string {
		if address == behind {
			return proxy.Address()
		}
		return address
	}}, bounds)
	if _, err := x.call(deadline(t), name, "incr"); err != nil {
		t.Fatal(err)
	}
	return x, func() {
		proxy.Stall()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

func testCallToALostActorEnds(t *testing.T, x directSetup) {
	x, vanish := silenced(t, x, "lost", ray.DirectBounds{Silent: 300 * time.Millisecond})
	flight := make(chan error, 2)
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, ctx := range []context.Context{context.Background(), cancelled} { // neither has a deadline
		go func() { flight <- second(x.call(ctx, "lost", "sleep", 600)) }()
	}
	waitFor(t, "the calls are under way", func() bool { return x.direct.InFlight() == cap(flight) })
	time.Sleep(200 * time.Millisecond) // let them leave: the actor sleeps far longer
	vanish()
	for range cap(flight) {
		wantSent(t, <-flight, ray.ErrActorUnavailable, ray.SentMaybe)
	}
	if v, err := x.call(deadline(t), "lost", "incr"); err != nil || v != int64(1) {
		t.Errorf("the call after the restart: %v, %v", v, err)
	}
}

func testGivenUpCallsFindTheActorAgain(t *testing.T, x directSetup) {
	x, vanish := silenced(t, x, "left", ray.DirectBounds{Silent: never})
	vanish()
	waitFor(t, "the actor is called where it runs by now", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := x.call(ctx, "left", "get")
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ray.ErrActorUnavailable) {
			t.Error(err)
		}
		return err == nil
	})
}

func testAHangingActorKeepsItsCall(t *testing.T, x directSetup) {
	relay := &gcsRelay{}
	x = x.over(t, relayed(t, relay), ray.DirectOptions{}, ray.DirectBounds{Silent: 50 * time.Millisecond})
	if v, err := x.call(deadline(t), "counter", "sleep", 1); err != nil || v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
	if relay.byID.Load() == 0 {
		t.Error("the GCS was not asked for an actor that does not answer")
	}
}

func testAFilteredAddressIsRemembered(t *testing.T, x directSetup) {
	hole := blackHole(t)
	var dials atomic.Int64
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string {
		dials.Add(1)
		return hole
	}}, ray.DirectBounds{Dial: time.Second, Recheck: never})

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	wantSent(t, second(x.call(ctx, "counter", "incr")), context.DeadlineExceeded, ray.SentNo)
	var callers sync.WaitGroup
	for range 50 {
		callers.Go(func() { wantSent(t, second(x.call(deadline(t), "counter", "incr")), ray.ErrUnreachable, ray.SentNo) })
	}
	callers.Wait()
	wantSent(t, second(x.call(deadline(t), "counter", "incr")), ray.ErrUnreachable, ray.SentNo)
	if n := dials.Load(); n > 2 {
		t.Errorf("an address that cannot be reached was dialled %d times by 52 calls", n)
	}
	client := ray.NewClient(x.session, x.gcs, x.direct, nil)
	if _, err := client.Call(deadline(t), x.namespace, "counter", "get"); err != nil || client.Paths().Detours[ray.DetourUnreachable] != 1 {
		t.Errorf("%v by %+v", err, client.Paths())
	}
}

func testARefusedAddressIsRemembered(t *testing.T, x directSetup) {
	var dials atomic.Int64
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string {
		dials.Add(1)
		return "127.0.0.1:1"
	}}, ray.DirectBounds{Refused: 200 * time.Millisecond, Recheck: never})
	wantSent(t, second(x.call(deadline(t), "counter", "incr")), ray.ErrUnreachable, ray.SentNo)
	n := dials.Load()
	for range 10 {
		wantSent(t, second(x.call(deadline(t), "counter", "incr")), ray.ErrUnreachable, ray.SentNo)
	}
	if n < 2 || dials.Load() != n {
		t.Errorf("dialled %d times until it was remembered, and %d times after", n, dials.Load()-n)
	}
}

// A caller with less time than a process is given that refuses has its answer on the other way, and what it waited for is found
// out for the next ones.
func testARefusedAddressLeavesTimeForTheSession(t *testing.T, x directSetup) {
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string { return "127.0.0.1:1" }}, ray.DirectBounds{Refused: 6 * time.Second, Recheck: never})
	client := ray.NewClient(x.session, x.gcs, x.direct, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := client.Call(ctx, x.namespace, "counter", "get"); err != nil {
		t.Error(err)
	}
	wantSent(t, second(x.call(deadline(t), "counter", "get")), ray.ErrUnreachable, ray.SentNo)
	if paths := client.Paths(); paths.Direct != 0 || paths.Detours[ray.DetourUnreachable] != 1 {
		t.Errorf("%+v", paths)
	}
}

func testAnAddressThatCanBeReachedAgain(t *testing.T, x directSetup) {
	var open atomic.Bool
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(address string) string {
		if open.Load() {
			return address
		}
		return "127.0.0.1:1"
	}}, ray.DirectBounds{Refused: time.Millisecond, Recheck: 50 * time.Millisecond})
	wantSent(t, second(x.call(deadline(t), "counter", "get")), ray.ErrUnreachable, ray.SentNo)
	open.Store(true)
	waitFor(t, "the actor is called directly", func() bool {
		_, err := x.call(deadline(t), "counter", "get")
		return err == nil
	})
}

// Something that accepts connections and says nothing.
func testASilentListener(t *testing.T, x directSetup) {
	proxy := faultproxy.New(t, x.address(t, "counter"))
	proxy.Stall()
	x = x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string { return proxy.Address() }},
		ray.DirectBounds{Dial: 500 * time.Millisecond, Recheck: 50 * time.Millisecond})
	wantSent(t, second(x.call(deadline(t), "counter", "get")), ray.ErrUnreachable, ray.SentNo)
	proxy.Resume()
	waitFor(t, "the actor is called directly", func() bool {
		_, err := x.call(deadline(t), "counter", "get")
		return err == nil
	})
	proxy.Cut()
	waitFor(t, "the actor is called over another connection", func() bool {
		_, err := x.call(deadline(t), "counter", "get")
		return err == nil
	})
}

func testCloseEndsWaitingCalls(t *testing.T, x directSetup) {
	x = x.over(t, relayed(t, &gcsRelay{change: func(data *corepb.ActorTableData) {
		data.State = corepb.ActorTableData_RESTARTING
	}}), ray.DirectOptions{}, ray.DirectBounds{})
	waiting := make(chan error, 3)
	for range cap(waiting) {
		go func() { waiting <- second(x.call(context.Background(), "counter", "incr")) }()
	}
	waitFor(t, "the calls wait", func() bool { return x.direct.InFlight() == cap(waiting) })
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := second(x.call(short, "counter", "incr"))
	wantSent(t, err, context.DeadlineExceeded, ray.SentNo)
	wantSent(t, err, ray.ErrActorUnavailable, ray.SentNo)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- x.direct.Close(ctx) }()
	select {
	case err := <-closed:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close with calls that wait: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Close waits for calls that wait")
	}
	for range cap(waiting) {
		wantSent(t, <-waiting, ray.ErrClosed, ray.SentNo)
	}
}

func testCallersShareASearch(t *testing.T, x directSetup) {
	var up atomic.Bool
	relay := &gcsRelay{change: func(data *corepb.ActorTableData) {
		if !up.Load() {
			data.State = corepb.ActorTableData_RESTARTING
		}
	}}
	x = x.over(t, relayed(t, relay), ray.DirectOptions{}, ray.DirectBounds{})
	const calls = 1000
	var callers sync.WaitGroup
	for range calls {
		callers.Go(func() {
			if _, err := x.call(deadline(t), "counter", "get"); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, "the calls wait", func() bool { return x.direct.InFlight() == calls && relay.named.Load() > 3 })
	up.Store(true)
	callers.Wait()
	if n := relay.named.Load(); n > calls/5 {
		t.Errorf("%d calls that waited for one actor asked the GCS %d times", calls, n)
	}
}

func testNamesMakeRoom(t *testing.T, x directSetup) {
	relay := &gcsRelay{ask: func(_ context.Context, req *corepb.GetNamedActorInfoRequest) { req.Name = "counter" }}
	x = x.over(t, relayed(t, relay), ray.DirectOptions{}, ray.DirectBounds{Actors: 2})
	get := func(name string) int64 {
		t.Helper()
		before := relay.named.Load()
		if _, err := x.call(deadline(t), name, "get"); err != nil {
			t.Fatal(err)
		}
		return relay.named.Load() - before
	}
	for _, name := range []string{"a", "b", "c"} {
		if get(name) != 1 {
			t.Errorf("%s was not looked up", name)
		}
	}
	if get("c") != 0 || get("b") != 0 {
		t.Error("an actor that was used lately was forgotten")
	}
	if get("a") != 1 || get("b") != 0 || get("c") != 1 {
		t.Error("another than the least recently used actor was forgotten")
	}
	// Actors with calls under way are not forgotten.
	flight := make(chan error, 2)
	for _, name := range []string{"busy 1", "busy 2"} {
		go func() { flight <- second(x.call(deadline(t), name, "sleep", 1)) }()
	}
	waitFor(t, "two calls are under way", func() bool { return x.direct.InFlight() == 2 })
	wantOverloaded(t, second(x.call(deadline(t), "d", "get")), ray.OverloadedError{What: "actors", Limit: 2, InUse: 2, More: 1})
	for range cap(flight) {
		if err := <-flight; err != nil {
			t.Error(err)
		}
	}
	get("d")
}

func testOneActorDoesNotUseUpTheBounds(t *testing.T, x directSetup) {
	relay := &gcsRelay{ask: func(_ context.Context, req *corepb.GetNamedActorInfoRequest) { req.Name = "counter" }}
	x = x.over(t, relayed(t, relay), ray.DirectOptions{InFlight: 8, InFlightBytes: 1000}, ray.DirectBounds{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	flight := make(chan error, 2)
	for range cap(flight) {
		go func() { flight <- second(x.call(ctx, "busy", "sleep", 3)) }()
	}
	waitFor(t, "two calls are under way", func() bool { return x.direct.InFlight() == 2 })
	wantOverloaded(t, second(x.call(ctx, "busy", "get")), ray.OverloadedError{What: "calls of the actor", Limit: 2, InUse: 2, More: 1})
	// This one queues behind the others, under another name of the same actor.
	go func() { flight <- second(x.call(ctx, "other", "boom", make([]byte, 600))) }()
	waitFor(t, "the third call is under way", func() bool { return x.direct.InFlight() == 3 })
	wantSent(t, second(x.call(ctx, "third", "boom", make([]byte, 600))), ray.ErrOverloaded, ray.SentNo)
	for range 3 {
		if err := <-flight; err != nil && ray.SentOf(err) != ray.SentYes {
			t.Error(err)
		}
	}
}

func testDirectSizes(t *testing.T, x directSetup) {
	ctx := deadline(t)
	// The pages of this are never touched.
	wantSent(t, second(x.call(ctx, "counter", "incr", make([]byte, ray.DefaultDirectMessage))), ray.ErrUnsupportedValue, ray.SentNo)

	const limit = 64 << 10
	x = x.over(t, x.gcs, ray.DirectOptions{MaxMessage: limit}, ray.DirectBounds{})
	wantSent(t, second(x.call(ctx, "counter", "boom", make([]byte, limit))), ray.ErrUnsupportedValue, ray.SentNo)
	// The exception holds its message more than twice.
	wantSent(t, second(x.call(ctx, "counter", "boom", strings.Repeat("m", limit/2))), ray.ErrUnsupportedValue, ray.SentYes)
	if _, err := x.call(ctx, "counter", "get"); err != nil {
		t.Error(err)
	}
	if _, err := ray.NewDirect(x.gcs, ray.DirectOptions{MaxMessage: ray.DefaultDirectMessage + 1}); err == nil {
		t.Error("a limit above Ray's was taken")
	}
}

// The deadline of a caller is no failure of the GCS, and is not taken to the session.
func testDeadlinesOfCallers(t *testing.T, x directSetup) {
	gcs := relayed(t, &gcsRelay{ask: func(ctx context.Context, _ *corepb.GetNamedActorInfoRequest) { <-ctx.Done() }})
	x = x.over(t, gcs, ray.DirectOptions{}, ray.DirectBounds{})
	client := ray.NewClient(x.session, gcs, x.direct, nil)
	cause := errors.New("the user pressed a key")
	for name, call := range map[string]func(context.Context) error{
		"GCS":    func(ctx context.Context) error { return second(gcs.NamedActor(ctx, x.namespace, "counter")) },
		"direct": func(ctx context.Context) error { return second(x.call(ctx, "counter", "incr")) },
		"client": func(ctx context.Context) error { return second(client.Call(ctx, x.namespace, "counter", "incr")) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ray.ErrGCSUnavailable) {
			t.Errorf("%s at the deadline: %v", name, err)
		}
		cancel()
		ctx, press := context.WithCancelCause(t.Context())
		go func() {
			time.Sleep(100 * time.Millisecond)
			press(cause)
		}()
		if err := call(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) || errors.Is(err, ray.ErrGCSUnavailable) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
	}
	if client.Paths().Session != 0 {
		t.Errorf("calls whose context had ended went through the session: %+v", client.Paths())
	}
}

// refusingWorker answers with what the test wants.
type refusingWorker struct {
	corepb.UnimplementedCoreWorkerServiceServer
	reply *corepb.PushTaskReply
	err   error
}

func (w *refusingWorker) PushTask(context.Context, *corepb.PushTaskRequest) (*corepb.PushTaskReply, error) {
	return w.reply, w.err
}

func testWhatAWorkerRefuses(t *testing.T, x directSetup) {
	for name, c := range map[string]struct {
		worker refusingWorker
		want   error
		sent   ray.Sent
	}{
		"cancelled in the queue": {refusingWorker{reply: &corepb.PushTaskReply{WasCancelledBeforeRunning: true}}, ray.ErrTaskCancelled, ray.SentNo},
		"scheduling cancelled":   {refusingWorker{err: status.Error(codes.Aborted, "SchedulingCancelled")}, ray.ErrTaskCancelled, ray.SentNo},
		"overloaded":             {refusingWorker{err: status.Error(codes.ResourceExhausted, "worker: too many calls")}, ray.ErrOverloaded, ray.SentNo},
		"exit":                   {refusingWorker{err: status.Error(codes.Aborted, "UnexpectedSystemExit")}, ray.ErrActorUnavailable, ray.SentMaybe},
		"stale":                  {refusingWorker{err: status.Error(codes.Aborted, "Invalid")}, ray.ErrUnreachable, ray.SentNo},
		"a status of its own":    {refusingWorker{err: status.Error(codes.Canceled, "no reason")}, nil, ray.SentMaybe},
	} {
		server := grpc.NewServer()
		corepb.RegisterCoreWorkerServiceServer(server, &c.worker)
		address := serve(t, server)
		x := x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string { return address }}, ray.DirectBounds{Refused: time.Millisecond})
		_, err := x.call(deadline(t), "counter", "get")
		if err == nil || c.want != nil && !errors.Is(err, c.want) || ray.SentOf(err) != c.sent {
			t.Errorf("%s: %v (sent %v)", name, err, ray.SentOf(err))
		}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: nobody's context ended, and yet: %v", name, err)
		}
	}
}

func testASilentGCSIsRemembered(t *testing.T, x directSetup) {
	var silent atomic.Bool
	relay := &gcsRelay{ask: func(ctx context.Context, req *corepb.GetNamedActorInfoRequest) {
		if silent.Load() {
			<-ctx.Done()
		}
		req.Name = "counter"
	}}
	gcs := relayed(t, relay)
	x = x.over(t, gcs, ray.DirectOptions{}, ray.DirectBounds{Lookup: 300 * time.Millisecond})
	if _, err := x.call(deadline(t), "known", "get"); err != nil {
		t.Fatal(err)
	}
	silent.Store(true)
	client := ray.NewClient(x.session, gcs, x.direct, nil)
	const calls = 50
	for i := range calls {
		name := "unknown " + strconv.Itoa(i)
		err := second(x.call(deadline(t), name, "get"))
		wantSent(t, err, ray.ErrGCSUnavailable, ray.SentNo)
		if !strings.Contains(err.Error(), name) || i > 0 && strings.Contains(strings.ReplaceAll(err.Error(), name, ""), "unknown") {
			t.Errorf("the error of %s names another actor, or none: %v", name, err)
		}
		if _, err := x.call(deadline(t), "known", "get"); err != nil { // needs no GCS
			t.Error(err)
		}
	}
	if n := relay.named.Load(); n > calls/2 {
		t.Errorf("a GCS that is silent was asked %d times for %d calls", n, calls)
	}
	if _, err := client.Call(deadline(t), x.namespace, "counter", "get"); err != nil || client.Paths().Detours[ray.DetourGCS] != 1 {
		t.Errorf("%v by %+v", err, client.Paths())
	}
	silent.Store(false)
	waitFor(t, "the GCS is asked again", func() bool {
		_, err := x.call(deadline(t), "new", "get")
		return err == nil
	})
}
