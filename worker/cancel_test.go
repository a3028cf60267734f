package worker_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// givenUp has callers in Go give up calls of an actor in Go and of one in Python, and of one through the other: the methods
// at the end are cancelled.
func givenUp(t *testing.T, session *ray.Session, direct *ray.Direct, namespace string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	goClass, err := session.GoClass(ctx, "Waiter", []string{"wait", "wait_for", "state"})
	if err != nil {
		t.Fatal(err)
	}
	pyClass, err := session.PythonClass(ctx, "seedtest", "Waiter")
	if err != nil {
		t.Fatal(err)
	}
	env := goActorEnv(ctx, t, session)
	names := []string{"waiter-go", "waiter-py"}
	for i, class := range []*ray.ActorClass{goClass, pyClass} {
		opts := ray.ActorOptions{Name: names[i], Namespace: namespace, MaxConcurrency: 10}
		if class == goClass {
			opts.RuntimeEnv = env
		}
		if _, err := session.CreateActor(ctx, class, opts); err != nil {
			t.Fatal(err)
		}
	}
	reaches := func(name string, waiting, cancelled int64) {
		t.Helper()
		var v any
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if v, err = direct.Call(ctx, namespace, name, "state"); err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(v, []any{waiting, cancelled}) {
				return
			}
		}
		t.Errorf("%s has %v methods that wait, and that were cancelled, not %d and %d", name, v, waiting, cancelled)
	}
	cancelled := map[string]int64{}
	for _, caller := range []string{"", names[0], names[1]} { // "": this process
		for _, name := range names {
			if caller == name {
				continue
			}
			method, args := "wait_for", []any{name}
			called := caller
			if caller == "" {
				method, args, called = "wait", nil, name
			}
			reaches(name, 0, cancelled[name])
			short, giveUp := context.WithCancel(ctx)
			failed := make(chan error, 1)
			go func() {
				_, err := direct.Call(short, namespace, called, method, args...)
				failed <- err
			}()
			reaches(name, 1, cancelled[name])
			giveUp()
			if err := <-failed; !errors.Is(err, context.Canceled) || ray.SentOf(err) != ray.SentMaybe {
				t.Errorf("%s.%s: %v", called, method, err)
			}
			cancelled[name]++
			reaches(name, 0, cancelled[name])
		}
	}
}
