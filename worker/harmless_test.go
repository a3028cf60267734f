package worker_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// nothingKills calls the actors in Go and Python with nonsense, directly and through the session: both live on in their processes.
// Ray's own kinds of actors: ray.TestNothingThatCanBeCalledKillsAnActor.
func nothingKills(t *testing.T, session *ray.Session, direct *ray.Direct, namespace string) {
	t.Helper()
	deep := any("bottom")
	for range 150 {
		deep = []any{deep}
	}
	arguments := [][]any{
		nil,
		{nil},
		{1, 2, 3},
		{"\xff\xfe"},
		{math.NaN()},
		{deep},
		{[]byte{}},
		{map[string]any{"": nil}},
		{uint64(math.MaxUint64)},
		{-1},
		{"__RAY_DUMMY__"},
		{ray.Kwargs{"no_such": 1}},
		{make([]any, 5000)},
	}
	methods := []string{
		"echo", "add", "record", "recorded", "fail", "size", "make", "count", "reset", "", "nope", "__init__", "__ray_call__", "__class__", "__dict__", "_actor_id", "add\x00",
		"Subject.add", "\xff", strings.Repeat("m", 100_000),
	}
	for _, name := range subjects {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		handle, err := session.GetActor(ctx, name, namespace)
		if err != nil {
			t.Fatal(err)
		}
		lives := func(call func(method string, args ...any) (any, error)) int64 {
			t.Helper()
			if _, err := call("reset"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			n, err := ray.As[int64](call("add", 1))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return n
		}
		for way, call := range map[string]func(method string, args ...any) (any, error){
			"direct": func(method string, args ...any) (any, error) {
				return direct.Call(ctx, namespace, name, method, args...)
			},
			"session": func(method string, args ...any) (any, error) { return handle.Call(ctx, method, args...) },
		} {
			for _, method := range methods {
				for _, args := range arguments {
					_, err := call(method, args...)
					for _, end := range []error{ray.ErrActorUnavailable, ray.ErrActorDied, ray.ErrActorNotFound, ray.ErrUnreachable, ray.ErrSessionLost, context.DeadlineExceeded} {
						if errors.Is(err, end) {
							t.Errorf("%s, %s.%.40q with %.40v: %v", way, name, method, args, err)
						}
					}
				}
			}
			if n := lives(call); n != 1 { // they are not restarted, so that it is the same process
				t.Errorf("%s, %s: it counts %d", way, name, n)
			}
		}
	}
}
