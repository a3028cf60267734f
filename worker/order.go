package worker

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// limits bound what callers can make a worker hold.
type limits struct {
	waiting      int           // calls that wait for their turn or for a slot
	waitingBytes int64         // the arguments of these
	callers      int           // callers whose sequence is remembered
	gaps         int           // separate gaps in one caller's sequence, and its retries that are remembered
	reorder      time.Duration // how long a missing number may hold up those behind it
}

// numbersPerCaller is how many forgotten callers have their next number remembered, for each whose sequence is: 131,072, in some
// 15 MB.
const numbersPerCaller = 32

// 30 s is Ray's actor_scheduling_queue_max_reorder_wait_seconds.
var defaultLimits = limits{waiting: 10_000, waitingBytes: 1 << 30, callers: 4096, gaps: 1024, reorder: 30 * time.Second}

// Why a call is not run. refusals in service.go says what the caller sees.
var (
	errStale     = errors.New("stale sequence number: the call was executed, skipped or given up before")
	errDuplicate = errors.New("duplicate: this attempt of the call arrived before")
	errHole      = errors.New("hole: an earlier sequence number of this caller did not arrive in time")
	errFull      = errors.New("too many calls wait for this actor")
	errCancelled = errors.New("cancelled before it ran")
	errExiting   = errors.New("the actor is exiting; the call was not run")
	errSequence  = errors.New("sequence number out of range")
	errNoGroup   = errors.New("no such concurrency group")
	errAsync     = errors.New("too many results of this actor are outstanding")
)

// call is one PushTask of an actor method on its way to a slot.
type call struct {
	taskID  string
	caller  string // worker id and, where Ray numbers them separately, concurrency group
	group   string // that the caller chose; empty: the method's own
	method  string
	seq     int64
	attempt int32
	size    int64
	cancel  func()     // asks the running method to stop
	run     func()     // is called by the scheduler when the call has a slot; nil: the caller of enter runs the call
	values  []value    // of run, unless err
	err     error      // of run
	granted chan error // receives once: nil when run has ended, or without one when the call has a slot; else why it never will

	state    callState    // guarded by scheduler.mu, as are those below
	queue    *callerQueue // of its caller; nil on an actor without order
	slots    *slots       // where it runs
	refusal  error        // why it will not run when its turn comes
	detached bool         // runs without a slot
}

type callState int

const (
	callWaiting   callState = iota // for its turn in the sequence
	callReady                      // for a slot
	callRunning                    // has a slot
	callRefused                    // will not run
	callCancelled                  // runs, and was asked to stop
)

// scheduler decides when the calls of one actor run. An ordered one starts the calls of each caller by their sequence
// numbers, as Ray does for an actor of max_concurrency 1: the transport does not keep the order in which they were
// made. The calls of a concurrency group, and those of none, run at most as many at once as it has slots.
//
// It follows Ray's ordered queue: a retry (attempt above 0) does not wait for its turn and fills its own number; a
// caller may declare numbers as done (client_processed_up_to); a number that does not come is waited for a while, then
// all that wait behind it are refused and it is given up.
type scheduler struct {
	ordered  bool
	limits   limits
	rest     *slots            // of calls in no group
	groups   map[string]*slots // by name
	byMethod map[string]*slots // of methods that have a group
	runners  runners

	mu           sync.Mutex // guards the fields below, all slots and the state of the calls
	closed       bool
	running      int // detached ones too
	detached     int
	executed     int
	waiting      int
	waitingBytes int64
	byTask       map[string]*call
	callers      map[string]*callerQueue
	numbers      map[string]int64 // the next ones of callers that were forgotten
	clock        uint64           // counts uses of caller queues
}

// callerQueue is the sequence of one caller.
type callerQueue struct {
	next    int64           // all numbers below were started or given up
	pending map[int64]*call // arrived, but not their turn
	skipped spans           // above next, and will not come
	retried map[int64]int32 // the highest attempt that arrived, of numbers that were retried
	active  int             // calls that are pending, ready or running
	lastUse uint64          // by scheduler.clock
	hole    *time.Timer     // set while next is missing and others wait for it
	missing int64           // what hole waits for
}

// slots are what the calls of one concurrency group share.
type slots struct {
	n, used int
	ready   []*call // in the order in which they became ready
}

// newScheduler makes the scheduler of an actor. When ended is closed, goroutines for methods do not wait for further calls.
func newScheduler(c creationSpec, l limits, ended <-chan struct{}) *scheduler {
	s := &scheduler{
		ordered: !c.outOfOrder, limits: l, rest: &slots{n: max(c.maxConcurrency, 1)},
		groups: make(map[string]*slots, len(c.groups)), byMethod: make(map[string]*slots),
		byTask: make(map[string]*call), callers: make(map[string]*callerQueue), numbers: make(map[string]int64),
		runners: runners{idle: make(chan *call), ended: ended},
	}
	for _, g := range c.groups {
		group := &slots{n: max(g.maxConcurrency, 1)}
		s.groups[g.name] = group
		for _, m := range g.methods {
			s.byMethod[m] = group
		}
	}
	return s
}

// slotsOf finds the group of a call: the one that its caller names, or that of its method.
func (s *scheduler) slotsOf(c *call) (*slots, error) {
	if c.group != "" {
		if g := s.groups[c.group]; g != nil {
			return g, nil
		}
		return s.rest, fmt.Errorf("%w: %q; the actor has %q", errNoGroup, c.group, slices.Sorted(maps.Keys(s.groups)))
	}
	if g := s.byMethod[c.method]; g != nil {
		return g, nil
	}
	return s.rest, nil
}

// enter takes a call in. Unless it returns an error, c.granted will receive, and when that is nil, leave has to follow for a
// call without run. processed is the request's client_processed_up_to.
func (s *scheduler) enter(c *call, processed int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errExiting
	}
	var noGroup error
	if c.slots, noGroup = s.slotsOf(c); noGroup != nil { // takes its turn all the same, so as to leave no hole
		c.refusal = noGroup
	}
	if !s.ordered {
		return s.enterUnordered(c)
	}
	if c.seq < 0 || c.seq == math.MaxInt64 || processed == math.MaxInt64 || c.attempt == 0 && processed >= c.seq {
		return fmt.Errorf("%w: %d, processed up to %d", errSequence, c.seq, processed)
	}
	q, err := s.queue(c.caller)
	if err != nil {
		return err
	}
	c.queue = q
	if processed >= q.next {
		q.next = processed + 1
		s.refusePending(q, q.next, errStale)
	}
	if c.attempt > 0 {
		err = s.enterRetry(q, c)
	} else {
		err = s.enterInOrder(q, c)
	}
	s.advance(q)
	return err
}

func (s *scheduler) enterUnordered(c *call) error {
	if earlier := s.byTask[c.taskID]; earlier != nil && c.attempt <= earlier.attempt {
		return errDuplicate
	}
	if !s.hasRoom(c, true) {
		return errFull
	}
	s.accept(c)
	s.makeReady(c)
	return nil
}

func (s *scheduler) enterInOrder(q *callerQueue, c *call) error {
	switch {
	case c.seq < q.next, q.skipped.contains(c.seq):
		return fmt.Errorf("%w: %d, the next one is %d", errStale, c.seq, q.next)
	case q.pending[c.seq] != nil:
		return errDuplicate
	case !s.hasRoom(c, c.seq == q.next):
		s.skip(q, c.seq)
		return errFull
	}
	s.accept(c)
	q.active++
	if c.seq == q.next {
		q.next++
		s.makeReady(c)
	} else {
		q.pending[c.seq] = c
	}
	return nil
}

func (s *scheduler) enterRetry(q *callerQueue, c *call) error {
	if last, ok := q.retried[c.seq]; ok && c.attempt <= last {
		return errDuplicate
	}
	if !s.hasRoom(c, true) || len(q.skipped) >= s.limits.gaps {
		return errFull // the number stays open for another attempt
	}
	if earlier := q.pending[c.seq]; earlier != nil {
		delete(q.pending, c.seq)
		s.refuse(earlier, fmt.Errorf("%w: attempt %d replaces it", errStale, c.attempt))
	}
	if _, known := q.retried[c.seq]; !known && len(q.retried) >= s.limits.gaps {
		delete(q.retried, slices.Min(slices.Collect(maps.Keys(q.retried))))
	}
	q.retried[c.seq] = c.attempt
	if c.seq >= q.next {
		q.skipped.add(c.seq)
	}
	s.accept(c)
	q.active++
	s.makeReady(c)
	return nil
}

// skip marks the number of a call that will not run, so that those behind it do not wait for it. With too many gaps it
// stays missing, and they wait as for one that was lost.
func (s *scheduler) skip(q *callerQueue, seq int64) {
	if len(q.skipped) < s.limits.gaps || q.skipped.contains(seq-1) || q.skipped.contains(seq+1) {
		q.skipped.add(seq)
	}
}

// hasRoom: a call whose turn it is and that finds a free slot is never too many.
func (s *scheduler) hasRoom(c *call, itsTurn bool) bool {
	if itsTurn && c.slots.used < c.slots.n {
		return true
	}
	return s.waiting < s.limits.waiting && s.waitingBytes+c.size <= s.limits.waitingBytes
}

func (s *scheduler) accept(c *call) {
	s.waiting++
	s.waitingBytes += c.size
	if c.taskID != "" {
		s.byTask[c.taskID] = c
	}
}

// advance moves on in the sequence of a caller as far as it goes, and sees to the timer for what is missing.
func (s *scheduler) advance(q *callerQueue) {
	for {
		q.next = q.skipped.pass(q.next)
		c := q.pending[q.next]
		if c == nil {
			break
		}
		delete(q.pending, q.next)
		q.next++
		s.makeReady(c)
	}
	waits := len(q.pending) > 0
	if q.hole != nil && (!waits || q.missing != q.next) {
		q.hole.Stop()
		q.hole = nil
	}
	if waits && q.hole == nil {
		missing := q.next
		q.missing = missing
		q.hole = time.AfterFunc(s.limits.reorder, func() { s.giveUp(q, missing) })
	}
}

// giveUp ends the wait for a missing number. The timer may have fired just before it was stopped, hence the checks.
func (s *scheduler) giveUp(q *callerQueue, missing int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || q.hole == nil || q.missing != missing {
		return
	}
	last := missing
	for seq := range q.pending {
		last = max(last, seq)
	}
	s.refusePending(q, math.MaxInt64, fmt.Errorf("%w: %d, waited for %v", errHole, missing, s.limits.reorder))
	q.next = last + 1
	s.advance(q)
}

// refusePending refuses what waits for its turn with a number below limit, lowest first.
func (s *scheduler) refusePending(q *callerQueue, limit int64, why error) {
	var seqs []int64
	for seq := range q.pending {
		if seq < limit {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	for _, seq := range seqs {
		c := q.pending[seq]
		delete(q.pending, seq)
		s.refuse(c, why)
	}
}

// refuse ends a call that waits.
func (s *scheduler) refuse(c *call, why error) {
	c.state = callRefused
	s.stopWaiting(c)
	s.forget(c)
	if c.queue != nil {
		c.queue.active--
	}
	c.granted <- why
}

func (s *scheduler) makeReady(c *call) {
	if c.refusal != nil {
		s.refuse(c, c.refusal)
		return
	}
	c.state = callReady
	c.slots.ready = append(c.slots.ready, c)
	s.dispatch(c.slots)
}

// dispatch starts what is ready and has a slot.
func (s *scheduler) dispatch(g *slots) {
	for c := s.next(g); c != nil; c = s.next(g) {
		if c.run == nil {
			c.granted <- nil
			continue
		}
		s.runners.start(s, c)
	}
}

// next gives a slot to a call that is ready; nil: there is none, of slots or of calls.
func (s *scheduler) next(g *slots) *call {
	if g.used >= g.n || len(g.ready) == 0 {
		return nil
	}
	c := g.ready[0]
	g.ready[0] = nil
	g.ready = g.ready[1:]
	c.state = callRunning
	s.stopWaiting(c)
	s.running++
	g.used++
	return c
}

func (s *scheduler) stopWaiting(c *call) {
	s.waiting--
	s.waitingBytes -= c.size
}

func (s *scheduler) forget(c *call) {
	if s.byTask[c.taskID] == c {
		delete(s.byTask, c.taskID)
	}
}

// detach gives the slot of a call back, which runs on without one.
func (s *scheduler) detach(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.detached {
		return nil
	}
	if s.detached >= s.limits.waiting {
		return fmt.Errorf("%w: %d", errAsync, s.detached)
	}
	c.detached = true
	s.detached++
	c.slots.used--
	s.dispatch(c.slots)
	return nil
}

// leave ends a call.
func (s *scheduler) leave(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vacate(c) {
		s.dispatch(c.slots)
	}
}

// succeed ends a call and returns the one that gets its slot, which the caller has to run; nil: none that is to be run here.
func (s *scheduler) succeed(c *call) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.vacate(c) {
		return nil
	}
	successor := s.next(c.slots)
	if successor != nil && successor.run == nil {
		successor.granted <- nil
		successor = nil
	}
	return successor
}

// vacate counts a call out and tells whether it gives a slot back.
func (s *scheduler) vacate(c *call) bool {
	s.running--
	s.executed++
	s.forget(c)
	if c.queue != nil {
		c.queue.active--
	}
	if c.detached {
		s.detached--
		return false
	}
	c.slots.used--
	return true
}

// cancelTask asks a running call to stop, and refuses one that waits. It tells which of the two it met.
func (s *scheduler) cancelTask(taskID string) (running, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byTask[taskID]
	if c == nil {
		return false, false
	}
	switch c.state {
	case callRunning, callCancelled:
		c.state = callCancelled
		c.cancel()
		return true, true
	case callWaiting:
		delete(c.queue.pending, c.seq)
		s.skip(c.queue, c.seq)
	case callReady:
		i := slices.Index(c.slots.ready, c)
		c.slots.ready = slices.Delete(c.slots.ready, i, i+1)
	}
	s.refuse(c, errCancelled)
	if c.queue != nil {
		s.advance(c.queue)
	}
	return false, true
}

// wasCancelled tells whether cancelTask reached a call that has a slot.
func (s *scheduler) wasCancelled(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.state == callCancelled
}

// close refuses what waits and what comes. Calls that run go on.
func (s *scheduler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.refuseReady(s.rest)
	for _, g := range s.groups {
		s.refuseReady(g)
	}
	for _, q := range s.callers {
		if q.hole != nil {
			q.hole.Stop()
			q.hole = nil
		}
		s.refusePending(q, math.MaxInt64, errExiting)
	}
}

func (s *scheduler) refuseReady(g *slots) {
	for _, c := range g.ready {
		s.refuse(c, errExiting)
	}
	g.ready = nil
}

// queue returns the sequence of a caller. When there are too many, the one unused for longest is forgotten but for its next
// number, with which it goes on when it comes back; a caller with calls here never is. Of very many that were forgotten, any one
// is forgotten altogether, and starts again at 0.
func (s *scheduler) queue(caller string) (*callerQueue, error) {
	s.clock++
	if q := s.callers[caller]; q != nil {
		q.lastUse = s.clock
		return q, nil
	}
	if len(s.callers) >= s.limits.callers {
		victim, oldest := "", s.clock
		for name, q := range s.callers {
			if q.active == 0 && q.lastUse < oldest {
				victim, oldest = name, q.lastUse
			}
		}
		if oldest == s.clock {
			return nil, fmt.Errorf("%w: %d callers at once", errFull, len(s.callers))
		}
		if len(s.numbers) >= s.limits.callers*numbersPerCaller {
			for name := range s.numbers {
				delete(s.numbers, name)
				break
			}
		}
		s.numbers[victim] = s.callers[victim].next
		delete(s.callers, victim)
	}
	q := &callerQueue{next: s.numbers[caller], pending: make(map[int64]*call), retried: make(map[int64]int32), lastUse: s.clock}
	delete(s.numbers, caller)
	s.callers[caller] = q
	return q, nil
}

// load is a snapshot for GetCoreWorkerStats.
func (s *scheduler) load() (running, waiting, executed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running, s.waiting, s.executed
}
