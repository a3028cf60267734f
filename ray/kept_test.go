package ray_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// The collector takes no ref from a call that was given it and did not come to use it yet.
func testCallsKeepTheirRefs(t *testing.T, s *ray.Session) {
	type use func(ctx context.Context, ref *ray.ObjectRef) error
	for name, call := range map[string]use{
		"get": func(ctx context.Context, ref *ray.ObjectRef) error { return second(s.Get(ctx, ref)) },
		"get all": func(ctx context.Context, ref *ray.ObjectRef) error {
			return second(s.GetAll(ctx, []*ray.ObjectRef{ref}))
		},
		"wait": func(ctx context.Context, ref *ray.ObjectRef) error {
			return second3(s.Wait(ctx, []*ray.ObjectRef{ref}, 1))
		},
		"ready": func(ctx context.Context, ref *ray.ObjectRef) error {
			return second3(s.Ready(ctx, []*ray.ObjectRef{ref}))
		},
		"submit": func(ctx context.Context, ref *ray.ObjectRef) error {
			return second(s.Submit(ctx, function("echo"), ref))
		},
		"put":   func(ctx context.Context, ref *ray.ObjectRef) error { return second(s.Put(ctx, []any{ref})) },
		"typed": func(ctx context.Context, ref *ray.ObjectRef) error { return second(ray.RefTo[int](ref).Get(ctx)) },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "submit" { // so that only the argument is looked up while the books are held
				if err := second(s.Submit(deadline(t), function("echo"), 1)); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			// In a function of its own, so that nothing here keeps the ref.
			letGo := func() func() {
				ctx := deadline(t)
				ref, err := s.Put(ctx, 1)
				if err != nil {
					t.Fatal(err)
				}
				letGo := ray.HoldBooks(s)
				go func() { done <- call(ctx, ref) }()
				return letGo
			}()
			for range 10 {
				runtime.GC()
				time.Sleep(5 * time.Millisecond) // the call comes to the books, and clean-ups have a goroutine of their own
			}
			letGo()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
