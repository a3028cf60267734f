package ray_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

const datapath = "/ray.rpc.RayletDataStreamer/Datapath"

// faultGrace is short: the server keeps a thread for every stream that it lost until the grace period is over.
const faultGrace = 10 * time.Second

// quiet is for tests with so many faults that their log would say nothing.
var quiet = slog.New(slog.DiscardHandler)

// errInjected is the error of all hooks here.
var errInjected = errors.New("injected")

// onData makes a hook of one that sees the messages of the data channel.
func onData(t *testing.T, see func(req *raypb.DataRequest, resp *raypb.DataResponse) error) faultproxy.Hook {
	return func(m *faultproxy.Message) error {
		if m.Method != datapath {
			return nil
		}
		if m.Response {
			resp := &raypb.DataResponse{}
			if err := proto.Unmarshal(m.Data, resp); err != nil {
				t.Error(err)
			}
			return see(nil, resp)
		}
		req := &raypb.DataRequest{}
		if err := proto.Unmarshal(m.Data, req); err != nil {
			t.Error(err)
		}
		return see(req, nil)
	}
}

// onPieces makes a hook of one that sees the pieces of values that come one way: on the data channel, or by GetObject.
func onPieces(t *testing.T, way string, see func(*raypb.GetResponse) error) faultproxy.Hook {
	data := onData(t, func(_ *raypb.DataRequest, resp *raypb.DataResponse) error {
		if resp.GetGet() == nil {
			return nil
		}
		return see(resp.GetGet())
	})
	return func(m *faultproxy.Message) error {
		switch {
		case m.Method != way:
			return nil
		case way == datapath:
			return data(m)
		case !m.Response:
			return nil
		}
		get := &raypb.GetResponse{}
		if err := proto.Unmarshal(m.Data, get); err != nil {
			t.Error(err)
		}
		return see(get)
	}
}

// behind opens a session through a middleman.
func behind(t *testing.T) (*faultproxy.Middleman, *ray.Session) {
	t.Helper()
	middleman := faultproxy.NewMiddleman(t, raytest.Head(t).ClientAddress())
	return middleman, open(t, ray.Config{Address: middleman.Address(), ReconnectGrace: faultGrace, Logger: quiet})
}

// increments makes calls one after the other and expects that each ran once.
func increments(t *testing.T, s *ray.Session, n int) {
	t.Helper()
	ctx := deadline(t)
	actor := counter(t, s, ray.ActorOptions{})
	for i := range n {
		if v, err := actor.Call(ctx, "incr"); v != int64(i+1) {
			t.Fatalf("call %d gave %v, %v", i+1, v, err)
		}
	}
	if v, err := actor.Call(ctx, "value"); v != int64(n) {
		t.Errorf("%d calls, %v executed; %v", n, v, err)
	}
}

// 100 increments while every 7th message fails, in both directions.
func TestEverySeventhMessageFails(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	var messages atomic.Int64
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		if req.GetTask() == nil && req.GetGet() == nil && resp.GetTaskTicket() == nil && resp.GetGet() == nil {
			return nil
		}
		if messages.Add(1)%7 == 0 {
			return errInjected
		}
		return nil
	}))
	increments(t, s, 100)
	if stats := s.Stats(); stats.Reconnects < 40 || stats.Resent < 40 {
		t.Errorf("the errors had no effect: %+v", stats)
	}
}

// 100 increments while every 7th message fails and every 11th cuts the whole connection.
func TestMessagesFailAndConnectionsAreCut(t *testing.T) {
	t.Parallel()
	middleman := faultproxy.NewMiddleman(t, raytest.Head(t).ClientAddress())
	cutter := faultproxy.New(t, middleman.Address())
	s := open(t, ray.Config{Address: cutter.Address(), ReconnectGrace: faultGrace, Logger: quiet})
	var messages atomic.Int64
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		if req.GetTask() == nil && resp.GetTaskTicket() == nil && resp.GetGet() == nil {
			return nil
		}
		switch n := messages.Add(1); {
		case n%11 == 0:
			cutter.Cut()
		case n%7 == 0:
			return errInjected
		}
		return nil
	}))
	increments(t, s, 100)
	if stats := s.Stats(); stats.Reconnects < 40 {
		t.Errorf("the cuts had no effect: %+v", stats)
	}
}

// 500 puts while a tenth of the answers are lost. They are in flight together, so that one broken stream loses more than
// one of them.
func TestPutsWithLostAnswers(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	var answers atomic.Int64
	middleman.SetHook(onData(t, func(_ *raypb.DataRequest, resp *raypb.DataResponse) error {
		if resp.GetPut() != nil && answers.Add(1)%10 == 0 {
			return errInjected
		}
		return nil
	}))
	refs := make([]*ray.ObjectRef, 500)
	var putters sync.WaitGroup
	for worker := range 10 {
		putters.Go(func() {
			for i := worker; i < len(refs); i += 10 {
				var err error
				if refs[i], err = s.Put(ctx, i); err != nil {
					t.Errorf("put %d: %v", i, err)
					return
				}
			}
		})
	}
	putters.Wait()
	if t.Failed() {
		return
	}
	middleman.SetHook(nil)
	ids := map[string]bool{}
	values, err := s.GetAll(ctx, refs)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if v != int64(i) {
			t.Errorf("value %d is %v", i, v)
		}
		ids[refs[i].ID()] = true
	}
	if len(ids) != len(refs) || s.Stats().Reconnects < 20 {
		t.Errorf("%d objects, %+v", len(ids), s.Stats())
	}
}

// The session begins although the first answers to its beginning are lost, and ends although its farewell is.
func TestFaultsAtBeginningAndEnd(t *testing.T) {
	t.Parallel()
	middleman := faultproxy.NewMiddleman(t, raytest.Head(t).ClientAddress())
	var inits atomic.Int64
	middleman.SetHook(onData(t, func(_ *raypb.DataRequest, resp *raypb.DataResponse) error {
		if resp.GetInit() != nil && inits.Add(1) == 1 {
			return errInjected
		}
		return nil
	}))
	ns := raytest.Namespace(t)
	s := open(t, ray.Config{Address: middleman.Address(), Namespace: ns, ReconnectGrace: time.Second})
	if inits.Load() != 2 {
		t.Errorf("%d sessions were begun", inits.Load())
	}
	actor := counter(t, s, ray.ActorOptions{Name: "one"})
	if err := second(actor.Call(deadline(t), "incr")); err != nil {
		t.Fatal(err)
	}
	var farewells atomic.Int64
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, _ *raypb.DataResponse) error {
		if req.GetConnectionCleanup() != nil {
			farewells.Add(1)
			return errInjected
		}
		return nil
	}))
	closeSession(t, s)
	if farewells.Load() == 0 {
		t.Error("no farewell was sent")
	}
	// The server forgets the session after its grace period instead, and what it held.
	other := open(t, ray.Config{Namespace: ns})
	waitFor(t, "the actor to end", func() bool {
		_, err := other.GetActor(deadline(t), "one", "")
		return errors.Is(err, ray.ErrActorNotFound)
	})
}

// The connection is cut while a session begins, at the last chunk of a put and while the session ends: before the message
// arrives, and once more after it did, when its answer is lost.
func TestCutsAtBeginningAndEnd(t *testing.T) {
	t.Parallel()
	value := pattern(11 << 20) // three chunks
	for _, answers := range []bool{false, true} {
		middleman := faultproxy.NewMiddleman(t, raytest.Head(t).ClientAddress())
		cutter := faultproxy.New(t, middleman.Address())
		var mu sync.Mutex
		seen := map[string]int{} // messages of the side that is cut
		stored := map[string]bool{}
		large := false // what is put is the value, and not a class
		middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
			mu.Lock()
			defer mu.Unlock()
			if id := resp.GetPut().GetId(); large && id != nil {
				stored[string(id)] = true
			}
			put := req.GetPut()
			what := ""
			switch {
			case answers != (resp != nil):
				return nil
			case req.GetInit() != nil || resp.GetInit() != nil:
				what = "init"
			case large && (put != nil && put.GetChunkId() == put.GetTotalChunks()-1 || resp.GetPut() != nil):
				what = "put"
			case req.GetConnectionCleanup() != nil || resp.GetConnectionCleanup() != nil:
				what = "farewell"
			default:
				return nil
			}
			if seen[what]++; seen[what] > 1 {
				return nil
			}
			if cutter.Cut() == 0 {
				t.Errorf("%s: there is no connection to cut", what)
			}
			return errInjected
		}))
		ns := raytest.Namespace(t)
		s := open(t, ray.Config{Address: cutter.Address(), Namespace: ns, ReconnectGrace: 2 * time.Second, Logger: quiet})
		ctx := deadline(t)
		if err := second(counter(t, s, ray.ActorOptions{Name: "one"}).Call(ctx, "incr")); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		large = true
		mu.Unlock()
		ref, err := s.Put(ctx, value)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := s.Get(ctx, ref); err != nil || !bytes.Equal(v.([]byte), value) {
			t.Errorf("the value changed on the way; %v", err)
		}
		closeSession(t, s)
		mu.Lock()
		if seen["init"] != 2 || seen["put"] != 2 || seen["farewell"] == 0 || len(stored) != 1 || s.Stats().Reconnects == 0 {
			t.Errorf("answers %v: messages %v, %d objects, %+v", answers, seen, len(stored), s.Stats())
		}
		mu.Unlock()
		// Whether the farewell arrived or not, the server lets go of what it held.
		other := open(t, ray.Config{Namespace: ns, Logger: quiet})
		waitFor(t, "the actor to end", func() bool {
			_, err := other.GetActor(deadline(t), "one", "")
			return errors.Is(err, ray.ErrActorNotFound)
		})
	}
}

// Bytes that the server cannot read end the session, and say so; the next one works.
func TestGarbageEndsTheSession(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	middleman.SetHook(func(m *faultproxy.Message) error {
		req := &raypb.DataRequest{}
		if m.Method != datapath || m.Response {
			return nil
		}
		if err := proto.Unmarshal(m.Data, req); err != nil || req.GetTask() == nil {
			return err
		}
		req.GetTask().Data = []byte("no pickle")
		data, err := proto.Marshal(req)
		m.Data = data
		return err
	})
	_, err := s.Submit(ctx, function("echo"), 1)
	if !errors.Is(err, ray.ErrSessionLost) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("%v", err)
	}
	waitLost(t, s)
	middleman.SetHook(nil)
	again := open(t, ray.Config{Address: middleman.Address()})
	if err := again.Ping(ctx); err != nil {
		t.Error(err)
	}
}

// Everything that is known to end a session is refused before it is sent, or goes a way where it does no harm.
func testWhatWouldEndTheSession(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	dead := releasedRef(t, s)
	actor := counter(t, s, ray.ActorOptions{})
	gone := counter(t, s, ray.ActorOptions{})
	gone.Release()
	for name, c := range map[string]struct {
		err    error
		want   error
		unsent bool
	}{
		"a released ref as argument":     {second(s.Submit(ctx, function("echo"), dead)), ray.ErrReleased, true},
		"deep inside":                    {second(s.Submit(ctx, function("echo"), map[string]any{"a": []any{dead}})), ray.ErrReleased, true},
		"as keyword":                     {second(s.Submit(ctx, function("echo"), ray.Kwargs{"value": dead})), ray.ErrReleased, true},
		"a released handle as argument":  {second(actor.Submit(ctx, "echo", gone)), ray.ErrReleased, true},
		"a nil ref":                      {second(s.Submit(ctx, function("echo"), (*ray.ObjectRef)(nil))), ray.ErrReleased, true},
		"a method of a released handle":  {second(gone.Submit(ctx, "incr")), ray.ErrReleased, true},
		"kill with a released handle":    {s.Kill(ctx, gone, true), ray.ErrReleased, true},
		"wait for a released ref":        {second3(s.Wait(ctx, []*ray.ObjectRef{dead}, 1)), ray.ErrReleased, true},
		"asking for a released ref":      {second3(s.Ready(ctx, []*ray.ObjectRef{dead})), ray.ErrReleased, true},
		"cancel of a released ref":       {s.Cancel(ctx, dead, true, true), ray.ErrReleased, true},
		"a value without form":           {second(s.Submit(ctx, function("echo"), make(chan int))), ray.ErrUnsupportedValue, true},
		"a wrong option":                 {second(s.SubmitWith(ctx, function("echo"), ray.TaskOptions{MaxRetries: new(-5)}, 1)), ray.ErrInvalidOption, true},
		"a method that is no name":       {second(actor.Submit(ctx, "no name")), ray.ErrNoSuchMethod, true},
		"a method that is not there":     {second(actor.Submit(ctx, "no_such_method")), ray.ErrNoSuchMethod, true},
		"a module that is not there":     {second(s.Submit(ctx, ray.Function{Module: "nomodule", Name: "f"})), nil, false},
		"an exception that is not there": {second(s.SubmitWith(ctx, function("echo"), ray.TaskOptions{RetryExceptions: []ray.Function{{Module: "nomodule", Name: "E"}}}, 1)), nil, false},
	} {
		switch {
		case c.err == nil, c.want != nil && !errors.Is(c.err, c.want), c.unsent && ray.SentOf(c.err) != ray.SentNo:
			t.Errorf("%s: %v", name, c.err)
		case errors.Is(c.err, ray.ErrSessionLost):
			t.Fatalf("%s ended the session: %v", name, c.err)
		case c.want == nil && !strings.Contains(c.err.Error(), "nomodule"):
			t.Errorf("%s: %v", name, c.err)
		}
	}
	if err := second(actor.Call(ctx, "incr")); err != nil {
		t.Errorf("the session suffered: %v", err)
	}
}

func second3[T, U any](_ T, _ U, err error) error { return err }
