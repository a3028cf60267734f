package ray_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// A small value is put without waiting for the answer, and everything that takes a ref takes one whose put has none yet.
func testPutDoesNotWait(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	known, err := s.Submit(ctx, function("echo"), 1) // the function stays
	if err != nil {
		t.Fatal(err)
	}
	defer known.Release()
	refs := s.Stats().Refs
	uses := map[string]func(ref *ray.ObjectRef) error{
		"get": func(ref *ray.ObjectRef) error { return wanted("x")(s.Get(ctx, ref)) },
		"get all": func(ref *ray.ObjectRef) error {
			values, err := s.GetAll(ctx, []*ray.ObjectRef{ref, ref})
			return errors.Join(err, wanted([]any{"x", "x"})(values, nil))
		},
		"wait":  func(ref *ray.ObjectRef) error { return second3(s.Wait(ctx, []*ray.ObjectRef{ref}, 1)) },
		"ready": func(ref *ray.ObjectRef) error { return second3(s.Ready(ctx, []*ray.ObjectRef{ref})) },
		"argument": func(ref *ray.ObjectRef) error {
			result, err := s.Submit(ctx, function("echo"), ref)
			if err != nil {
				return err
			}
			defer result.Release()
			return wanted("x")(s.Get(ctx, result))
		},
		"in a value": func(ref *ray.ObjectRef) error {
			outer, err := s.Put(ctx, []any{ref})
			if err == nil {
				outer.Release()
			}
			return err
		},
		"cancel": func(ref *ray.ObjectRef) error {
			if err := s.Cancel(ctx, ref, false, false); err != nil && !strings.Contains(err.Error(), "ray.put") { // Ray's own refusal
				return err
			}
			return nil
		},
		"id": func(ref *ray.ObjectRef) error {
			if id := ref.ID(); len(id) != 56 || ref.String() != "ObjectRef("+id+")" {
				return fmt.Errorf("%q, %v", id, ref)
			}
			return nil
		},
		"release": func(*ray.ObjectRef) error { return nil },
	}
	for name, use := range uses {
		ref, err := s.Put(ctx, "x")
		if err == nil {
			err = use(ref)
			ref.Release()
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	waitFor(t, "the refs to be released", func() bool { return s.Stats().Refs <= refs && s.Stats().Outstanding == 0 })
}

func wanted(want any) func(got any, err error) error {
	return func(got any, err error) error {
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("got %v", got)
		}
		return err
	}
}

// Many callers put small values at once: each ref is of its caller's value, and nothing is left at the server.
func testPutsOfManyCallers(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	refs := s.Stats().Refs
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			var mine []*ray.ObjectRef
			for i := range 50 {
				ref, err := s.Put(ctx, []int{caller, i})
				if err != nil {
					t.Error(err)
					return
				}
				if i%3 == 0 {
					ref.Release() // mostly before the answer
				} else {
					mine = append(mine, ref)
				}
			}
			values, err := s.GetAll(ctx, mine)
			if err != nil {
				t.Error(err)
				return
			}
			next := 0
			for i := range 50 {
				if i%3 == 0 {
					continue
				}
				if fmt.Sprint(values[next]) != fmt.Sprint([]int{caller, i}) {
					t.Errorf("value %d of caller %d is %v", i, caller, values[next])
				}
				mine[next].Release()
				next++
			}
		})
	}
	all.Wait()
	waitFor(t, "the refs to be released", func() bool { return s.Stats().Refs <= refs && s.Stats().Outstanding == 0 })
}

// While no answers come, four puts of small values go ahead and the next one waits for its turn, as long as its context
// allows. Nothing is lost: what went ahead arrives, and what was refused was not sent.
func TestPutsWithoutAnswers(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	blocked := make(chan struct{})
	var sent sync.Map
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		if put := req.GetPut(); put != nil {
			sent.Store(string(put.GetData()), true)
		}
		if resp.GetPut() != nil {
			<-blocked
		}
		return nil
	}))
	var refs []*ray.ObjectRef
	for i := range 4 {
		ref, err := s.Put(ctx, fmt.Sprint("value ", i))
		if err != nil {
			t.Fatal(err)
		}
		if ref.String() != "ObjectRef(being put)" {
			t.Errorf("%v has an id before there is an answer", ref)
		}
		refs = append(refs, ref)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	for what, err := range map[string]error{
		"a fifth put": second(s.Put(short, "too many")), "a get": second(s.Get(short, refs[0])),
		"an argument": second(s.Submit(short, function("echo"), refs[1])),
	} {
		if !errors.Is(err, context.DeadlineExceeded) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := second(s.Get(short, refs[0])); !errors.Is(err, ray.ErrGetTimeout) {
		t.Errorf("a get: %v", err)
	}
	if held := s.Stats().Refs; held < 4 {
		t.Errorf("%d refs are held", held)
	}
	close(blocked)
	for i, ref := range refs {
		if v, err := s.Get(ctx, ref); v != fmt.Sprint("value ", i) || err != nil {
			t.Errorf("value %d: %v, %v", i, v, err)
		}
	}
	sent.Range(func(data, _ any) bool {
		if strings.Contains(data.(string), "too many") {
			t.Error("a put that was refused was sent")
		}
		return true
	})
}

// A put that went ahead and comes to nothing is told by whatever uses its ref, with the reason.
func TestPutsThatFailLater(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	var refusal *raypb.PutResponse
	middleman.SetHook(onData(t, func(_ *raypb.DataRequest, resp *raypb.DataResponse) error {
		if resp.GetPut().GetError() != nil {
			refusal = resp.GetPut()
		}
		return nil
	}))
	if err := second(s.PythonClass(ctx, "drivertest", "Missing")); err == nil || refusal == nil {
		t.Fatalf("%v, %v", err, refusal)
	}
	answer := func(change func(*raypb.PutResponse)) {
		middleman.SetHook(func(m *faultproxy.Message) error {
			resp := &raypb.DataResponse{}
			if m.Method != datapath || !m.Response {
				return nil
			}
			err := proto.Unmarshal(m.Data, resp)
			if err == nil && resp.GetPut() != nil {
				change(resp.GetPut())
				m.Data, err = proto.Marshal(resp)
			}
			return err
		})
	}
	if err := second(s.Submit(ctx, function("echo"), 1)); err != nil { // the function is known from here on
		t.Fatal(err)
	}
	known, err := s.Put(ctx, "known")
	if err != nil {
		t.Fatal(err)
	}
	knownID, err := hex.DecodeString(known.ID())
	if err != nil {
		t.Fatal(err)
	}
	id := []byte(nil)
	answer(func(resp *raypb.PutResponse) { id = resp.GetId() })
	if v, err := s.Get(ctx, must(t)(s.Put(ctx, 1))); v != int64(1) || err != nil || id == nil {
		t.Fatal(v, err)
	}
	for name, x := range map[string]struct {
		change func(*raypb.PutResponse)
		tells  string
	}{
		"refused":               {func(resp *raypb.PutResponse) { resp.Valid, resp.Id, resp.Error = false, nil, refusal.GetError() }, "Missing"},
		"without an id":         {func(resp *raypb.PutResponse) { resp.Id = nil }, "does not fit"},
		"with another one's id": {func(resp *raypb.PutResponse) { resp.Id = knownID }, "does not fit"},
	} {
		answer(x.change)
		refs := s.Stats().Refs
		ref, err := s.Put(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"get": second(s.Get(ctx, ref)), "argument": second(s.Submit(ctx, function("echo"), ref)),
			"nested": second(s.Put(ctx, []any{ref})), "wait": second3(s.Wait(ctx, []*ray.ObjectRef{ref}, 1)),
		} {
			if err == nil || !strings.Contains(err.Error(), x.tells) || !strings.Contains(err.Error(), "put") {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if ref.ID() != "" {
			t.Errorf("%s: the id is %s", name, ref.ID())
		}
		ref.Release()
		if now := s.Stats().Refs; now != refs {
			t.Errorf("%s: %d refs, %d before", name, now, refs)
		}
	}
	middleman.SetHook(nil)
	if v, err := s.Get(ctx, known); v != "known" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
}

// Puts that are unanswered when the session is lost: their refs say so, and nobody waits for ever.
func TestPutsOfALostSession(t *testing.T) {
	t.Parallel()
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	s := open(t, ray.Config{Address: proxy.Address(), ReconnectGrace: time.Second, Logger: quiet})
	ctx := deadline(t)
	proxy.Stall()
	var refs []*ray.ObjectRef
	for i := range 4 {
		ref, err := s.Put(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	proxy.Refuse(true)
	proxy.Cut()
	waiting := make(chan error, 1)
	go func() { waiting <- second(s.Get(ctx, refs[0])) }()
	var more sync.WaitGroup
	for range 10 {
		more.Go(func() {
			if err := second(s.Put(ctx, "one more")); !errors.Is(err, ray.ErrSessionLost) || ray.SentOf(err) != ray.SentNo {
				t.Errorf("put: %v", err)
			}
		})
	}
	more.Wait()
	if err := <-waiting; !errors.Is(err, ray.ErrSessionLost) {
		t.Errorf("a get that waited: %v", err)
	}
	for _, ref := range refs {
		if err := second(s.Get(ctx, ref)); !errors.Is(err, ray.ErrSessionLost) || ref.ID() != "" || ref.String() != "ObjectRef()" {
			t.Errorf("get: %v, %v with id %q", err, ref, ref.ID())
		}
		ref.Release()
	}
}
