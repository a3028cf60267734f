package drills_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

const (
	callers      = 200
	callTimeout  = 20 * time.Second
	slowestPause = 2 * time.Second // between two calls of one caller; the pause is random below it
	// latest is how long after its deadline a call may end on a machine that has no time.
	latest = 5 * time.Second
)

// verdict is what a caller was told.
type verdict int

const (
	done    verdict = iota // it ran and was answered
	refused                // it ran, and the actor's own code raised
	unsent                 // it did not run
	maybe                  // nobody knows
	verdicts
)

func (v verdict) String() string { return [...]string{"done", "refused", "unsent", "maybe"}[v] }

// call makes one call under a number, and tells what came of it; an error is one that no caller should see.
type call func(ctx context.Context, number string) (verdict, error)

// load is what the callers do, and what they were told.
type load struct {
	t      *testing.T
	ledger string // the file
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu    sync.Mutex // guards told
	told  map[string]verdict
	count [verdicts]int
}

// startLoad starts the callers; each makes one of the calls at a time, at random.
func startLoad(t *testing.T, ledger string, calls []call) *load {
	ctx, stop := context.WithCancel(context.Background())
	l := &load{t: t, ledger: ledger, stop: stop, told: map[string]verdict{}}
	run := rand.Uint32() // numbers are unique over all loads that share a ledger
	for caller := range callers {
		l.all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-time.After(rand.N(slowestPause)):
				case <-ctx.Done():
					return
				}
				l.one(calls[rand.IntN(len(calls))], fmt.Sprintf("%08x-%d-%d", run, caller, n))
			}
		})
	}
	return l
}

func (l *load) one(c call, number string) {
	// The load's end lets calls end, so that each is accounted for.
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	start := time.Now()
	v, err := c(ctx, number)
	if late := time.Since(start) - callTimeout; late > latest {
		l.t.Errorf("call %s ended %s after its deadline: %s", number, late, v)
	}
	if err != nil {
		l.t.Errorf("call %s ended with an error that does not say whether it ran: %v", number, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told[number] = v
	l.count[v]++
}

// end stops the callers and waits for their calls.
func (l *load) end() {
	l.stop()
	l.all.Wait()
}

func (l *load) counts() [verdicts]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// check compares the ledger with what the callers were told so far.
func (l *load) check(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock() // a call that ends now is in the file already
	data, err := os.ReadFile(l.ledger)
	if err != nil {
		t.Error(err)
		return
	}
	ran := map[string]int{}
	for number := range strings.Lines(string(data)) {
		ran[strings.TrimSuffix(number, "\n")]++
	}
	for number, times := range ran {
		if times > 1 {
			t.Errorf("call %s ran %d times; its caller was told %s", number, times, l.told[number])
		}
	}
	for number, v := range l.told {
		times := ran[number]
		if times == 0 && (v == done || v == refused) || times > 0 && v == unsent {
			t.Errorf("call %s ran %d times, and its caller was told %s", number, times, v)
		}
	}
}

// judge says what an error of package ray, connector or organism tells the caller.
func judge(err error) (verdict, error) {
	if err == nil {
		return done, nil
	}
	if _, raised := errors.AsType[*ray.TaskError](err); raised {
		return refused, nil
	}
	_, typed := errors.AsType[*ray.CallError](err)
	switch {
	case errors.Is(err, connector.ErrNotConnected):
		return unsent, nil
	case ray.SentOf(err) == ray.SentNo:
		return unsent, nil
	case typed:
		return maybe, nil
	}
	return maybe, err
}
