package ray

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// stream is one streaming call: what arrived, and how far its caller has come. It ends twice: for its caller, who took
// the last item or left, and for this process, when the worker has answered the call.
type stream struct {
	d                           *Direct
	t                           *target
	r                           *route
	target                      callee
	size                        int64
	limit                       int64 // how far the method may be ahead of the caller
	taskID, generatorID, caller []byte
	x                           *exchange
	done                        chan struct{} // closed when x is over
	arrived                     chan struct{} // holds a token when the next item may be there
	delivered                   int64         // of the goroutine that ranges over it

	mu       sync.Mutex // guards the fields below
	items    map[int64]item
	next     int64       // the index of the item that the caller gets next
	told     int64       // how many items the worker knows, or is about to be told, that the caller has taken
	telling  bool        // it is being told
	held     []report    // whose answers wait for the caller
	broken   error       // why the worker's reports are not believed any more
	left     bool        // the caller does not want more
	answered bool        // the call has been answered
	giveUp   *time.Timer // ends a call whose caller has left
}

// item is one item that arrived. An object store's copy of it has been freed; kept says if that failed.
type item struct {
	object *corepb.ReturnObject
	kept   error
}

// report is the answer to a report of items that waits until the caller has taken so many.
type report struct {
	until int64
	done  chan struct{}
}

// reordered is how far beyond the limit an index may be: some workers look at it only after an item was made.
const reordered = 64

// accept takes a report of items in, and returns how many items the caller has taken as soon as there is room for more.
func (s *stream) accept(ctx context.Context, req *corepb.ReportGeneratorItemReturnsRequest) (int64, error) {
	objects := req.GetReturnedObjects()
	var kept error
	if ids := stored(&corepb.PushTaskReply{ReturnObjects: objects}); len(ids) > 0 {
		kept = s.d.free(s.t, ids)
	}
	s.mu.Lock()
	if s.left || s.broken != nil || s.answered {
		s.mu.Unlock()
		return 0, errNotWanted
	}
	for i, object := range objects {
		index := req.GetItemIndex() + int64(i)
		if at, ok := s.objectIndex(object.GetObjectId()); !ok || at != index || index >= s.next+s.limit+reordered || req.GetAttemptNumber() != 0 {
			s.broken = errors.New("the worker reported an item that cannot be of this stream now")
			s.release()
			s.wake()
			s.mu.Unlock()
			return 0, errNotWanted
		}
		if index >= s.next { // else it came twice
			s.items[index] = item{object, kept}
		}
	}
	s.wake()
	wait := report{until: req.GetItemIndex() + int64(len(objects)) - s.limit + 1, done: make(chan struct{})}
	if s.next >= wait.until {
		defer s.mu.Unlock()
		return s.next, nil
	}
	s.held = append(s.held, wait)
	s.mu.Unlock()
	select {
	case <-wait.done:
	case <-ctx.Done():
		return 0, status.FromContextError(ctx.Err()).Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left || s.broken != nil {
		return 0, errNotWanted
	}
	return s.next, nil
}

// errNotWanted answers reports of items that nobody takes. The worker does not wait after it.
var errNotWanted = status.Error(codes.NotFound, "the stream has ended")

// wake tells the caller to look; s.mu is held.
func (s *stream) wake() {
	select {
	case s.arrived <- struct{}{}:
	default:
	}
}

// release answers the reports that have waited long enough; s.mu is held.
func (s *stream) release() {
	all := s.left || s.broken != nil
	kept := s.held[:0]
	for _, r := range s.held {
		if all || s.next >= r.until {
			close(r.done)
		} else {
			kept = append(kept, r)
		}
	}
	clear(s.held[len(kept):])
	s.held = kept
}

// take returns the next item if it is there.
func (s *stream) take() (i item, there bool, broken error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, there = s.items[s.next]; !there {
		return i, false, s.broken
	}
	delete(s.items, s.next)
	s.next++
	s.release()
	if s.next-s.told >= (s.limit+1)/2 && !s.telling && !s.answered {
		s.telling = true
		s.d.background.Go(s.tell) // while the call is counted
	}
	return i, true, nil
}

// tell lets the worker know how many items the caller has taken, until that is not news any more.
func (s *stream) tell() {
	for {
		s.mu.Lock()
		if s.next-s.told < (s.limit+1)/2 || s.answered || s.left {
			s.telling = false
			s.mu.Unlock()
			return
		}
		s.told = s.next
		req := &corepb.UpdateGeneratorBackpressureConsumedRequest{GeneratorId: s.generatorID, TotalNumObjectConsumed: s.told}
		s.mu.Unlock()
		// A failure is one of the connection, which ends the call as well.
		_, _ = s.t.worker.UpdateGeneratorBackpressureConsumed(s.t.ctx, req)
	}
}

// ended counts the call out, when the worker has answered it.
func (s *stream) ended() {
	s.mu.Lock()
	s.answered = true
	if s.giveUp != nil {
		s.giveUp.Stop()
	}
	s.mu.Unlock()
	s.d.owner.remove(s)
	s.d.end(s.r, s.t, s.size)
}

// deliver hands the items to the caller. It returns true when the worker did not take the call, which may be repeated.
func (s *stream) deliver(ctx context.Context, yield func(any, error) bool) (again bool) {
	defer func() {
		if !again {
			s.leave()
		}
	}()
	done := s.done
	item, cancel := bound(ctx, s.d.opts.CallTimeout, 0)
	defer func() { cancel() }()
	for {
		i, there, broken := s.take()
		switch {
		case there:
			v, last, err := s.value(s.delivered, i)
			s.delivered++
			if !yield(v, err) || last {
				return false
			}
			cancel()
			item, cancel = bound(ctx, s.d.opts.CallTimeout, 0)
			continue
		case broken != nil:
			yield(nil, &CallError{Target: s.target.String(), Sent: SentYes, Err: errors.Join(ErrStreamBroken, broken)})
			return false
		case done == nil: // the worker has answered, and what it reported before was taken
			if s.delivered == 0 && s.x.sent == SentNo && errors.Is(s.x.err, ErrActorUnavailable) {
				return true
			}
			if err := s.outcome(); err != nil {
				yield(nil, err)
			}
			return false
		}
		select {
		case <-s.arrived:
		case <-done:
			done = nil
			s.x.heard(ctx, s.d.opts.Tracer)
		case <-item.Done():
			yield(nil, &CallError{Target: s.target.String(), Sent: SentMaybe, Err: ended(item)})
			return false
		}
	}
}

// leave ends the stream for its caller. A method that still runs is told to stop, and the call goes on behind the caller
// for a bounded time.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	s.items = nil
	s.release()
	if s.answered {
		return
	}
	s.giveUp = time.AfterFunc(s.d.bounds.abandon, s.x.call.Cancel)
	s.d.background.Go(func() { s.t.cancelTask(s.taskID, s.caller, s.done) }) // while the call is counted
	s.t.doubt()
}
