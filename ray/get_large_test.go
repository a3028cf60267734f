package ray_test

import (
	"bytes"
	"context"
	"errors"
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

const getObject = "/ray.rpc.RayletDriver/GetObject"

// ways counts the pieces of values by the way they came, and the requests for them.
type ways struct{ apartAsked, apartCame, dataAsked, dataCame atomic.Int64 }

// watch makes a hook that counts; change, when not nil, sees each answer of a call of its own, with its number.
func (w *ways) watch(t *testing.T, change func(n int64, resp *raypb.GetResponse) error) faultproxy.Hook {
	data := onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		if req.GetGet() != nil {
			w.dataAsked.Add(1)
		}
		if resp.GetGet() != nil {
			w.dataCame.Add(1)
		}
		return nil
	})
	return func(m *faultproxy.Message) error {
		switch {
		case m.Method != getObject:
			return data(m)
		case !m.Response:
			w.apartAsked.Add(1)
			return nil
		}
		n := w.apartCame.Add(1)
		if change == nil {
			return nil
		}
		resp := &raypb.GetResponse{}
		if err := proto.Unmarshal(m.Data, resp); err != nil {
			t.Error(err)
		}
		err := change(n, resp)
		if changed, failed := proto.Marshal(resp); failed == nil {
			m.Data = changed
		}
		return err
	}
}

func (w *ways) check(t *testing.T, what string, apartAsked, apartCame, dataAsked, dataCame int64) {
	t.Helper()
	got := []int64{w.apartAsked.Swap(0), w.apartCame.Swap(0), w.dataAsked.Swap(0), w.dataCame.Swap(0)}
	for i, want := range []int64{apartAsked, apartCame, dataAsked, dataCame} {
		if got[i] != want {
			t.Errorf("%s: asked apart, pieces apart, asked on the data channel, pieces there: %d", what, got)
			return
		}
	}
}

// A value that is known to be large comes by a call of its own: one that was put, or that came before.
func TestLargeValuesComeByCallsOfTheirOwn(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(12 << 20)
	fetch := func(ref *ray.ObjectRef) {
		t.Helper()
		if v, err := ray.Get[[]byte](ctx, s, ref); err != nil || !bytes.Equal(v, value) {
			t.Fatalf("%d bytes came; %v", len(v), err)
		}
	}
	large := must(t)(s.Put(ctx, value))
	small := must(t)(s.Put(ctx, value[:1<<20]))
	result := must(t)(s.Submit(ctx, function("echo"), value))
	var seen ways
	middleman.SetHook(seen.watch(t, nil))
	before := s.Stats()
	fetch(large)
	seen.check(t, "a large value that was put", 1, 3, 0, 0)
	if now := s.Stats(); now.BytesCame-before.BytesCame < int64(len(value)) || now.Answers == before.Answers || now.Requests == before.Requests {
		t.Errorf("%+v after %+v", now, before)
	}
	if v, err := ray.Get[[]byte](ctx, s, small); err != nil || !bytes.Equal(v, value[:1<<20]) {
		t.Error(err)
	}
	seen.check(t, "a small one", 0, 0, 1, 1)
	fetch(result)
	seen.check(t, "a result whose size nobody knows", 0, 0, 1, 3)
	fetch(result)
	seen.check(t, "the same again", 1, 3, 0, 0)

	// Several at once, of one ref and of others, get a value of their own each.
	other := must(t)(s.Put(ctx, value))
	third := must(t)(s.Put(ctx, value))
	var getters sync.WaitGroup
	for range 4 {
		for _, ref := range []*ray.ObjectRef{large, result, other, third} {
			getters.Go(func() {
				v, err := ray.Get[[]byte](ctx, s, ref)
				if err != nil || !bytes.Equal(v, value) {
					t.Errorf("%d bytes came; %v", len(v), err)
				}
				clear(v)
			})
		}
	}
	getters.Wait()

	// What Wait brought is there for Get.
	seen = ways{}
	middleman.SetHook(seen.watch(t, nil))
	if ready, _, err := s.Wait(ctx, []*ray.ObjectRef{large}, 1); err != nil || len(ready) != 1 {
		t.Error(ready, err)
	}
	fetch(large)
	seen.check(t, "after a Wait", 1, 3, 0, 0)
}

// What is in a large value is what is in any other.
func testRefsInLargeValues(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	inner := must(t)(s.Put(ctx, "inner"))
	outer := must(t)(s.Put(ctx, []any{inner, pattern(6 << 20)}))
	inner.Release()
	for range 3 {
		v, err := s.Get(ctx, outer)
		if err != nil {
			t.Fatal(err)
		}
		again := v.([]any)[0].(*ray.ObjectRef)
		if v, err := s.Get(ctx, again); v != "inner" {
			t.Errorf("%v, %v", v, err)
		}
		again.Release()
		time.Sleep(60 * time.Millisecond) // lets the releases fall before, between and behind the gets
	}
	// The values of a GetAll are fetched one by one where they are few.
	values, err := s.GetAll(ctx, []*ray.ObjectRef{outer, outer})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		if v, err := s.Get(ctx, v.([]any)[0].(*ray.ObjectRef)); v != "inner" {
			t.Errorf("%v, %v", v, err)
		}
	}
}

// A ref in a large value that was released is alive again when the value is fetched again, also while the server has not come
// to the release yet.
func TestRefsInLargeValuesWhileReleasesTakeTheirTime(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	inner := must(t)(s.Put(ctx, "inner"))
	outer := must(t)(s.Put(ctx, []any{inner, pattern(6 << 20)}))
	inner.Release()
	waitFor(t, "the release of the inner ref", func() bool { return s.Stats().Refs == 1 && s.Stats().Outstanding == 0 })
	for range 2 {
		asked := make(chan struct{})
		var once sync.Once
		middleman.SetHook(onData(t, func(req *raypb.DataRequest, _ *raypb.DataResponse) error {
			if req.GetRelease() != nil {
				once.Do(func() {
					close(asked)
					time.Sleep(time.Second)
				})
			}
			return nil
		}))
		v, err := s.Get(ctx, outer)
		if err != nil {
			t.Fatal(err)
		}
		v.([]any)[0].(*ray.ObjectRef).Release()
		<-asked
		v, err = s.Get(ctx, outer)
		if err != nil {
			t.Fatal(err)
		}
		again := v.([]any)[0].(*ray.ObjectRef)
		if v, err := s.Get(ctx, again); v != "inner" {
			t.Errorf("%v, %v", v, err)
		}
		again.Release()
		waitFor(t, "the releases", func() bool { return s.Stats().Refs == 1 && s.Stats().Outstanding == 0 })
	}
}

// Where a call of its own does not work out, the data channel brings the value, from its beginning.
func TestALargeValueThatComesOnTheDataChannelInstead(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(12 << 20)
	ref := must(t)(s.Put(ctx, value))
	for name, c := range map[string]struct {
		change      func(n int64, resp *raypb.GetResponse) error
		asked, came int64 // apart
		on          int64 // the data channel
	}{
		"not ready in time": {func(_ int64, resp *raypb.GetResponse) error {
			proto.Reset(resp)
			resp.Error = []byte("no matter what")
			return nil
		}, 1, 1, 1},
		"refused in the middle": {func(n int64, resp *raypb.GetResponse) error {
			if n == 2 {
				resp.Valid = false
			}
			return nil
		}, 1, 2, 1},
		"a link that ends each time": {func(int64, *raypb.GetResponse) error { return errInjected }, 3, 3, 1},
		"a link that ends at the second piece": {func(_ int64, resp *raypb.GetResponse) error {
			if resp.ChunkId == 1 {
				return errInjected
			}
			return nil
		}, 4, 5, 1},
		"a piece that is damaged once": {func(n int64, resp *raypb.GetResponse) error {
			if n == 3 {
				resp.Data = resp.Data[1:]
			}
			return nil
		}, 2, 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var seen ways
			middleman.SetHook(seen.watch(t, c.change))
			var last ray.Progress
			v, err := ray.Get[[]byte](ray.WithProgress(ctx, func(p ray.Progress) { last = p }), s, ref)
			if err != nil || !bytes.Equal(v, value) {
				t.Errorf("%d bytes came; %v", len(v), err)
			}
			if last.Upload || last.Done != last.Total || last.Total < int64(len(value)) {
				t.Errorf("%+v", last)
			}
			// A piece may have passed and been lost with the call behind it.
			if asked, came := seen.apartAsked.Load(), seen.apartCame.Load(); asked != c.asked || came < c.came-1 || came > c.came+1 {
				t.Errorf("%d requests and %d answers apart, want %d and %d", asked, came, c.asked, c.came)
			}
			if n := seen.dataAsked.Load(); n != c.on {
				t.Errorf("%d requests on the data channel, want %d", n, c.on)
			}
		})
	}
}

// A server without a free thread takes no notice of a call of its own. Who waits for the value is not kept waiting, and what
// the caller's time allows holds meanwhile.
func TestALargeValueOfAServerThatTakesNoNotice(t *testing.T) {
	t.Parallel()
	middleman := faultproxy.NewMiddleman(t, raytest.Head(t).ClientAddress())
	s := open(t, ray.Config{Address: middleman.Address(), ReconnectGrace: faultGrace, Logger: quiet, CallTimeout: 2 * time.Second})
	ctx := deadline(t)
	value := pattern(12 << 20)
	ref := must(t)(s.Put(ctx, value))
	stuck := make(chan struct{})
	middleman.SetHook(func(m *faultproxy.Message) error {
		if m.Method == getObject && !m.Response {
			<-stuck
		}
		return nil
	})
	t.Cleanup(func() { close(stuck) })
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	got := make(chan error, 1)
	go func() { got <- second(s.Get(short, ref)) }()
	patient := make(chan error, 1)
	go func() {
		v, err := ray.Get[[]byte](ctx, s, ref)
		if err == nil && !bytes.Equal(v, value) {
			err = errors.New("the value changed on the way")
		}
		patient <- err
	}()
	if err := <-got; !errors.Is(err, ray.ErrGetTimeout) || !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentMaybe {
		t.Errorf("with a short deadline: %v", err)
	}
	if err := second(s.Get(context.Background(), ref)); !errors.Is(err, ray.ErrCallTimeout) || !errors.Is(err, ray.ErrGetTimeout) {
		t.Errorf("without a deadline: %v", err)
	}
	if err := <-patient; err != nil {
		t.Error(err)
	}
}

// Close waits for a value that is under way, and ends one that nobody waits for.
func TestCloseAndLargeValues(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(12 << 20)
	ref := must(t)(s.Put(ctx, value))
	begun, goOn := make(chan struct{}), make(chan struct{})
	var seen ways
	middleman.SetHook(seen.watch(t, func(n int64, _ *raypb.GetResponse) error {
		if n == 2 {
			close(begun)
			<-goOn
		}
		return nil
	}))
	got := make(chan error, 1)
	go func() { got <- second(s.Get(ctx, ref)) }()
	<-begun
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeSession(t, s)
	}()
	waitFor(t, "the session to be closing", func() bool { return errors.Is(s.Ping(ctx), ray.ErrClosed) })
	close(goOn)
	if err := <-got; err != nil {
		t.Errorf("the value under way: %v", err)
	}
	<-closed

	middleman, s = behind(t)
	ref = must(t)(s.Put(ctx, value))
	stuck := make(chan struct{})
	middleman.SetHook(func(m *faultproxy.Message) error {
		if m.Method == getObject && m.Response {
			<-stuck
		}
		return nil
	})
	t.Cleanup(func() { close(stuck) })
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := second(s.Get(short, ref)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	closeSession(t, s)
}
