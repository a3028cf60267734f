package worker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/ray"
)

// nicenessOfActors compares Go actors with the Python one beside them, and with their raylet.
func nicenessOfActors(t *testing.T, head *rayhead.Head, session *ray.Session, namespace string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	class, err := session.GoClass(ctx, "Subject", []string{"add"})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"3", "much"} {
		env := goActorEnv(ctx, t, session)
		env.EnvVars = map[string]string{"RAY_worker_niceness": value}
		h, err := session.CreateActor(ctx, class, ray.ActorOptions{Name: "nice-" + value, Detached: true, RuntimeEnv: env}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Call(ctx, "add", 0); err != nil {
			t.Fatal(err)
		}
	}
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	pid := func(name string) int {
		t.Helper()
		info, err := gcs.NamedActor(ctx, namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		return info.PID
	}
	python := stat(t, fmt.Sprintf("/proc/%d/stat", pid(subjects[1])))
	raylet := stat(t, fmt.Sprintf("/proc/%d/stat", python.parent)).niceness
	if python.niceness <= raylet {
		t.Errorf("the Python actor has niceness %d, the raylet %d, so that the check shows nothing", python.niceness, raylet)
	}
	for name, want := range map[string]int{subjects[0]: python.niceness, "nice-3": raylet + 3, "nice-much": python.niceness} {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid(name)))
		if err != nil || len(threads) < 2 {
			t.Errorf("%s has the threads %v, %v", name, threads, err)
		}
		for _, thread := range threads {
			if got := stat(t, thread).niceness; got != want {
				t.Errorf("%s: %s has niceness %d, not %d", name, thread, got, want)
			}
		}
	}
	logs, err := filepath.Glob(filepath.Join(head.TempDir(), "session_latest", "logs", "raylet.err")) // the output of what just starts
	if err != nil || len(logs) != 1 {
		t.Fatalf("%v, %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil || !strings.Contains(string(log), `RAY_worker_niceness=\"much\" is not an integer, 15 is used`) {
		t.Errorf("no warning of a niceness that is none: %v, %s", err, log)
	}
	for _, value := range []string{"3", "much"} {
		h, err := session.GetActor(ctx, "nice-"+value, namespace)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Kill(ctx, h, true); err != nil {
			t.Error(err)
		}
	}
}

// pidsOf returns the processes of the actors that every way of calling is tried on.
func pidsOf(t *testing.T, head *rayhead.Head, namespace string) map[string]int {
	t.Helper()
	gcs, err := ray.DialGCS(t.Context(), head.GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	pids := map[string]int{}
	for _, name := range subjects {
		info, err := gcs.NamedActor(t.Context(), namespace, name)
		if err != nil {
			t.Fatal(err)
		}
		pids[name] = info.PID
	}
	return pids
}

type processStat struct{ parent, niceness int }

// stat reads a file of /proc: the name in it, in parentheses, may have any form.
func stat(t *testing.T, path string) processStat {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	number := func(field int) int { // as proc(5) counts
		n, err := strconv.Atoi(fields[field-3])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return processStat{parent: number(4), niceness: number(19)}
}
