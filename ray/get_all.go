package ray

import (
	"context"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	// getAhead is how many gets of one GetAll are under way at once.
	getAhead = 1000
	// getTogetherMin and getTogetherMax bound how many values are asked for in one request. Below, single gets are as fast;
	// above, the server would put too much into one pickle.
	getTogetherMin, getTogetherMax = 8, 256
	// getTogetherTimeout is for how many seconds the server waits for the values. It has a thread for each such request, so
	// that a session makes one at a time and falls back to gets that occupy nothing. Python's client has the same bound.
	getTogetherTimeout = 2
)

// GetAll waits for the values of several refs, which are fetched at the same time, and returns them in their order; see
// Get. The first failure, in that order, is the error, and the rest is given up. One ref may occur several times. Byte
// strings and arrays of several values may lie in one buffer: clone what is to be kept much longer than the rest.
func (s *Session) GetAll(ctx context.Context, refs []*ObjectRef) ([]any, error) {
	const target = "get all"
	used, err := s.acquireAll(ctx, target, refs)
	if err != nil {
		return nil, err
	}
	defer s.refs.unuse(used)
	values := make([]any, len(refs))
	done := 0
	if distinct(used) {
		for len(used)-done >= getTogetherMin {
			n := min(len(used)-done, getTogetherMax)
			if !s.getTogether(ctx, used[done:done+n], values[done:]) {
				break
			}
			done += n
		}
	}
	if err := s.getEach(ctx, target, used, values, done); err != nil {
		return nil, err
	}
	return values, nil
}

// getEach fetches the values from number next on, each by a get of its own.
func (s *Session) getEach(ctx context.Context, target string, used []*tracked, values []any, next int) error {
	var err error
	started := make([]*request, len(used))
	first := next
	start := func(until int) error {
		for ; next < min(until, len(used)); next++ {
			r, err := s.fetch(ctx, target, used[next])
			if err != nil {
				return err
			}
			started[next] = r
		}
		return nil
	}
	for i := first; i < len(used); i++ {
		if err = start(i + getAhead); err != nil {
			break
		}
		r := started[i]
		started[i] = nil
		if values[i], err = s.value(ctx, target, used[i], r); err != nil {
			err = fmt.Errorf("[%d]: %w", i, err)
			break
		}
	}
	if err != nil {
		for _, r := range started {
			if r != nil {
				s.refs.stopFetching(r)
			}
		}
	}
	return err
}

// getTogether fetches values by one request, which costs the server a fraction of as many gets. It reports false, and
// leaves values alone, whenever that does not work out: a value is not there soon, a task failed, the connection was cut,
// another such request is under way. Single gets then tell what is the matter.
func (s *Session) getTogether(ctx context.Context, used []*tracked, values []any) bool {
	select {
	case s.together <- struct{}{}:
		defer func() { <-s.together }()
	default:
		return false
	}
	if ctx.Err() != nil || s.out.enter() != nil {
		return false
	}
	defer s.out.leave()
	in := &raypb.GetRequest{Ids: make([][]byte, len(used)), Timeout: getTogetherTimeout}
	for i, t := range used {
		in.Ids[i] = []byte(t.id)
	}
	mark := s.refs.settled()
	data, ok := s.getList(ctx, in)
	if !ok {
		return false
	}
	v, stubs, err := load(data)
	if err != nil || !s.refs.adopt(stubs, mark) {
		return false
	}
	ok = s.spread(v, len(data), values[:len(used)])
	for _, st := range stubs {
		if !ok || st.value == nil {
			st.handle.release()
		}
	}
	return ok
}

// getStall is for how long an answer may bring nothing: a server without a free thread takes no notice of the request.
const getStall = (getTogetherTimeout + 3) * time.Second

// getList makes the request, and returns the pickle of a list.
func (s *Session) getList(ctx context.Context, in *raypb.GetRequest) ([]byte, bool) {
	live, cancel := context.WithCancel(s.outgoing(ctx))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	stalled := time.AfterFunc(getStall, cancel)
	defer stalled.Stop()
	var object assembler
	err := s.getObject(live, in, &object, func() { stalled.Reset(getStall) })
	return object.bytes(), err == nil
}

// spread converts the list v into values, unless one of them has a meaning of its own.
func (s *Session) spread(v any, size int, values []any) bool {
	list, ok := v.(*pickle.List)
	if !ok || len(list.Items) != len(values) {
		return false
	}
	out := make([]any, len(values))
	decoder := s.decoder(size)
	for i, item := range list.Items {
		if exceptionOf("", item) != nil {
			return false
		}
		var err error
		if out[i], err = converted(decoder, item); err != nil {
			return false
		}
	}
	copy(values, out)
	return true
}

// distinct reports whether no ref occurs twice. Two places of a list would share what is one value.
func distinct(used []*tracked) bool {
	seen := make(map[*tracked]struct{}, len(used))
	for _, t := range used {
		seen[t] = struct{}{}
	}
	return len(seen) == len(used)
}
