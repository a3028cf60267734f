package ray_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// The caller of a large put that it gives up half-way may use its memory for something else at once. What is sent after
// that, and sent again after a cut, is the value as it was.
func TestAPutThatIsGivenUpLeavesTheMemoryOfItsCaller(t *testing.T) {
	t.Parallel()
	const giveUp, cut = 5, 10 // the numbers of chunks
	middleman, s := behind(t)
	first, second := make([]byte, 8<<20), make([]byte, 8<<20+5)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(first)
	_, _ = random.Read(second)
	value := map[string]any{"first": first, "list": []any{1, second, "text"}}
	kept := [][]byte{bytes.Clone(first), bytes.Clone(second)}
	ctx, cancel := context.WithCancel(deadline(t))
	left := make(chan struct{}) // closed when the caller has its memory back, and has written to it
	answered := make(chan struct{})
	var mu sync.Mutex // guards put and attempts
	var put int32     // the number of the request
	var attempts [][]byte
	middleman.SetHook(onData(t, func(req *raypb.DataRequest, resp *raypb.DataResponse) error {
		mu.Lock()
		if put != 0 && resp.GetReqId() == put {
			close(answered)
		}
		chunk := req.GetPut()
		if chunk == nil || put != 0 && req.GetReqId() != put {
			mu.Unlock()
			return nil
		}
		put = req.GetReqId()
		if chunk.GetChunkId() == 0 {
			attempts = append(attempts, nil)
		}
		n := len(attempts) - 1
		attempts[n] = append(attempts[n], chunk.GetData()...)
		mu.Unlock()
		switch {
		case n == 0 && chunk.GetChunkId() == giveUp:
			cancel()
			<-left
		case n == 0 && chunk.GetChunkId() == cut:
			return errInjected
		}
		return nil
	}))
	if _, err := s.Put(ctx, value); !errors.Is(err, context.Canceled) || ray.SentOf(err) != ray.SentMaybe {
		t.Fatalf("%v", err)
	}
	clear(first)
	clear(second)
	close(left)
	<-answered
	middleman.SetHook(nil)
	mu.Lock()
	defer mu.Unlock()
	if len(attempts) != 2 {
		t.Fatalf("%d attempts", len(attempts))
	}
	for _, part := range kept {
		if !bytes.Contains(attempts[1], part) {
			t.Error("what was sent again is not the value as it was")
		}
	}
	if !bytes.HasPrefix(attempts[1], attempts[0]) {
		t.Error("what was sent first is not the value as it was")
	}
	ref, err := s.Put(deadline(t), kept[1])
	if err != nil {
		t.Fatal(err)
	}
	if v, err := ray.Get[[]byte](deadline(t), s, ref); err != nil || !bytes.Equal(v, kept[1]) {
		t.Errorf("another put: %d bytes, %v", len(v), err)
	}
}
