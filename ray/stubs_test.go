package ray_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

func testTypedStubs(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	add := ray.NewFunction[int](s, function("add"))
	three, err := add.Remote(ctx, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	// A typed ref as an argument, and within one.
	if sum, err := add.Call(ctx, three, 4); sum != 7 || err != nil {
		t.Errorf("%v, %v", sum, err)
	}
	resolved := ray.NewFunction[[]int](s, function("resolve"))
	if list, err := resolved.Call(ctx, []any{three, 5}); !slices.Equal(list, []int{3, 5}) || err != nil {
		t.Errorf("a ref in a list: %v, %v", list, err)
	}
	same := ray.NewFunction[[]*ray.ObjectRef](s, function("return_same"))
	if list, err := same.Call(ctx, []any{three}); err != nil || len(list) != 1 || list[0].ID() != three.Untyped().ID() {
		t.Errorf("%v, %v", list, err)
	}
	if ready, _, err := s.Wait(ctx, []*ray.ObjectRef{three.Untyped()}, 1); err != nil || len(ready) != 1 {
		t.Errorf("%v, %v", ready, err)
	}
	if v, err := three.Get(ctx); v != 3 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	three.Release()
	if err := second(three.Get(ctx)); !errors.Is(err, ray.ErrReleased) || ray.SentOf(err) != ray.SentNo {
		t.Error(err)
	}
	if err := second((*ray.Ref[int])(nil).Get(ctx)); !errors.Is(err, ray.ErrReleased) {
		t.Error(err)
	}
	put, err := s.Put(ctx, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := ray.RefTo[[]string](put).Get(ctx); !slices.Equal(v, []string{"a", "b"}) || err != nil {
		t.Errorf("%v, %v", v, err)
	}

	// Options, and what they must not ask for.
	variable := ray.NewFunction[string](s, function("variable"))
	withEnv := variable.Options(ray.TaskOptions{RuntimeEnv: &ray.RuntimeEnv{EnvVars: map[string]string{"DRIVERTEST": "typed"}}})
	if v, err := withEnv.Call(ctx, "DRIVERTEST"); v != "typed" || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	for _, opts := range []ray.TaskOptions{{NumReturns: new(2)}, {DynamicReturns: true}} {
		if err := second(add.Options(opts).Remote(ctx, 1, 2)); !errors.Is(err, ray.ErrInvalidOption) || ray.SentOf(err) != ray.SentNo {
			t.Error(err)
		}
	}

	// What does not fit, what raises, what does not exist.
	text := ray.NewFunction[string](s, function("add"))
	if v, err := text.Call(ctx, 1, 2); !errors.Is(err, ray.ErrValueMismatch) || ray.SentOf(err) != ray.SentYes || v != "" {
		t.Errorf("%q, %v", v, err)
	}
	if err := second(ray.NewFunction[int](s, function("fail")).Call(ctx, "no")); !as[*ray.TaskError](err) {
		t.Error(err)
	}
	if err := second(ray.NewFunction[int](s, function("no_such_function")).Call(ctx)); !as[*ray.TaskError](err) {
		t.Error(err)
	}
	over, cancel := context.WithCancel(ctx)
	ref, err := ray.NewFunction[int](s, function("sleep_then")).Remote(ctx, 0, 8)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := second(ref.Get(over)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if v, err := ref.Get(ctx); v != 8 || err != nil {
		t.Errorf("after a get that was given up: %v, %v", v, err)
	}

	actor := counter(t, s, ray.ActorOptions{}, 10)
	defer actor.Release()
	incr := ray.NewMethod[int](actor, "incr")
	later, err := incr.Remote(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := incr.Options(ray.MethodOptions{Name: "a name"}).Call(ctx); v != 16 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := later.Get(ctx); v != 15 || err != nil {
		t.Errorf("%v, %v", v, err)
	}
	if err := second(incr.Options(ray.MethodOptions{NumReturns: new(1)}).Remote(ctx)); !errors.Is(err, ray.ErrInvalidOption) {
		t.Error(err)
	}
	if err := second(ray.NewMethod[int](actor, "absent").Call(ctx)); !errors.Is(err, ray.ErrNoSuchMethod) {
		t.Error(err)
	}
}

func TestTypedMethodsOfNamedActors(t *testing.T) {
	t.Parallel()
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	ctx := deadline(t)
	client := ray.NewClient(x.session, x.gcs, x.direct, nil)
	for i, caller := range []ray.Caller{x.direct, client, client.WithDirect(ray.DirectOff)} {
		incr := ray.NewNamedMethod[uint16](caller, x.namespace, "counter", "incr")
		if v, err := incr.Call(ctx, 2); err != nil || v != uint16(2*(i+1)) {
			t.Errorf("%T: %v, %v", caller, v, err)
		}
	}
	if err := second(ray.NewNamedMethod[string](x.direct, x.namespace, "counter", "get").Call(ctx)); !errors.Is(err, ray.ErrValueMismatch) || ray.SentOf(err) != ray.SentYes {
		t.Error(err)
	}
	// A ref is nothing for direct calls, typed or not.
	ref, err := x.session.Put(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(x.direct.Call(ctx, x.namespace, "counter", "incr", ray.RefTo[int](ref))); !errors.Is(err, ray.ErrUnsupportedValue) || ray.SentOf(err) != ray.SentNo {
		t.Error(err)
	}
}
