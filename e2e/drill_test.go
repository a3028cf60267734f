package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// Under load, processes are killed at random moments. Every call ends within its deadline with a result or with an error
// that says whether it may have run, and afterwards the same actors run as before.
func TestDrillKillsUnderLoad(t *testing.T) {
	const (
		kills    = 6
		callers  = 4
		deadline = 20 * time.Second
	)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	namespace := raytest.Namespace(t)
	conn := connected(t, namespace)
	org := running(t, conn, organism.DefaultConfig(), organism.Options{TaskTimeout: deadline})
	before := ids(t, conn, namespace)

	load, stopLoad := context.WithCancel(t.Context())
	defer stopLoad()
	var succeeded, unsent, maybe atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for load.Err() == nil {
				start := time.Now()
				_, err := org.ExecuteRandom(t.Context(), organism.Task{"type": "general"})
				if late := time.Since(start) - deadline; late > 5*time.Second {
					t.Errorf("a call took %s longer than its deadline: %v", late, err)
				}
				switch {
				case err == nil:
					succeeded.Add(1)
				case errors.Is(err, ray.ErrActorUnavailable), errors.Is(err, context.DeadlineExceeded):
					if ray.SentOf(err) == ray.SentNo {
						unsent.Add(1)
					} else {
						maybe.Add(1)
					}
				default:
					t.Errorf("a call ended with %v", err)
				}
			}
		})
	}
	names := make([]string, 0, len(before))
	for _, organ := range organism.DefaultConfig().Organs {
		names = append(names, organ.ID, organ.AgentID(0))
	}
	for range kills {
		time.Sleep(time.Duration(random.Int64N(int64(2 * time.Second))))
		name := names[random.IntN(len(names))]
		info, err := clientOf(t, conn).GCS().NamedActor(t.Context(), namespace, name)
		if err != nil || info.State != ray.ActorAlive {
			t.Logf("%s is just being restarted: %v", name, err)
			continue
		}
		t.Logf("killing %s, process %d", name, info.PID)
		if err := syscall.Kill(info.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
	stopLoad()
	all.Wait()
	t.Logf("%d calls succeeded, %d were not sent, %d may have run", succeeded.Load(), unsent.Load(), maybe.Load())
	if succeeded.Load() == 0 {
		t.Error("no call succeeded: the drill proves nothing")
	}
	for _, organ := range organism.DefaultConfig().Organs {
		worksAgain(t, org, organ.ID)
	}
	eventually(t, 60*time.Second, "the same actors run as before", func() error {
		if now := ids(t, conn, namespace); fmt.Sprint(now) != fmt.Sprint(before) {
			return errorf("%v instead of %v", now, before)
		}
		return nil
	})
}
