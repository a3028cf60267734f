package ray_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// A get of 64 MiB while every third chunk fails goes on at the chunk that failed: on the data channel, where a result comes
// the first time, and by a call of its own after that.
func TestEveryThirdChunkOfAGetFails(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(64 << 20)
	ref, err := s.Submit(ctx, function("echo"), value)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{datapath, getObject} {
		var mu sync.Mutex
		passed := map[int32]int{}
		chunks, failures := 0, 0
		see := func(get *raypb.GetResponse) error {
			mu.Lock()
			defer mu.Unlock()
			if chunks++; chunks%3 == 0 {
				failures++
				return errInjected
			}
			passed[get.GetChunkId()]++
			return nil
		}
		middleman.SetHook(onPieces(t, way, see))
		v, err := s.Get(ctx, ref)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := v.([]byte); !ok || !bytes.Equal(got, value) {
			t.Errorf("%s: the value changed on the way", way)
		}
		mu.Lock()
		if failures < 5 {
			t.Errorf("%s: %d failures", way, failures)
		}
		// A chunk that passed the middleman may have been lost with the stream behind it, now and then.
		again := 0
		for _, n := range passed {
			again += n - 1
		}
		if again > failures {
			t.Errorf("%s: %d chunks travelled again after %d failures: the get did not go on where it was", way, again, failures)
		}
		mu.Unlock()
	}
}

// Many values that are asked for together, while every third piece of what comes fails: what that request does not bring,
// single gets do, each of which goes on at the piece that failed.
func TestEveryThirdChunkOfManyValuesFails(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(6 << 20)
	refs := make([]*ray.ObjectRef, 8)
	for i := range refs {
		var err error
		if refs[i], err = s.Put(ctx, value[i:]); err != nil {
			t.Fatal(err)
		}
	}
	var together, single, failures atomic.Int64
	middleman.SetHook(func(m *faultproxy.Message) error {
		n := int64(0)
		switch {
		case !m.Response:
		case m.Method == getObject:
			n = together.Add(1)
		case m.Method == datapath:
			resp := &raypb.DataResponse{}
			if err := proto.Unmarshal(m.Data, resp); err != nil {
				t.Error(err)
			}
			if resp.GetGet() != nil {
				n = single.Add(1)
			}
		}
		if n > 0 && n%3 == 0 {
			failures.Add(1)
			return errInjected
		}
		return nil
	})
	values, err := s.GetAll(ctx, refs)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if got, ok := v.([]byte); !ok || !bytes.Equal(got, value[i:]) {
			t.Errorf("value %d changed on the way", i)
		}
	}
	if together.Load() < 3 || single.Load() < 16 || failures.Load() < 5 {
		t.Errorf("%d pieces together, %d alone, %d failures", together.Load(), single.Load(), failures.Load())
	}
}

// endedByChunks reports whether err is how Ray before 2.60 ends a session to which a chunk came again: at this large value, or at
// the next.
func endedByChunks(t *testing.T, err error) bool {
	t.Helper()
	if err == nil || !raytest.RayBefore(t, "2.60") {
		return false
	}
	wantSent(t, err, ray.ErrSessionLost, ray.SentMaybe)
	return true
}

// A put whose eighth chunk fails starts again, and a put whose answer is lost is not done twice.
func TestChunksOfAPutFail(t *testing.T) {
	t.Parallel()
	middleman, s := behind(t)
	ctx := deadline(t)
	value := pattern(43 << 20) // nine chunks
	var eighth, lost atomic.Bool
	var stored sync.Map // ids that the server gave
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		if put := req.GetPut(); put != nil && put.GetChunkId() == 7 && eighth.CompareAndSwap(false, true) {
			return errInjected
		}
		if put := resp.GetPut(); put != nil {
			stored.Store(string(put.GetId()), true)
			if lost.CompareAndSwap(false, true) {
				return errInjected // between the last chunk and its answer
			}
		}
		return nil
	}))
	ref, err := s.Put(ctx, value)
	if err != nil {
		t.Fatal(err)
	}
	if !eighth.Load() || !lost.Load() {
		t.Error("nothing failed")
	}
	n := 0
	stored.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("the value was stored %d times", n)
	}
	// The server's book about chunks is in order.
	length, err := s.Submit(ctx, function("length"), value[:11<<20])
	if endedByChunks(t, err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, length); v != int64(11<<20) {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := s.Get(ctx, ref); err != nil || !bytes.Equal(v.([]byte), value) {
		t.Errorf("the value changed on the way; %v", err)
	}
}
