package ray

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// acquireAll puts refs into use; the caller returns them with unuse.
func (s *Session) acquireAll(ctx context.Context, target string, refs []*ObjectRef) ([]*tracked, error) {
	refuse := func(err error) ([]*tracked, error) {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	used := make([]*tracked, 0, len(refs))
	for i, ref := range refs {
		t, err := s.refs.acquire(ctx, ref.hold(), s)
		if err != nil {
			s.refs.unuse(used)
			return refuse(fmt.Errorf("[%d]: %w", i, ranOut(err)))
		}
		used = append(used, t)
	}
	runtime.KeepAlive(refs) // until they are in use
	if err := s.Err(); err != nil {
		s.refs.unuse(used)
		return refuse(err)
	}
	return used, nil
}

// Wait waits until numReturns of the refs have a value, or failed, and returns those that have and those that have not,
// each in the order of refs. All that are ready by then are returned, so there may be more than numReturns. When ctx ends
// first, both lists are what they are at that moment, and the error wraps ctx's, and ErrGetTimeout for a deadline. A ref
// must not occur twice.
//
// Values travel to this process as they become ready, and up to 64 MiB of them are kept for the Get that mostly follows.
// Where large values are only to be waited for, use Ready.
func (s *Session) Wait(ctx context.Context, refs []*ObjectRef, numReturns int) (ready, notReady []*ObjectRef, err error) {
	const target = "wait"
	if err := checkWait(refs, numReturns); err != nil {
		return nil, nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	used, err := s.acquireAll(ctx, target, refs)
	if err != nil {
		return nil, nil, err
	}
	defer s.refs.unuse(used)

	enough, cancel := context.WithCancel(ctx)
	var waiters sync.WaitGroup
	stop := func() {
		cancel()
		waiters.Wait()
	}
	defer stop()
	results := make(chan waited, len(refs))
	isReady := make([]bool, len(refs))
	count, late := 0, 0
	for i, t := range used {
		if s.refs.isArrived(t) {
			isReady[i] = true
			count++
		}
	}
	if count < numReturns {
		for i, t := range used {
			if isReady[i] {
				continue
			}
			r, err := s.fetch(ctx, target, t)
			if err != nil {
				return nil, nil, err
			}
			waiters.Go(func() {
				err := s.await(enough, target, r)
				if errors.Is(err, ErrCallTimeout) {
					results <- waited{i, err}
					return
				}
				if enough.Err() == nil || isDone(r) {
					s.refs.keep(r)
					results <- waited{i, err}
				}
			})
		}
	}
	for count < numReturns && err == nil {
		select {
		case w := <-results:
			if !errors.Is(w.err, ErrCallTimeout) {
				isReady[w.index] = true
				count++
				err = s.failedWait(w)
			} else if late++; len(refs)-late < numReturns {
				err = w.err
			}
		case <-ctx.Done():
			err = &CallError{Target: target, Sent: SentMaybe, Err: ranOut(ctx.Err())}
		}
	}
	// Whatever else has arrived by now is ready too.
	stop()
	for len(results) > 0 {
		if w := <-results; s.failedWait(w) == nil && !errors.Is(w.err, ErrCallTimeout) {
			isReady[w.index] = true
		}
	}
	ready, notReady = split(refs, isReady)
	return ready, notReady, err
}

type waited struct {
	index int
	err   error
}

// failedWait is the error of a get that failed with the session. One that failed otherwise has something to say to Get.
func (s *Session) failedWait(w waited) error {
	if w.err != nil && s.Err() != nil {
		return w.err
	}
	return nil
}

func isDone(r *request) bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Ready asks the cluster which of the refs have a value, or failed, at this moment. No value travels, and nothing waits.
func (s *Session) Ready(ctx context.Context, refs []*ObjectRef) (ready, notReady []*ObjectRef, err error) {
	const target = "ready"
	if err := checkWait(refs, 1); err != nil {
		return nil, nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	used, err := s.acquireAll(ctx, target, refs)
	if err != nil {
		return nil, nil, err
	}
	defer s.refs.unuse(used)
	request := &raypb.WaitRequest{ClientId: s.id, NumReturns: int64(len(refs)), Timeout: 0}
	for _, t := range used {
		request.ObjectIds = append(request.ObjectIds, []byte(t.id))
	}
	answer, err := ask(ctx, s, target, s.rpc.WaitObject, request)
	if err != nil {
		return nil, nil, err
	}
	if !answer.GetValid() {
		return nil, nil, &CallError{Target: target, Sent: SentYes, Err: errBadAnswer}
	}
	there := map[string]bool{}
	for _, id := range answer.GetReadyObjectIds() {
		there[string(id)] = true
	}
	isReady := make([]bool, len(refs))
	for i, t := range used {
		isReady[i] = there[t.id]
	}
	ready, notReady = split(refs, isReady)
	return ready, notReady, nil
}

func checkWait(refs []*ObjectRef, numReturns int) error {
	if len(refs) == 0 {
		return fmt.Errorf("%w: no refs", ErrInvalidOption)
	}
	if numReturns < 1 || numReturns > len(refs) {
		return fmt.Errorf("%w: num returns: %d of %d refs", ErrInvalidOption, numReturns, len(refs))
	}
	seen := make(map[*tracked]int, len(refs))
	for i, ref := range refs {
		h := ref.hold()
		if h == nil {
			continue // refused by name later
		}
		if before, ok := seen[h.t]; ok {
			return fmt.Errorf("%w: refs %d and %d are the same object", ErrInvalidOption, before, i)
		}
		seen[h.t] = i
	}
	return nil
}

func split(refs []*ObjectRef, isReady []bool) (ready, notReady []*ObjectRef) {
	for i, ref := range refs {
		if isReady[i] {
			ready = append(ready, ref)
		} else {
			notReady = append(notReady, ref)
		}
	}
	return ready, notReady
}
