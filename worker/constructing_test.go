package worker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/ray"
)

// killedWhileConstructed kills actors whose constructors do not return: one that looks at its context, and one that does not.
func killedWhileConstructed(t *testing.T, head *rayhead.Head, session *ray.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	class, err := session.GoClass(ctx, "Slow", []string{"pid"})
	if err != nil {
		t.Fatal(err)
	}
	for _, stubborn := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "pid")
		actor, err := session.CreateActor(ctx, class, ray.ActorOptions{Detached: true, Name: "slow", MaxRestarts: -1, RuntimeEnv: goActorEnv(ctx, t, session)}, file, stubborn)
		if err != nil {
			t.Fatal(err)
		}
		pid := 0
		for pid == 0 {
			text, _ := os.ReadFile(file)
			pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
			if ctx.Err() != nil {
				t.Fatal("the constructor does not run")
			}
			time.Sleep(20 * time.Millisecond)
		}
		waiting, err := actor.Submit(ctx, "pid")
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Kill(ctx, actor, true); err != nil {
			t.Error(err)
		}
		if _, err := session.Get(ctx, waiting); !errors.Is(err, ray.ErrActorDied) {
			t.Errorf("stubborn %v: a call that waited: %v", stubborn, err)
		}
		if info, err := gcs.ActorByID(ctx, actor.ID()); err != nil || info.State != ray.ActorDead {
			t.Errorf("stubborn %v: the GCS has %+v, %v", stubborn, info, err)
		}
		for by := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(by) {
				t.Errorf("stubborn %v: the process of an actor that was killed still runs", stubborn)
				break
			}
		}
	}
}
