package e2e_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// upLine is what `up` says of its head: the addresses, and the variables that let others in.
var upLine = regexp.MustCompile(`Ray +ray://(\S+), GCS (\S+), dashboard (http://\S+); stops.*\nToken +export (RAY_AUTH_MODE=token) (RAY_AUTH_TOKEN_PATH='([^']+)') for `)

// wantTokenDemanded looks from outside at a head that `up` started: nobody gets in without its token, and whoever does what
// `up` says gets in.
func wantTokenDemanded(t *testing.T, p *program, home string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	said := upLine.FindStringSubmatch(p.text())
	if said == nil {
		t.Fatalf("up does not say how to connect:\n%s", p.text())
	}
	address, gcsAddress, dashboard, mode, path, file := said[1], said[2], said[3], said[4], strings.ReplaceAll(said[5], "'", ""), said[6]
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(string(text))
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || len(token) < 26 || !strings.HasPrefix(file, strings.TrimPrefix(home, "HOME=")+"/") {
		t.Errorf("%s: %v, %v, %d characters", file, info.Mode(), err, len(token))
	}
	if strings.Contains(p.text(), token) {
		t.Error("up prints the token")
	}

	for name, c := range map[string]*ray.Credentials{"none": nil, "another": {Token: ray.StaticToken("another")}, "its own": {Token: ray.TokenFile(file)}} {
		want := func(what string, err error) {
			if errors.Is(err, ray.ErrUnauthenticated) == (name == "its own") || err == nil != (name == "its own") {
				t.Errorf("%s with the token %s: %v", what, name, err)
			}
		}
		session, err := ray.Open(ctx, ray.Config{Address: address, Namespace: raytest.Namespace(t), Credentials: c})
		want("a session", err)
		if err == nil {
			want("closing it", session.Close(ctx))
		}
		gcs, err := ray.DialGCS(ctx, gcsAddress, ray.GCSOptions{Credentials: c})
		want("the GCS", err)
		if err == nil {
			want("closing it", gcs.Close())
		}
		board, err := ray.NewDashboard(dashboard, c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = board.RayVersion(ctx)
		want("the dashboard", err)
		board.Close()
	}

	// Python does as it was told. Without that it is silent for half a minute, and then says that the connection timed out.
	python := exec.CommandContext(ctx, raytest.VenvPython(t), "-c", "import ray, sys; ray.init(sys.argv[1]); print('in', ray.get(ray.put(7)))", "ray://"+address)
	python.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), mode, path}
	if out, err := python.CombinedOutput(); err != nil || !strings.Contains(string(out), "in 7") {
		t.Errorf("Python: %v\n%s", err, out)
	}

	// The commands beside it find the token by themselves; elsewhere they say what is missing.
	lost := "HOME=" + t.TempDir()
	commands := []struct {
		env  []string
		args []string
		ok   bool
		text string
	}{
		{[]string{home}, []string{"status"}, true, "cognitive_organ_1_agent_0"},
		{[]string{home}, []string{"check"}, true, "19/19 passed"},
		{[]string{lost, path}, []string{"doctor"}, true, "the raylets of 1 nodes are reached"},
		{[]string{lost}, []string{"status"}, false, "not authenticated"},
		{[]string{lost}, []string{"doctor"}, false, "-> set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"},
		{[]string{home, "RAY_AUTH_TOKEN=another"}, []string{"doctor"}, false, "does not accept the token"},
	}
	var running []*program
	for _, c := range commands {
		running = append(running, start(t, append(c.env, "RAY_ADDRESS=ray://"+address), c.args...))
	}
	for i, c := range commands {
		one := running[i]
		if err := one.end(3 * time.Minute); (err == nil) != c.ok || !strings.Contains(one.text(), c.text) || strings.Contains(one.text(), token) {
			t.Errorf("seedcore %v with %v: %v\n%s", c.args, c.env, err, one.text())
		}
	}
	if left, err := filepath.Glob(filepath.Dir(file) + "/*"); err != nil || len(left) != 1 {
		t.Errorf("beside the token: %v, %v", left, err)
	}
}
