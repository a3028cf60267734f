package organism

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// Handler runs one task in an agent's process. An agent runs one task at a time, but one process can host several
// agents: handlers are called concurrently. ctx ends when the actor exits; a handler that goes on after that is cut off
// with its process. An error is handed to the caller and counts as a task without success and with quality 0.
type Handler func(ctx context.Context, task Task) (Outcome, error)

// AnyType registers the handler of the tasks that no other handler is registered for.
const AnyType = "*"

var handlers = struct {
	sync.RWMutex // guards byType
	byType       map[string]Handler
}{byType: map[string]Handler{}}

// RegisterHandler makes h run the tasks of a type in every agent of this process, or with [AnyType] all those that have
// no handler of their own; without one those run [Simulated]. Call it at start-up, before seedcore.Main, in every
// binary that runs agents. It panics when the type is empty, h is nil or the type has a handler already: like
// http.Handle, that is a mistake in the program, not in its input. It may be called concurrently.
func RegisterHandler(taskType string, h Handler) {
	if strings.TrimSpace(taskType) == "" {
		panic("organism: RegisterHandler needs a task type; AnyType stands for all the others")
	}
	if h == nil {
		panic(fmt.Sprintf("organism: RegisterHandler(%q) needs a handler", taskType))
	}
	handlers.Lock()
	defer handlers.Unlock()
	if _, taken := handlers.byType[taskType]; taken {
		panic(fmt.Sprintf("organism: RegisterHandler(%q) was called before", taskType))
	}
	handlers.byType[taskType] = h
}

// HandledTypes returns the types that have a registered handler, sorted, [AnyType] included.
func HandledTypes() []string {
	handlers.RLock()
	defer handlers.RUnlock()
	return slices.Sorted(maps.Keys(handlers.byType))
}

// handlerFor returns nil when no handler is registered for the type or for AnyType.
func handlerFor(taskType string) Handler {
	handlers.RLock()
	defer handlers.RUnlock()
	if h, ok := handlers.byType[taskType]; ok {
		return h
	}
	return handlers.byType[AnyType]
}

// Simulated returns a handler that does no work and draws an outcome: success by a fair coin, a quality from 0.5 to 1,
// 0 to 5 memory hits, one memory write that is found again with probability 0.3. It does not look at the task. rng must
// not be nil or used by anyone else at the same time, so neither may the handler.
func Simulated(rng *rand.Rand) Handler {
	return func(ctx context.Context, _ Task) (Outcome, error) {
		if err := ctx.Err(); err != nil {
			return Outcome{}, err
		}
		outcome := Outcome{
			Success:   rng.IntN(2) == 1,
			Quality:   0.5 + 0.5*rng.Float64(),
			MemHits:   rng.IntN(MaxMemHits + 1),
			MemWrites: 1,
		}
		if rng.Float64() < 0.3 {
			outcome.MemWriteHits = 1
		}
		return outcome, nil
	}
}
