package ray_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/ray/python"
)

// mustRefuse calls each function, none of which may panic, and each of which must return an error that has the words of its key (up to a
// bar) and says that nothing was sent.
func mustRefuse(t *testing.T, calls map[string]func() error) {
	t.Helper()
	for words, call := range calls {
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%s: panic: %v", words, p)
				}
			}()
			err := call()
			if err == nil {
				t.Errorf("%s: no error", words)
				return
			}
			what, _, _ := strings.Cut(words, "|")
			if !strings.Contains(err.Error(), what) {
				t.Errorf("%s: %v", words, err)
			}
			if call, ok := errors.AsType[*ray.CallError](err); ok && call.Sent != ray.SentNo {
				t.Errorf("%s: sent: %v", words, err)
			}
		}()
	}
}

// Nil where a value was to be is an error that names it, whatever was called.
func TestNilArguments(t *testing.T) {
	ctx := t.Context()
	d := dashboard(t, "127.0.0.1:1", nil)
	client := ray.NewClient(nil, nil, nil, nil)
	var none *ray.ObjectRef
	mustRefuse(t, map[string]func() error{
		"need a GCS":              func() error { return second(ray.NewDirect(nil, ray.DirectOptions{})) },
		"packages[0]: nil":        func() error { return second(ray.JoinPackages(nil)) },
		"packages[0]: empty":      func() error { return second(ray.JoinPackages(&ray.Package{}, nil)) },
		"no packages":             func() error { return second(ray.JoinPackages()) },
		"files of a package":      func() error { return second(ray.FilePackage(nil)) },
		"getenv":                  func() error { return second(ray.CredentialsFromEnv(nil)) },
		"destination":             func() error { return ray.Decode(1, nil) },
		"destination|pointer":     func() error { return ray.Decode(1, (*int)(nil)) },
		"w, where the logs go":    func() error { return d.FollowJobLogs(ctx, "x", nil) },
		"the session is nil":      func() error { return second(ray.Get[int](ctx, nil, none)) },
		"session is nil|function": func() error { return second(ray.NewFunction[int](nil, ray.Function{Module: "a", Name: "b"}).Call(ctx)) },
		"handle is nil":           func() error { return second(ray.NewMethod[int](nil, "f").Call(ctx)) },
		"handle is nil|zero":      func() error { return second(new(ray.ActorHandle).Call(ctx, "f")) },
		"handle is nil|submit":    func() error { return second((*ray.ActorHandle)(nil).Submit(ctx, "f")) },
		"handle is nil|options": func() error {
			return second(ray.NewMethod[int](nil, "f").Options(ray.MethodOptions{ConcurrencyGroup: "g"}).Remote(ctx))
		},
		"caller is nil":    func() error { return second(ray.NewNamedMethod[int](nil, "n", "a", "f").Call(ctx)) },
		"ref is nil":       func() error { return second(ray.RefTo[int](nil).Get(ctx)) },
		"ref is nil|zero":  func() error { return second(new(ray.Ref[int]).Get(ctx)) },
		"ref is nil|inner": func() error { return second(ray.RefTo[int](new(ray.ObjectRef)).Get(ctx)) },
		"no session":       func() error { return second(client.Call(ctx, "n", "a", "f")) },
		"no direct path":   func() error { return second(client.Direct()) },
		"be reached": func() error {
			return second(client.WithDirect(ray.DirectRequire).Call(ctx, "n", "a", "f"))
		},
		"direct path is needed": func() error {
			for _, err := range client.Stream(ctx, "n", "a", "f") {
				return err
			}
			return nil
		},
		"GCS": func() error { return client.AwaitActor(ctx, "x") },
		"packages[0]: nil|config": func() error {
			return second(ray.Open(ctx, ray.Config{Address: "127.0.0.1:1", Namespace: "n", Packages: []*ray.Package{nil}}))
		},
		"packages[0]: empty|config": func() error {
			return second(ray.Open(ctx, ray.Config{Address: "127.0.0.1:1", Namespace: "n", Packages: []*ray.Package{{}}}))
		},
	})
	// What has no error to return does nothing.
	for _, f := range []func(){
		none.Release, new(ray.ObjectRef).Release, (*ray.ActorHandle)(nil).Release, new(ray.ActorHandle).Release,
		(*ray.Ref[int])(nil).Release, ray.RefTo[int](nil).Release,
		func() { ray.WithProgress(ctx, nil) },
		func() { _ = client.Diagnose(ctx, "x") },
		func() { _ = client.Paths() },
		func() { (*ray.Package)(nil).Platform(); (*ray.Package)(nil).URI() },
		func() { new(ray.Package).Platform(); new(ray.Package).URI() },
		func() { _ = ray.SentOf(nil); _ = ray.ErrorCode(nil) },
		func() {
			for _, err := range []error{&ray.CallError{}, &ray.TaskError{}, &ray.SystemError{}, &ray.ActorDiedError{}, &ray.StaleSessionError{}, &ray.FullError{}, &ray.ItemError{}, &ray.TaskCancelledError{}} {
				_, _, _ = err.Error(), errors.Unwrap(err), errors.Is(err, ray.ErrActorDied)
			}
		},
	} {
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			f()
		}()
	}
	for _, id := range []string{none.ID(), new(ray.ObjectRef).ID(), (*ray.ActorHandle)(nil).ID(), new(ray.ActorHandle).ID(), (*ray.ActorClass)(nil).Name()} {
		if id != "" {
			t.Errorf("%q", id)
		}
	}
}

// testNilWithASession is TestNilArguments for what needs a session, which lives on.
func testNilWithASession(t *testing.T, s *ray.Session) {
	ctx := deadline(t)
	var ref *ray.ObjectRef
	var actor *ray.ActorHandle
	var group *ray.PlacementGroup
	fn := ray.Function{Module: "statistics", Name: "mean"}
	with := func(strategy ray.SchedulingStrategy) func() error {
		return func() error { return second(s.SubmitWith(ctx, fn, ray.TaskOptions{SchedulingStrategy: strategy})) }
	}
	mustRefuse(t, map[string]func() error{
		"ref or handle is nil":          func() error { return second(s.Get(ctx, ref)) },
		"ref or handle is nil|zero":     func() error { return second(s.Get(ctx, new(ray.ObjectRef))) },
		"ref or handle is nil|typed":    func() error { return second(ray.Get[int](ctx, s, ref)) },
		"[0]: ray: ref or handle":       func() error { return second(s.GetAll(ctx, []*ray.ObjectRef{ref})) },
		"[0]: ray: ref or handle|wait":  func() error { return second3(s.Wait(ctx, []*ray.ObjectRef{ref, {}}, 1)) },
		"[0]: ray: ref or handle|ready": func() error { return second3(s.Ready(ctx, []*ray.ObjectRef{{}, ref})) },
		"no refs":                       func() error { return second3(s.Wait(ctx, nil, 0)) },
		"handle is nil|cancel":          func() error { return s.Cancel(ctx, ref, false, false) },
		"handle is nil|dynamic":         func() error { return second(s.DynamicRefs(ctx, ref)) },
		"handle is nil|kill":            func() error { return s.Kill(ctx, actor, true) },
		"handle is nil|kill zero":       func() error { return s.Kill(ctx, new(ray.ActorHandle), true) },
		"handle is nil|argument":        func() error { return second(s.Submit(ctx, fn, ref)) },
		"handle is nil|typed ref":       func() error { return second(s.Submit(ctx, fn, (*ray.Ref[int])(nil))) },
		"handle is nil|nested":          func() error { return second(s.Put(ctx, map[string]any{"a": []any{actor}})) },
		"handle is nil|keyword":         func() error { return second(s.Submit(ctx, fn, ray.Kwargs{"data": ref})) },
		"class is nil":                  func() error { return second(s.CreateActor(ctx, nil, ray.ActorOptions{})) },
		"class is nil|zero":             func() error { return second(s.CreateActor(ctx, new(ray.ActorClass), ray.ActorOptions{})) },
		"package: nil":                  func() error { return second(s.UploadPackage(ctx, nil)) },
		"package: empty":                func() error { return second(s.UploadPackage(ctx, new(ray.Package))) },
		"package: nil|job": func() error {
			d, err := ray.NewDashboard("localhost:1", nil)
			if err != nil {
				return err
			}
			return second(d.UploadPackage(ctx, nil))
		},
		"placement group is nil":        func() error { return s.WaitPlacementGroup(ctx, group) },
		"placement group is nil|state":  func() error { return second(s.PlacementGroupState(ctx, group)) },
		"placement group is nil|remove": func() error { return s.RemovePlacementGroup(ctx, group) },
		"placement group id":            func() error { return s.RemovePlacementGroup(ctx, new(ray.PlacementGroup)) },
		"scheduling strategy: nil":      with((*ray.Spread)(nil)),
		"scheduling strategy: nil|node": with((*ray.NodeAffinity)(nil)),
		"scheduling strategy: nil|grp":  with((*ray.InPlacementGroup)(nil)),
		"placement group is nil|in":     with(ray.InPlacementGroup{}),
		"class is nil|Go": func() error {
			return second(s.CreateActor(ctx, nil, ray.ActorOptions{RuntimeEnv: ray.GoRuntimeEnv("")}))
		},
		"node id":     with(ray.NodeAffinity{}),
		"has no form": func() error { return second(s.Put(ctx, (func())(nil))) },
	})
	// Nil pointers to values are None.
	for _, v := range []any{(*big.Int)(nil), (*python.Array)(nil), (*python.Object)(nil), (*int)(nil), (*struct{ A int })(nil), (*time.Location)(nil), []any{(*python.Array)(nil)}} {
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("%T: panic: %v", v, p)
				}
			}()
			if ref, err := s.Put(ctx, v); err == nil {
				ref.Release()
			} else if !errors.Is(err, ray.ErrUnsupportedValue) {
				t.Errorf("%T: %v", v, err)
			}
		}()
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
}
