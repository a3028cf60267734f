package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// securedHead is a head that wants what Ray's variables say. They are returned as a client has to set them as well.
func securedHead(t *testing.T, ports rayhead.Ports, vars map[string]string) (*rayhead.Head, []string) {
	t.Helper()
	credentials, err := ray.CredentialsFromEnv(func(name string) string { return vars[name] })
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	return raytest.NewHead(t, rayhead.Config{Ports: ports, Env: env, Credentials: credentials}), env
}

func tlsVariables(t *testing.T) map[string]string {
	t.Helper()
	files := raytest.NewAuthority(t).Files(t, "node")
	return map[string]string{"RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": files.Cert, "RAY_TLS_SERVER_KEY": files.Key, "RAY_TLS_CA_CERT": files.CA}
}

// securely is a connection of the test's own, made as the variables say.
func securely(t *testing.T, head *rayhead.Head, namespace string, vars map[string]string) *connector.Connector {
	t.Helper()
	cfg, err := connector.FromLookup(func(name string) string {
		switch name {
		case "RAY_ADDRESS":
			return "ray://" + head.ClientAddress()
		case "RAY_NAMESPACE":
			return namespace
		}
		return vars[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return connectedWith(t, cfg)
}

// wantEverySort calls what there is to call on a cluster: functions and actors in Python, and actors in Go, all of these
// directly.
func wantEverySort(t *testing.T, p *program, conn *connector.Connector) {
	t.Helper()
	namespace, client := conn.Info().Namespace, clientOf(t, conn)
	for _, organ := range organs {
		result, err := p.task("/organism/execute/" + organ)
		if err != nil {
			t.Fatal(err)
		}
		if pid := pidOf(t, conn, namespace, organ+"_agent_0"); result["pid"] != float64(pid) {
			t.Errorf("process %d is the agent's; the task's result: %v", pid, result)
		}
		// The organ, itself an actor in Go, calls its agent.
		if _, err := client.Call(t.Context(), namespace, organ, "run_task", map[string]any{"type": "general"}); err != nil {
			t.Error(err)
		}
	}
	for why, n := range p.calls() {
		if why != "direct" && n > 0 {
			t.Errorf("%d calls went through the session: %s", n, why)
		}
	}
	session := client.Session()
	ref, err := session.Submit(t.Context(), ray.Function{Module: "textwrap", Name: "dedent"}, "  text")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := session.Get(t.Context(), ref); err != nil || v != "text" {
		t.Errorf("%v, %v", v, err)
	}
	class, err := session.PythonClass(t.Context(), "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := session.CreateActor(t.Context(), class, ray.ActorOptions{Name: "counter", NumCPUs: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	defer actor.Release()
	if v, err := client.WithDirect(ray.DirectRequire).Call(t.Context(), namespace, "counter", "incr"); err != nil || v != int64(1) {
		t.Errorf("%v, %v", v, err)
	}
}

// An organism runs where the cluster speaks TLS and knows no token.
func TestAnOrganismOverTLS(t *testing.T) {
	t.Parallel() // mostly waiting
	vars := tlsVariables(t)
	head, env := securedHead(t, rayhead.Ports{}, vars)
	namespace := raytest.Namespace(t)
	env = append(env, environment(head.ClientAddress(), namespace)...)
	p := start(t, env, "serve")
	p.ready(2 * time.Minute)
	wantEverySort(t, p, securely(t, head, namespace, vars))
	checks := start(t, env, "check")
	if err := checks.end(5 * time.Minute); err != nil || !strings.Contains(checks.text(), "19/19 passed") {
		t.Errorf("%v\n%s", err, checks.text())
	}
}

// The head that `up` starts speaks TLS where it is told to, besides its token.
func TestUpOverTLS(t *testing.T) {
	t.Parallel() // mostly waiting
	raytest.OnlyHead(t)
	vars, home := tlsVariables(t), t.TempDir()
	env := []string{"HOME=" + home, "SEEDCORE_PYTHON=" + raytest.VenvPython(t)}
	for name, value := range vars {
		env = append(env, name+"="+value)
	}
	p := start(t, env, "up")
	p.ready(3 * time.Minute)
	if _, err := p.task("/organism/execute/random"); err != nil {
		t.Error(err)
	}
	said := upLine.FindStringSubmatch(p.text())
	if said == nil || !strings.Contains(p.text(), "which want RAY_USE_TLS") {
		t.Fatalf("up does not say how to connect:\n%s", p.text())
	}
	env = append(env, "RAY_ADDRESS=ray://"+said[1])
	for _, c := range []struct {
		env  []string
		args string
		ok   bool
		text string
	}{
		{env, "check", true, "19/19 passed"},
		{env, "doctor", true, "TLS"},
		{[]string{"HOME=" + home, "RAY_ADDRESS=ray://" + said[1]}, "doctor", false, "speaks TLS, and this process does not"},
		{append(env, "RAY_AUTH_TOKEN=another"), "status", false, "does not accept the token"},
	} {
		one := start(t, c.env, c.args)
		if err := one.end(5 * time.Minute); (err == nil) != c.ok || !strings.Contains(one.text(), c.text) {
			t.Errorf("seedcore %s: %v\n%s", c.args, err, one.text())
		}
	}
}
