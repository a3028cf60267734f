package worker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// restartsAreUsedUp kills the process of an actor once more often than Ray may restart it: every caller learns that the actor
// is dead, and why, and so does Ray's own list.
func restartsAreUsedUp(t *testing.T, head *rayhead.Head, session *ray.Session, direct *ray.Direct, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const restarts = 2
	class, err := session.GoClass(ctx, "Subject", []string{"add", "pid"})
	if err != nil {
		t.Fatal(err)
	}
	actor, err := session.CreateActor(ctx, class, ray.ActorOptions{
		Name: "mortal", Detached: true, MaxRestarts: restarts, RuntimeEnv: goActorEnv(ctx, t, session),
	}, 10)
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for life := range restarts + 1 {
		before := pid
		pid = livesIn(ctx, t, actor, before)
		if n, err := direct.Call(ctx, namespace, "mortal", "add", 1); n != int64(11) || err != nil {
			t.Fatalf("in life %d: %v, %v", life, n, err)
		}
		if life < restarts {
			end(t, pid, syscall.SIGKILL)
		}
	}
	raytest.Halt(t, pid)
	caught, err := actor.Submit(ctx, "add", 1)
	if err != nil {
		t.Fatal(err)
	}
	end(t, pid, syscall.SIGKILL)
	const cause = "worker process has died"
	died := func(how string, err error, sent ray.Sent) {
		t.Helper()
		if !errors.Is(err, ray.ErrActorDied) || ray.SentOf(err) != sent || !strings.Contains(err.Error(), cause) {
			t.Errorf("%s: %v (sent: %s)", how, err, ray.SentOf(err))
		}
	}
	_, err = session.Get(ctx, caught)
	died("a call under way", err, ray.SentMaybe)
	_, err = actor.Call(ctx, "add", 1)
	died("a later call", err, ray.SentMaybe)
	if _, err := direct.Call(ctx, namespace, "mortal", "add", 1); !errors.Is(err, ray.ErrActorNotFound) && !errors.Is(err, ray.ErrActorDied) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("a direct call: %v", err)
	}

	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	info, err := gcs.ActorByID(ctx, actor.ID())
	if err != nil || info.State != ray.ActorDead || info.Restarts != restarts || !strings.Contains(info.DeathCause, cause) {
		t.Errorf("the GCS has %+v, %v", info, err)
	}
	dashboard, err := ray.NewDashboard("http://"+head.DashboardAddress(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dashboard.Close()
	list, err := dashboard.Actors(ctx, ray.StateOptions{Detail: true, Filters: []ray.StateFilter{{Key: "actor_id", Value: actor.ID()}}})
	if err != nil || len(list.Items) != 1 || list.Items[0].State != "DEAD" || list.Items[0].NumRestarts.String() != fmt.Sprint(restarts) {
		t.Errorf("the state API has %+v, %v", list, err)
	}
}

// livesIn waits until an actor answers from another process than before, and returns that.
func livesIn(ctx context.Context, t *testing.T, actor *ray.ActorHandle, before int) int {
	t.Helper()
	for {
		pid, err := ray.As[int](actor.Call(ctx, "pid"))
		switch {
		case err == nil && pid != before:
			return pid
		case ctx.Err() != nil, err != nil && !errors.Is(err, ray.ErrActorUnavailable):
			t.Fatalf("process %d after %d: %v", pid, before, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func end(t *testing.T, pid int, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
}
