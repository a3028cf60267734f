package ray_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

func TestClientChoosesThePathBeforeSending(t *testing.T) {
	x := directly(t, ray.DirectOptions{})
	x.actor(t, "counter", 0)
	ctx := deadline(t)
	client := ray.NewClient(x.session, x.gcs, x.direct, nil)
	if v, err := client.Call(ctx, x.namespace, "counter", "incr"); err != nil || v != int64(1) || client.Paths().Direct != 1 || client.Paths().Session != 0 {
		t.Errorf("%v, %v by %+v", v, err, client.Paths())
	}
	// A ref travels through the session only.
	ref, err := x.session.Put(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := client.Call(ctx, x.namespace, "counter", "incr", ref); err != nil || v != int64(11) || client.Paths().Direct != 1 || client.Paths().Detours[ray.DetourValue] != 1 {
		t.Errorf("%v, %v by %+v", v, err, client.Paths())
	}
	// What the method raised is not tried again elsewhere.
	if _, err := client.Call(ctx, x.namespace, "counter", "boom"); ray.SentOf(err) != ray.SentYes || client.Paths().Session != 1 {
		t.Errorf("%v by %+v", err, client.Paths())
	}
	proxied := ray.NewClient(x.session, nil, nil, errors.New("not wanted"))
	for want := range 2 {
		if v, err := proxied.Call(ctx, x.namespace, "counter", "incr"); err != nil || v != int64(12+want) || proxied.Paths().Direct != 0 {
			t.Errorf("%v, %v by %+v", v, err, proxied.Paths())
		}
	}
	if _, err := proxied.Call(ctx, x.namespace, "nobody", "get"); !errors.Is(err, ray.ErrActorNotFound) || ray.SentOf(err) != ray.SentNo {
		t.Error(err)
	}
}

func testAClientWithoutASession(t *testing.T, x directSetup) {
	client := ray.NewClient(nil, x.gcs, x.direct, nil)
	if _, err := client.Call(deadline(t), x.namespace, "counter", "get"); err != nil {
		t.Error(err)
	}
	// What would go to a session is what the direct path says of it.
	wantSent(t, second(client.Call(deadline(t), x.namespace, "counter", "incr", make(chan int))), ray.ErrUnsupportedValue, ray.SentNo)
	reason := errors.New("not wanted")
	_, err := ray.NewClient(nil, nil, nil, reason).Call(deadline(t), x.namespace, "counter", "get")
	wantSent(t, err, ray.ErrNoSession, ray.SentNo)
	wantSent(t, err, reason, ray.SentNo)
	wantSent(t, second(ray.NewClient(nil, nil, nil, nil).Call(deadline(t), x.namespace, "counter", "get")), ray.ErrNoSession, ray.SentNo)
}

// A direct path that comes late, or goes, is that of all who hold the client, and the counts go on.
func testTheDirectPathChanges(t *testing.T, x directSetup) {
	gone := errors.New("gone")
	client := ray.NewClient(x.session, nil, nil, nil)
	require := client.WithDirect(ray.DirectRequire)
	call := func(c *ray.Client) error { return second(c.Call(deadline(t), x.namespace, "counter", "get")) }
	wantSent(t, call(require), ray.ErrUnreachable, ray.SentNo)
	for _, there := range []bool{false, true, false} {
		if there {
			client.SetDirect(x.gcs, x.direct, nil)
			if err := call(require); err != nil {
				t.Error(err)
			}
		} else {
			require.SetDirect(nil, nil, gone)
			wantSent(t, call(require), gone, ray.SentNo)
		}
		if err := call(client); err != nil {
			t.Error(err)
		}
		if direct, reason := client.Direct(); (direct != nil) != there || (client.GCS() != nil) != there || there != (reason == nil) {
			t.Errorf("%v, %v", direct, reason)
		}
	}
	if paths := client.Paths(); paths.Direct != 2 || paths.Detours[ray.DetourNoPath] != 2 || paths.Session != 2 {
		t.Errorf("%+v", paths)
	}
}

func testModes(t *testing.T, x directSetup) {
	auto := ray.NewClient(x.session, x.gcs, x.direct, nil)
	off, require := auto.WithDirect(ray.DirectOff), auto.WithDirect(ray.DirectRequire)
	for _, client := range []*ray.Client{auto, off, require} {
		if _, err := client.Call(deadline(t), x.namespace, "counter", "get"); err != nil {
			t.Error(err)
		}
	}
	ref, err := x.session.Put(deadline(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auto.Call(deadline(t), x.namespace, "counter", "incr", ref); err != nil {
		t.Error(err)
	}
	wantSent(t, second(require.Call(deadline(t), x.namespace, "counter", "incr", ref)), ray.ErrUnsupportedValue, ray.SentNo)
	want := ray.PathStats{Direct: 3, Session: 2, Detours: map[ray.Detour]int64{
		ray.DetourOff: 1, ray.DetourValue: 1, ray.DetourGCS: 0, ray.DetourNoPath: 0, ray.DetourUnreachable: 0,
	}}
	if got := off.Paths(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v instead of %+v", got, want)
	}
	reason := errors.New("not wanted")
	none := ray.NewClient(x.session, nil, nil, reason).WithDirect(ray.DirectRequire)
	err = second(none.Call(deadline(t), x.namespace, "counter", "get"))
	wantSent(t, err, ray.ErrUnreachable, ray.SentNo)
	wantSent(t, err, reason, ray.SentNo)
	noSession := ray.NewClient(nil, x.gcs, x.direct, nil).WithDirect(ray.DirectOff)
	wantSent(t, second(noSession.Call(deadline(t), x.namespace, "counter", "get")), ray.ErrNoSession, ray.SentNo)
}

// A network that lets through nothing but the port of the Ray Client server: the GCS and the workers swallow everything.
func testOnlyTheClientPort(t *testing.T, x directSetup) {
	hole := blackHole(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, noGCS := ray.DialGCS(ctx, hole, ray.GCSOptions{})
	if noGCS == nil {
		t.Fatal("a GCS answers")
	}
	filtered := x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string { return hole }}, ray.DirectBounds{Dial: 300 * time.Millisecond, Recheck: never})
	for name, c := range map[string]struct {
		client *ray.Client
		why    ray.Detour
	}{
		"neither GCS nor workers": {ray.NewClient(x.session, nil, nil, noGCS), ray.DetourNoPath},
		"the GCS, but no workers": {ray.NewClient(x.session, x.gcs, filtered.direct, nil), ray.DetourUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := deadline(t)
			s := c.client.Session()
			class, err := s.PythonClass(ctx, "seedtest", "Counter")
			if err != nil {
				t.Fatal(err)
			}
			actor, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "behind", Namespace: x.namespace, NumCPUs: 0.1}, 40)
			if err != nil {
				t.Fatal(err)
			}
			call := func(method string, args ...any) (any, error) {
				return c.client.Call(ctx, x.namespace, "behind", method, args...)
			}
			if v, err := call("incr", 2); err != nil || v != int64(42) {
				t.Errorf("%v, %v", v, err)
			}
			_, err = call("boom", "the reason")
			if raised, ok := errors.AsType[*ray.TaskError](err); !ok || raised.Class != "ValueError" || raised.Message != "the reason" {
				t.Errorf("%v", err)
			}
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			defer cancel()
			if _, err := c.client.Call(short, x.namespace, "behind", "sleep", 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("at the deadline: %v", err)
			}
			if v, err := call("get"); err != nil || v != int64(42) {
				t.Errorf("%v, %v", v, err)
			}
			if got := c.client.Paths(); got.Direct != 0 || got.Session != 4 || got.Detours[c.why] != 4 {
				t.Errorf("%+v", got)
			}
			if err := s.Kill(ctx, actor, true); err != nil {
				t.Error(err)
			}
			waitFor(t, "the actor is gone", func() bool {
				_, err := s.GetActor(ctx, "behind", x.namespace)
				return errors.Is(err, ray.ErrActorNotFound)
			})
			if _, err := call("get"); err == nil || ray.SentOf(err) == ray.SentYes {
				t.Errorf("an actor that is gone: %v", err)
			}
		})
	}
}
