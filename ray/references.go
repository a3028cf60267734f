package ray

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// Releases travel together: as soon as releaseBatch of them wait, or the first has waited for releaseDelay.
const (
	releaseBatch = 64
	releaseDelay = 100 * time.Millisecond
	// releaseMax bounds one release message.
	releaseMax = 10_000
	// maxKept bounds the bytes of values that arrived for Wait and were not asked for yet.
	maxKept = 64 << 20
	// rememberReleased bounds the memory for ids that were released, and for the requests that released them.
	rememberReleased = 10_000
)

type refKind uint8

const (
	kindObject refKind = iota
	kindActor
)

// tracked is one object or actor that the server holds for this session. The server keeps ids in a set: it forgets one
// at the first release, however many handles there are here. So the handles are counted here.
type tracked struct {
	kind refKind
	id   string
	raw  []byte // id, as it travels

	// The rest is guarded by references.mu.

	// put is the request that is going to name the object: until then there is no id, and nothing but put uses it. broken is
	// why it never will.
	put    *request
	broken error

	actor   string   // the id of the actor whose method has this result, where that is known
	handles int      // not yet released
	uses    int      // unanswered requests that name it
	large   int      // the size of its pickle, where that is known to be above largestMessage
	waiting bool     // in references.waiting
	fetch   *request // the get under way, shared by all who want the value
	arrived *request // a get whose value nobody took yet, see keep
}

// handle is one owner's hold on a tracked ref. It is what the garbage collector's clean-up gets, so it must not lead
// back to the ObjectRef or ActorHandle.
type handle struct {
	session  *Session
	t        *tracked
	released atomic.Bool
	cleanup  runtime.Cleanup
	next     *handle // in references.collected
}

// id is Ray's id in hex; empty for nil. It waits for the put that is going to name the object.
func (h *handle) id() string {
	if h == nil {
		return ""
	}
	if put := h.session.refs.promisedBy(h); put != nil {
		<-put.done // named by now, or the session is over
	}
	return hex.EncodeToString([]byte(h.t.id))
}

// release gives the hold up; only the first call has an effect, and none on nil.
func (h *handle) release() {
	if h != nil && h.released.CompareAndSwap(false, true) {
		h.cleanup.Stop()
		h.session.refs.drop(h)
	}
}

// collect is release for the garbage collector: it takes no lock.
func collect(h *handle) {
	if !h.released.CompareAndSwap(false, true) {
		return
	}
	select {
	case <-h.session.done:
		return // the server let go of everything
	default:
	}
	refs := h.session.refs
	for {
		h.next = refs.collected.Load()
		if refs.collected.CompareAndSwap(h.next, h) {
			break
		}
	}
	h.session.out.signal()
}

// references are the books of a session about what the server holds for it, and the queue of releases. The queue holds
// each id once, so it is bounded by the number of refs that the program holds.
type references struct {
	session   *Session
	collected atomic.Pointer[handle] // stack of handles that the garbage collector found; the sender empties it

	mu   sync.Mutex // guards all below and the guarded part of tracked; taken before outbox.mu
	live map[string]*tracked
	// promised counts the objects whose puts have not named them yet.
	promised int
	waiting  []*tracked // may be released, unless they came into use again
	since    time.Time  // when waiting became non-empty
	// producers counts unanswered requests whose answer may name an actor that is held already: releasing it meanwhile
	// would make the new handle a dead one.
	producers int
	releasing bool // a release has no answer yet
	// carriedOut is the id of the last release that was answered.
	carriedOut int32
	kept       int64 // bytes of values that wait in tracked.arrived
	// released remembers which request released an id, for the gets that were sent before it; see adopt. Ids up to
	// forgotten are no longer in it.
	released  map[string]int32
	order     []*request
	forgotten int32
}

func newReferences(s *Session) *references {
	return &references{session: s, live: map[string]*tracked{}, released: map[string]int32{}}
}

// acquire notes that a request is going to use h, so that it is not released before the answer. It waits for the put that is
// going to name the object.
func (t *references) acquire(ctx context.Context, h *handle, s *Session) (*tracked, error) {
	if h == nil {
		return nil, fmt.Errorf("%w: the ref or handle is nil", ErrReleased)
	}
	if h.session != s {
		s.stale.Add(1)
		return nil, &StaleSessionError{MadeBy: h.session.id, UsedWith: s.id, MadeEpoch: h.session.cfg.Epoch, UsedEpoch: s.cfg.Epoch}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A hold that is released after this check waits for the use to end.
	if h.released.Load() {
		return nil, fmt.Errorf("%w: %x", ErrReleased, h.t.id)
	}
	if put := h.t.put; put != nil {
		h.t.uses++
		t.mu.Unlock()
		err := s.wait(ctx, put)
		t.mu.Lock()
		h.t.uses--
		if err == nil && h.t.put != nil {
			err = put.err // the session is over
		}
		if err != nil {
			t.enqueue(h.t)
			return nil, err
		}
	}
	if h.t.broken != nil {
		return nil, h.t.broken
	}
	h.t.uses++
	return h.t, nil
}

// unuse ends uses.
func (t *references) unuse(used []*tracked) {
	if len(used) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range used {
		ref.uses--
		t.enqueue(ref)
	}
}

// hold returns a new handle for an id that the server just handed over, and keeps id. actor is the one whose method has
// this as its result, or empty.
func (t *references) hold(kind refKind, id []byte, actor string) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.holdLocked(kind, id)
	if actor != "" {
		h.t.actor = actor
	}
	return h
}

func (t *references) holdLocked(kind refKind, id []byte) *handle {
	if ref := t.live[string(id)]; ref != nil {
		ref.handles++
		return &handle{session: t.session, t: ref}
	}
	h := t.first(kind)
	h.t.id, h.t.raw = string(id), id
	t.live[h.t.id] = h.t
	return h
}

// first returns the first handle of an object or actor.
func (t *references) first(kind refKind) *handle {
	both := &struct {
		tracked
		handle
	}{tracked: tracked{kind: kind, handles: 1}, handle: handle{session: t.session}}
	both.t = &both.tracked
	return &both.handle
}

// drop ends the hold of a handle that was marked as released.
func (t *references) drop(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.t.handles--
	t.enqueue(h.t)
}

// enqueue makes ref wait for its release if nothing needs it. Called with mu held.
func (t *references) enqueue(ref *tracked) {
	if ref.handles > 0 || ref.uses > 0 || ref.waiting || ref.broken != nil {
		return
	}
	ref.waiting = true
	if len(t.waiting) == 0 {
		t.since = time.Now()
	}
	t.waiting = append(t.waiting, ref)
	if len(t.waiting) == 1 || len(t.waiting) == releaseBatch {
		t.session.out.signal()
	}
}

// adopt turns the stubs in a value into holds. fetched is the id of the get that brought the value. It returns false, and
// holds nothing, if one of them may be dead: a ref that this session released after the get was sent, when the server may
// have noted it again before it carried out the release. The value must then be asked for again.
func (t *references) adopt(stubs []*stub, fetched int32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range stubs {
		if t.live[s.id] != nil {
			continue
		}
		if at, known := t.released[s.id]; known && at > fetched || fetched < t.forgotten {
			return false
		}
	}
	for _, s := range stubs {
		s.handle = t.holdLocked(s.kind, []byte(s.id))
	}
	return true
}

// flush queues a release request if one is due, and returns when to call it again; zero if something will signal the
// sender. The sender calls it.
func (t *references) flush(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := t.collected.Swap(nil); h != nil; h = h.next {
		h.t.handles--
		t.enqueue(h.t)
	}
	if t.releasing || len(t.waiting) == 0 {
		return time.Time{}
	}
	if due := t.since.Add(releaseDelay); len(t.waiting) < releaseBatch && now.Before(due) {
		return due
	}
	var ids [][]byte
	var releases []*tracked
	var later []*tracked
	for _, ref := range t.waiting {
		switch {
		case ref.handles > 0 || ref.uses > 0:
			ref.waiting = false
		case ref.kind == kindActor && t.producers > 0, len(ids) == releaseMax:
			later = append(later, ref)
		default:
			// From here on the id is dead for this session: no handle leads to ref, and a value that names it was sent
			// before the release, until taken learns better.
			delete(t.live, ref.id)
			t.forget(ref)
			t.released[ref.id] = math.MaxInt32
			ids = append(ids, ref.raw)
			releases = append(releases, ref)
		}
	}
	t.waiting, t.since = later, now
	if len(ids) == 0 {
		return now.Add(releaseDelay)
	}
	// Refused only when the session ends, and with it everything that the server holds for it.
	t.releasing = t.session.out.add(&request{
		target: "release", internal: true, releases: releases,
		msg: &raypb.DataRequest{Type: &raypb.DataRequest_Release{Release: &raypb.ReleaseRequest{Ids: ids}}},
	}) == nil
	return time.Time{}
}

// taken notes the id that the sender gave to a release.
func (t *references) taken(r *request) {
	if r.releases == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ref := range r.releases {
		t.released[ref.id] = r.msg.ReqId
	}
	t.order = append(t.order, r)
	for max(len(t.released), len(t.order)) > rememberReleased && len(t.order) > 1 {
		oldest := t.order[0]
		t.order[0] = nil
		t.order = t.order[1:]
		t.forgotten = oldest.msg.ReqId
		for _, ref := range oldest.releases {
			if t.released[ref.id] == oldest.msg.ReqId {
				delete(t.released, ref.id)
			}
		}
	}
}

// settled returns the id up to which all releases are carried out. What the server notes from now on for this session is
// touched by none of these.
func (t *references) settled() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.carriedOut
}

// releaseDone notes that a release was answered, so that the next may go.
func (t *references) releaseDone(r *request) {
	t.mu.Lock()
	t.releasing = false
	t.carriedOut = r.msg.ReqId
	more := len(t.waiting) > 0
	t.mu.Unlock()
	if more {
		t.session.out.signal()
	}
}

// replay is outbox.replay, and forgets the gets that are not asked for again, so that the next caller makes a new one.
func (t *references) replay() (again, dropped []*request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	again, dropped = t.session.out.replay()
	for _, r := range dropped {
		r.fetches.fetch = nil
		r.fetches.uses--
		t.enqueue(r.fetches)
	}
	return again, dropped
}

// fetched notes that the get of a ref has its answer.
func (t *references) fetched(r *request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.fetches.fetch = nil
}

// keep leaves the value of a get to the next caller who asks for it, unless that would be too much.
func (t *references) keep(r *request) {
	if r.err != nil || len(r.data) == 0 || bytes.Contains(r.data, stubName) {
		// The server holds the refs in a value for us once it has sent it: dropValue sees to them, keep would not.
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	ref := r.fetches
	if ref.arrived != nil || ref.fetch != nil || t.live[ref.id] != ref || t.kept+int64(len(r.data)) > maxKept {
		return
	}
	ref.arrived = r
	t.kept += int64(len(r.data))
}

// forget drops the value that keep left. Called with mu held.
func (t *references) forget(ref *tracked) {
	if ref.arrived != nil {
		t.kept -= int64(len(ref.arrived.data))
		ref.arrived = nil
	}
}

// isArrived reports whether the value of a ref is here.
func (t *references) isArrived(ref *tracked) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return ref.arrived != nil
}

// produce counts requests whose answer names an actor; delta is 1 or -1.
func (t *references) produce(delta int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.producers += delta
}

// count returns how many refs the server holds for this session, as far as is known here.
func (t *references) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.live) + t.promised
}
