package ray_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

func testGetAll(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	var refs []*ray.ObjectRef
	for i := range 100 {
		ref, err := s.Put(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	refs = append(refs, refs[0])
	values, err := s.GetAll(ctx, refs)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		if v != int64(i%100) {
			t.Errorf("value %d is %v", i, v)
		}
	}
	if values, err := s.GetAll(ctx, nil); len(values) != 0 || err != nil {
		t.Errorf("of nothing: %v, %v", values, err)
	}
	failed, err := s.Submit(ctx, function("fail"), "second")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := s.Submit(ctx, function("sleep_then"), 60, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The failure is told without waiting for what is behind it.
	_, err = s.GetAll(ctx, []*ray.ObjectRef{refs[0], failed, slow})
	if task, ok := errors.AsType[*ray.TaskError](err); !ok || task.Message != "second" {
		t.Errorf("%v", err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := s.GetAll(short, []*ray.ObjectRef{refs[0], slow}); !errors.Is(err, ray.ErrGetTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a short deadline: %v", err)
	}
	if err := s.Cancel(ctx, slow, true, true); err != nil {
		t.Error(err)
	}
	for _, ref := range []*ray.ObjectRef{nil, releasedRef(t, s)} {
		if _, err := s.GetAll(ctx, []*ray.ObjectRef{refs[0], ref}); !errors.Is(err, ray.ErrReleased) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%v: %v", ref, err)
		}
	}
}

// Many values come by one request; what it cannot carry is asked for one by one.
func testGetAllTogether(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	refs := make([]*ray.ObjectRef, 260)
	inner := make([]*ray.ObjectRef, len(refs))
	for i := range refs {
		var err error
		if inner[i], err = s.Put(ctx, i); err == nil {
			refs[i], err = s.Put(ctx, []any{[]byte("x"), inner[i]})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	requests := s.Stats().Requests
	values, err := s.GetAll(ctx, refs)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Requests - requests; n > 20 {
		t.Errorf("%d requests on the data channel", n)
	}
	for _, ref := range inner {
		ref.Release() // those in the values are others
	}
	found := make([]*ray.ObjectRef, len(values))
	for i, v := range values {
		list, ok := v.([]any)
		if !ok || len(list) != 2 {
			t.Fatalf("value %d is %v", i, v)
		}
		list[0].([]byte)[0]++ // the values share nothing
		if list[0].([]byte)[0] != 'y' {
			t.Fatalf("value %d shares its bytes: %q", i, list[0])
		}
		found[i] = list[1].(*ray.ObjectRef)
	}
	values, err = s.GetAll(ctx, found)
	for i, v := range values {
		if v != int64(i) {
			t.Fatalf("ref %d leads to %v", i, v)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if refs[20], err = s.Submit(ctx, function("fail"), "the 20th"); err != nil {
		t.Fatal(err)
	}
	_, err = s.GetAll(ctx, refs)
	if task, ok := errors.AsType[*ray.TaskError](err); !ok || task.Message != "the 20th" || !strings.Contains(err.Error(), "[20]") {
		t.Errorf("%v", err)
	}
	if refs[20], err = s.Submit(ctx, function("sleep_then"), 60, nil); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := s.GetAll(short, refs); !errors.Is(err, ray.ErrGetTimeout) {
		t.Errorf("with a short deadline: %v", err)
	}
	if err := s.Cancel(ctx, refs[20], true, true); err != nil {
		t.Error(err)
	}
}

func releasedRef(t *testing.T, s *ray.Session) *ray.ObjectRef {
	t.Helper()
	ref, err := s.Put(deadline(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	ref.Release()
	return ref
}

func testWait(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	submit := func(name string, args ...any) *ray.ObjectRef {
		t.Helper()
		ref, err := s.Submit(ctx, function(name), args...)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	slow := submit("sleep_then", 60, nil)
	quick := submit("echo", pattern(100))
	failed := submit("fail", "is ready too")
	refs := []*ray.ObjectRef{slow, quick, failed}
	ready, rest, err := s.Wait(ctx, refs, 2)
	if err != nil || !slices.Equal(ready, []*ray.ObjectRef{quick, failed}) || !slices.Equal(rest, []*ray.ObjectRef{slow}) {
		t.Fatalf("%v, %v, %v", ready, rest, err)
	}
	// The value came along: it needs no further transfer, once.
	before := s.Stats().Requests
	if v, err := s.Get(ctx, quick); err != nil || len(v.([]byte)) != 100 {
		t.Errorf("%v, %v", v, err)
	}
	if n := s.Stats().Requests - before; n > 1 { // a release may be among them
		t.Errorf("%d requests for a value that Wait had brought", n)
	}
	if v, err := s.Get(ctx, quick); err != nil || len(v.([]byte)) != 100 {
		t.Errorf("again: %v, %v", v, err)
	}
	if err := second(s.Get(ctx, failed)); err == nil {
		t.Error("a failed task has a value")
	}
	// Asked without waiting, and with a deadline.
	ready, rest, err = s.Ready(ctx, refs)
	if err != nil || !slices.Equal(ready, []*ray.ObjectRef{quick, failed}) || !slices.Equal(rest, []*ray.ObjectRef{slow}) {
		t.Errorf("%v, %v, %v", ready, rest, err)
	}
	// A second is ample for values that are there.
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	ready, rest, err = s.Wait(short, refs, 3)
	if !errors.Is(err, ray.ErrGetTimeout) || !errors.Is(err, context.DeadlineExceeded) || len(ready)+len(rest) != 3 || !slices.Contains(rest, slow) {
		t.Errorf("%v, %v, %v", ready, rest, err)
	}
	// A wait does not stand in the way of other calls.
	waiting := make(chan error, 1)
	held, stop := context.WithCancel(ctx)
	go func() {
		_, _, err := s.Wait(held, []*ray.ObjectRef{slow}, 1)
		waiting <- err
	}()
	for range 10 {
		if err := s.Ping(ctx); err != nil {
			t.Error(err)
		}
	}
	stop()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Cancel(ctx, slow, true, true); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		refs []*ray.ObjectRef
		n    int
		want error
	}{
		"none":        {nil, 1, ray.ErrInvalidOption},
		"zero":        {refs, 0, ray.ErrInvalidOption},
		"too many":    {refs, 4, ray.ErrInvalidOption},
		"twice":       {[]*ray.ObjectRef{quick, quick}, 1, ray.ErrInvalidOption},
		"nil":         {[]*ray.ObjectRef{nil}, 1, ray.ErrReleased},
		"a dead one":  {[]*ray.ObjectRef{releasedRef(t, s)}, 1, ray.ErrReleased},
		"one of none": {[]*ray.ObjectRef{}, 1, ray.ErrInvalidOption},
	} {
		if _, _, err := s.Wait(ctx, c.refs, c.n); !errors.Is(err, c.want) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v", name, err)
		}
	}
}
