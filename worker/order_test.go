package worker_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/worker"
)

// sequence drives an ordered scheduler with one slot and one caller.
type sequence struct {
	t *testing.T
	worker.Scheduler
}

func newSequence(t *testing.T) sequence {
	return sequence{t, worker.NewScheduler(true, 1, worker.DefaultLimits)}
}

// send enters an attempt of a number that has to be taken in.
func (s sequence) send(seq int64, attempt int32) *worker.Call {
	s.t.Helper()
	c, err := s.Enter(fmt.Sprint("task", seq), "caller", seq, attempt, -1, 1)
	if err != nil {
		s.t.Fatalf("number %d, attempt %d: %v", seq, attempt, err)
	}
	return c
}

func (s sequence) refused(seq int64, attempt int32, processed int64, want error) {
	s.t.Helper()
	if _, err := s.Enter(fmt.Sprint("task", seq), "caller", seq, attempt, processed, 1); !errors.Is(err, want) {
		s.t.Fatalf("number %d, attempt %d, processed %d: %v, not %v", seq, attempt, processed, err, want)
	}
}

// runs checks that a call has the slot, and gives it back.
func (s sequence) runs(c *worker.Call) {
	s.t.Helper()
	ended(s.t, c, nil)
	s.Leave(c)
}

func ended(t *testing.T, c *worker.Call, want error) {
	t.Helper()
	select {
	case err := <-c.Granted():
		if !errors.Is(err, want) {
			t.Fatalf("the call ended with %v, not %v", err, want)
		}
	default:
		t.Fatal("the call waits")
	}
}

func waits(t *testing.T, calls ...*worker.Call) {
	t.Helper()
	for i, c := range calls {
		select {
		case err := <-c.Granted():
			t.Fatalf("call %d of those that have to wait got %v", i, err)
		default:
		}
	}
}

func TestCallsRunInTheOrderOfTheirNumbers(t *testing.T) {
	s := newSequence(t)
	two, one := s.send(2, 0), s.send(1, 0)
	waits(t, one, two)
	zero := s.send(0, 0)
	waits(t, one, two) // one slot
	s.runs(zero)
	waits(t, two)
	s.runs(one)
	s.runs(two)
}

func TestANumberRunsOnce(t *testing.T) {
	s := newSequence(t)
	s.refused(-1, 0, -1, worker.ErrSequence)
	s.refused(math.MaxInt64, 0, -1, worker.ErrSequence)
	s.refused(0, 1, math.MaxInt64, worker.ErrSequence)
	s.refused(3, 0, 3, worker.ErrSequence) // declares itself as done
	zero := s.send(0, 0)
	s.refused(0, 0, -1, worker.ErrStale) // while it runs
	s.runs(zero)
	s.refused(0, 0, -1, worker.ErrStale) // and after
	two := s.send(2, 0)
	s.refused(2, 0, -1, worker.ErrDuplicate) // while it waits
	one := s.send(1, 0)
	s.runs(one)
	s.runs(two)
	if running, waiting, executed := s.Load(); running != 0 || waiting != 0 || executed != 3 {
		t.Errorf("%d run, %d wait, %d ran", running, waiting, executed)
	}
}

func TestACallerSkipsWhatItDeclaresAsDone(t *testing.T) {
	s := newSequence(t)
	two, three := s.send(2, 0), s.send(3, 0)
	five, err := s.Enter("task5", "caller", 5, 0, 2, 1) // gives up 0, 1 and the waiting 2
	if err != nil {
		t.Fatal(err)
	}
	ended(t, two, worker.ErrStale)
	s.refused(1, 0, -1, worker.ErrStale)
	s.runs(three)
	waits(t, five)
	s.runs(s.send(4, 0))
	s.runs(five)
}

func TestARestartedActorGoesOnWhereTheCallerIs(t *testing.T) {
	s := newSequence(t)
	c, err := s.Enter("task57", "caller", 57, 0, 56, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.runs(c)
	s.runs(s.send(58, 0))
}

func TestARetryFillsItsHole(t *testing.T) {
	s := newSequence(t)
	one := s.send(1, 0)
	waits(t, one)
	zero := s.send(0, 1)
	ended(t, zero, nil)
	s.refused(0, 0, -1, worker.ErrStale)     // the lost original arrives late
	s.refused(0, 1, -1, worker.ErrDuplicate) // the same attempt again
	waits(t, one)
	s.Leave(zero)
	s.runs(one)
}

func TestARetryDoesNotWaitForItsTurn(t *testing.T) {
	s := newSequence(t)
	four := s.send(4, 1)
	s.runs(four)
	s.refused(4, 0, -1, worker.ErrStale) // the original, while the numbers before it are missing
	five := s.send(5, 0)
	for seq := range int64(4) {
		waits(t, five)
		s.runs(s.send(seq, 0))
	}
	s.runs(five)
	s.refused(4, 0, -1, worker.ErrStale)
	s.runs(s.send(4, 2)) // asked for again, on purpose
}

func TestARetryReplacesTheAttemptThatWaits(t *testing.T) {
	s := newSequence(t)
	original := s.send(1, 0)
	retry := s.send(1, 1)
	ended(t, original, worker.ErrStale)
	s.runs(retry)
	s.runs(s.send(0, 0))
	s.runs(s.send(2, 0))
}

func TestAHoleHoldsUpItsCallerFor30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSequence(t)
		start := time.Now()
		s.runs(s.send(0, 0))
		two, four := s.send(2, 0), s.send(4, 0)
		other, err := s.Enter("other", "another caller", 0, 0, -1, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.runs(other)
		time.Sleep(29 * time.Second)
		three := s.send(3, 0) // arriving calls do not make the wait longer
		synctest.Wait()
		waits(t, two, three, four)
		for _, c := range []*worker.Call{two, three, four} {
			if err := <-c.Granted(); !errors.Is(err, worker.ErrHole) {
				t.Errorf("ended with %v", err)
			}
		}
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("waited %v", waited)
		}
		s.refused(1, 0, -1, worker.ErrStale)
		s.runs(s.send(5, 0))
	})
}

func TestTheWaitForAHoleEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSequence(t)
		one, three := s.send(1, 0), s.send(3, 0)
		time.Sleep(20 * time.Second)
		s.runs(s.send(0, 0)) // fills the first hole; the second has its own 30 s
		s.runs(one)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		waits(t, three)
		s.runs(s.send(2, 1))
		s.runs(three)
		time.Sleep(time.Hour)
		s.runs(s.send(4, 0))
	})
}

func TestTooManyWaitingCallsAreRefusedAndLeaveNoHole(t *testing.T) {
	s := sequence{t, worker.NewScheduler(true, 1, worker.NewLimits(3, 1000, 10, 10, time.Minute))}
	running := s.send(0, 0)
	var waiting []*worker.Call
	for seq := int64(1); seq <= 3; seq++ {
		waiting = append(waiting, s.send(seq, 0))
	}
	s.refused(4, 0, -1, worker.ErrFull)
	s.refused(5, 0, -1, worker.ErrFull)
	s.refused(9, 1, -1, worker.ErrFull)
	s.runs(running)
	six := s.send(6, 0) // one has got the slot, so there is room
	for _, c := range append(waiting, six) {
		s.runs(c)
	}
	s.refused(4, 0, -1, worker.ErrStale)
	s.runs(s.send(7, 0))
}

func TestTheNextCallIsTakenInWhateverWaits(t *testing.T) {
	s := sequence{t, worker.NewScheduler(true, 1, worker.NewLimits(2, 1000, 10, 10, time.Minute))}
	two, one := s.send(2, 0), s.send(1, 0)
	s.refused(3, 0, -1, worker.ErrFull)
	s.runs(s.send(0, 0))
	s.runs(one)
	s.runs(two)
}

func TestWaitingArgumentsAreBounded(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		s := worker.NewScheduler(ordered, 1, worker.NewLimits(100, 10, 10, 10, time.Minute))
		running, err := s.Enter("0", "caller", 0, 0, -1, 1<<40) // what can run at once is never too much
		if err != nil {
			t.Fatal(err)
		}
		waiting, err := s.Enter("1", "caller", 1, 0, -1, 7)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Enter("2", "caller", 2, 0, -1, 4); !errors.Is(err, worker.ErrFull) {
			t.Errorf("ordered %v: 11 bytes of 10 gave %v", ordered, err)
		}
		last, err := s.Enter("3", "caller", 3, 0, -1, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*worker.Call{running, waiting, last} {
			ended(t, c, nil)
			s.Leave(c)
		}
	}
}

func TestGapsAreBounded(t *testing.T) {
	s := sequence{t, worker.NewScheduler(true, 1, worker.NewLimits(1000, 1000, 10, 4, time.Minute))}
	for i := range int64(4) {
		s.runs(s.send(10+2*i, 1))
	}
	s.refused(20, 1, -1, worker.ErrFull)
	c, err := s.Enter("task99", "caller", 99, 0, 98, 1) // past all of them
	if err != nil {
		t.Fatal(err)
	}
	s.runs(c)
	for i := range int64(10) {
		s.runs(s.send(i, 5)) // the memory of retries is bounded by forgetting the lowest
	}
	s.refused(9, 5, -1, worker.ErrDuplicate)
	s.runs(s.send(5, 5))
}

func TestAnIdleCallerIsForgottenForANewOne(t *testing.T) {
	s := worker.NewScheduler(true, 1, worker.NewLimits(100, 100, 2, 10, time.Minute))
	enter := func(caller string, seq int64, want error) *worker.Call {
		t.Helper()
		c, err := s.Enter(caller+fmt.Sprint(seq), caller, seq, 0, -1, 1)
		if !errors.Is(err, want) {
			t.Fatalf("%s %d: %v", caller, seq, err)
		}
		return c
	}
	a := enter("a", 0, nil)
	b := enter("b", 0, nil)
	enter("c", 0, worker.ErrFull) // both have calls here
	ended(t, a, nil)
	s.Leave(a)
	c := enter("c", 0, nil) // a is idle
	if s.Callers() != 2 {
		t.Errorf("%d callers are remembered", s.Callers())
	}
	enter("b", 0, worker.ErrStale) // b was not forgotten
	for _, call := range []*worker.Call{b, c} {
		ended(t, call, nil)
		s.Leave(call)
	}
	enter("c", 0, worker.ErrStale) // makes b the one unused for longest
	enter("a", 0, worker.ErrStale) // its number is known still
	ended(t, enter("a", 1, nil), nil)
	enter("c", 0, worker.ErrStale)
}

func TestACallerThatWasIdleGoesOnAtOnce(t *testing.T) {
	s := worker.NewScheduler(true, 1, worker.DefaultLimits)
	call := func(caller string, seq int64) {
		t.Helper()
		c, err := s.Enter(fmt.Sprint(caller, seq), caller, seq, 0, -1, 1)
		if err != nil {
			t.Fatal(err)
		}
		ended(t, c, nil)
		s.Leave(c)
	}
	call("idle", 0)
	call("idle", 1)
	for i := range 2 * worker.RememberedCallers {
		call(fmt.Sprint("other ", i), 0)
	}
	call("idle", 2)
}

func TestWhatIsRememberedOfForgottenCallersIsBounded(t *testing.T) {
	s := worker.NewScheduler(true, 1, worker.NewLimits(100, 100, 2, 10, time.Minute))
	for i := range 1000 {
		c, err := s.Enter(fmt.Sprint(i), fmt.Sprint(i), 0, 0, -1, 1)
		if err != nil {
			t.Fatal(err)
		}
		s.Leave(c)
	}
	if s.Callers() != 2 || s.Numbers() != 64 {
		t.Errorf("%d callers are remembered, and the numbers of %d", s.Callers(), s.Numbers())
	}
}

func TestCancel(t *testing.T) {
	s := newSequence(t)
	running, ready, waiting := s.send(0, 0), s.send(1, 0), s.send(3, 0)
	behind := s.send(4, 0)
	ended(t, running, nil)
	if isRunning, found := s.CancelTask("task3"); isRunning || !found {
		t.Error("a call that waits for its turn was not dropped")
	}
	ended(t, waiting, worker.ErrCancelled)
	if isRunning, found := s.CancelTask("task1"); isRunning || !found {
		t.Error("a call that waits for the slot was not dropped")
	}
	ended(t, ready, worker.ErrCancelled)
	if n := s.Ready(); n != 0 {
		t.Errorf("%d cancelled calls are kept until the slot is free", n)
	}
	for range 2 {
		if isRunning, found := s.CancelTask("task0"); !isRunning || !found || !s.WasCancelled(running) {
			t.Error("a running call was not asked to stop")
		}
		<-running.Cancelled
	}
	for _, unknown := range []string{"task1", "task2", ""} {
		if isRunning, found := s.CancelTask(unknown); isRunning || found {
			t.Errorf("%q was found", unknown)
		}
	}
	s.Leave(running)
	s.runs(s.send(2, 0))
	s.runs(behind) // 3 was spent by the cancellation
	if _, waiting, _ := s.Load(); waiting != 0 {
		t.Errorf("%d wait", waiting)
	}
}

func TestCloseRefusesWhatWaits(t *testing.T) {
	for _, ordered := range []bool{true, false} {
		s := sequence{t, worker.NewScheduler(ordered, 1, worker.DefaultLimits)}
		running, ready := s.send(0, 0), s.send(1, 0)
		waiting := s.send(3, 0) // ready when unordered
		ended(t, running, nil)
		s.Close()
		s.Close()
		ended(t, ready, worker.ErrExiting)
		ended(t, waiting, worker.ErrExiting)
		s.refused(5, 0, -1, worker.ErrExiting)
		s.Leave(running)
		if n, waiting, executed := s.Load(); n != 0 || waiting != 0 || executed != 1 {
			t.Errorf("%d run, %d wait, %d ran", n, waiting, executed)
		}
	}
}

func TestAnUnorderedActorFillsItsSlots(t *testing.T) {
	s := sequence{t, worker.NewScheduler(false, 2, worker.DefaultLimits)}
	nine, three, one := s.send(9, 0), s.send(3, 0), s.send(1, 0)
	ended(t, nine, nil)
	ended(t, three, nil)
	waits(t, one)
	s.refused(9, 0, -1, worker.ErrDuplicate) // still here
	retry := s.send(9, 1)
	s.Leave(nine)
	s.runs(one)
	s.runs(retry)
	s.Leave(three)
	s.runs(s.send(9, 0)) // an unordered actor remembers what is here only, as Ray's
}

// Calls of several callers arrive in any order, some twice, some as retries; each number runs once, and those of a
// caller in order, unless they are retries.
func TestRandomArrivalsRunOnceAndInOrder(t *testing.T) {
	const callers, numbers = 4, 200
	s := worker.NewScheduler(true, 1, worker.DefaultLimits)
	type arrival struct {
		caller, seq int64
		attempt     int32
	}
	rng := rand.New(rand.NewPCG(3, 4))
	var arrivals []arrival
	for caller := range int64(callers) {
		for seq := range int64(numbers) {
			a := arrival{caller, seq, int32(rng.IntN(20) / 19)}
			arrivals = append(arrivals, a)
			if rng.IntN(5) == 0 {
				arrivals = append(arrivals, a) // a duplicate
			}
		}
	}
	rng.Shuffle(len(arrivals), func(i, j int) { arrivals[i], arrivals[j] = arrivals[j], arrivals[i] })
	var (
		wg      sync.WaitGroup
		inside  atomic.Int32
		mu      sync.Mutex // guards ran and ordered
		ran     = map[arrival]int{}
		ordered = map[int64][]int64{}
	)
	for _, a := range arrivals {
		wg.Go(func() {
			c, err := s.Enter(fmt.Sprint(a.caller, a.seq), fmt.Sprint(a.caller), a.seq, a.attempt, -1, 1)
			if err != nil {
				if !errors.Is(err, worker.ErrStale) && !errors.Is(err, worker.ErrDuplicate) {
					t.Error(err)
				}
				return
			}
			if err := <-c.Granted(); err != nil {
				t.Errorf("%v: %v", a, err)
				return
			}
			if n := inside.Add(1); n != 1 {
				t.Errorf("%d calls share the slot", n)
			}
			mu.Lock()
			ran[a]++
			if a.attempt == 0 {
				ordered[a.caller] = append(ordered[a.caller], a.seq)
			}
			mu.Unlock()
			inside.Add(-1)
			s.Leave(c)
		})
	}
	wg.Wait()
	for _, a := range arrivals {
		if ran[a] != 1 {
			t.Errorf("%v ran %d times", a, ran[a])
		}
	}
	for caller, seqs := range ordered {
		if !slices.IsSorted(seqs) {
			t.Errorf("caller %d ran in the order %v", caller, seqs)
		}
	}
}
