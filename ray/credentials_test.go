package ray_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// A head that wants both a token and TLS: every way to come without is refused by name, and everything works with both.
func TestTokenAndTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a head of its own")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // for a head and some sessions, each with a process of its own
	defer cancel()
	const token = "only-for-this-test"
	ours := raytest.NewAuthority(t).Files(t, "node", "ray.test")
	vars := map[string]string{
		"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_USE_TLS": "1",
		"RAY_TLS_SERVER_CERT": ours.Cert, "RAY_TLS_SERVER_KEY": ours.Key, "RAY_TLS_CA_CERT": ours.CA,
	}
	full, err := ray.CredentialsFromEnv(func(name string) string { return vars[name] })
	if err != nil {
		t.Fatal(err)
	}
	var environment []string
	for name, value := range vars {
		environment = append(environment, name+"="+value)
	}
	head := raytest.NewHead(t, rayhead.Config{Env: environment, Credentials: full})
	tokens := !raytest.RayBefore(t, "2.54") // which knows none, and lets everyone in that speaks TLS

	var log bytes.Buffer
	config := func(c *ray.Credentials) ray.Config {
		return ray.Config{Address: head.ClientAddress(), Namespace: "x", Credentials: c, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	}
	tlsOf := func(f ray.TLSFiles) *ray.Credentials {
		c, err := f.Config()
		if err != nil {
			t.Fatal(err)
		}
		return &ray.Credentials{TLS: c, Token: ray.StaticToken(token)}
	}
	named := ours
	named.ServerName = "another.test"
	stranger := raytest.NewAuthority(t).Files(t, "stranger")
	known := stranger // to us is the cluster's authority, and to the cluster ours is not
	known.CA = ours.CA
	for name, c := range map[string]struct {
		credentials *ray.Credentials
		want        error
	}{
		"nothing":              {nil, ray.ErrNoClientServer},
		"a token in the clear": {&ray.Credentials{Token: ray.StaticToken(token)}, ray.ErrNoClientServer},
		"no token":             {&ray.Credentials{TLS: full.TLS}, ray.ErrUnauthenticated},
		"another token":        {&ray.Credentials{TLS: full.TLS, Token: ray.StaticToken("wrong")}, ray.ErrUnauthenticated},
		"a foreign authority":  {tlsOf(stranger), ray.ErrTLS},
		"another server name":  {tlsOf(named), ray.ErrTLS},
		"a strange client":     {tlsOf(known), ray.ErrTLS},
	} {
		if !tokens && errors.Is(c.want, ray.ErrUnauthenticated) {
			c.want = nil
		}
		s, err := ray.Open(ctx, config(c.credentials))
		if err == nil {
			closeSession(t, s)
		}
		if !errors.Is(err, c.want) || strings.Contains(fmt.Sprintf("%v %+v", err, err), token) {
			t.Errorf("%s: %v", name, err)
		}
		gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{Credentials: c.credentials})
		if err == nil {
			_ = gcs.Close()
		}
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s at the GCS: %v", name, err)
		}
		if errors.Is(c.want, ray.ErrUnauthenticated) && !errors.Is(err, c.want) {
			t.Errorf("%s at the GCS: %v", name, err)
		}
	}

	// A file whose token is replaced while the program runs, and a server known by another name.
	file := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("outdated")
	named.ServerName = "ray.test"
	rotated := tlsOf(named)
	rotated.Token = ray.TokenFile(file)
	if tokens {
		if _, err := ray.Open(ctx, config(rotated)); !errors.Is(err, ray.ErrUnauthenticated) {
			t.Errorf("an outdated token: %v", err)
		}
	}
	write(token)
	var s *ray.Session
	waitFor(t, "the new token to be used", func() bool {
		s, err = ray.Open(ctx, config(rotated))
		return err == nil
	})
	defer closeSession(t, s)
	gcs, err := ray.DialGCS(ctx, head.GCSAddress(), ray.GCSOptions{Credentials: rotated})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = gcs.Close() }()
	if err := gcs.CheckAlive(ctx); err != nil {
		t.Error(err)
	}
	// Every kind of request carries them: the data channel, unary ones, and those of the proxy before the session.
	ref, err := s.Submit(ctx, ray.Function{Module: "textwrap", Name: "dedent"}, "  x")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(ctx, ref); v != "x" {
		t.Errorf("%v, %v", v, err)
	}
	if err := second(s.KVPut(ctx, "x", "k", []byte("v"), true)); err != nil {
		t.Error(err)
	}
	// A direct call does so too.
	class, err := s.PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateActor(ctx, class, ray.ActorOptions{Name: "counter", NumCPUs: 0.1}); err != nil {
		t.Fatal(err)
	}
	d, err := ray.NewDirect(gcs, ray.DirectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := d.Call(ctx, "x", "counter", "incr"); err != nil || v != int64(1) {
		t.Errorf("a direct call: %v, %v", v, err)
	}
	// A Go actor demands them of its callers, and takes them from its raylet.
	pkg, err := ray.BinaryPackage(raytest.BuildGo(t, "./worker/internal/testworker"))
	if err != nil {
		t.Fatal(err)
	}
	uri, err := s.UploadPackage(ctx, pkg)
	if err != nil {
		t.Fatal(err)
	}
	goClass, err := s.GoClass(ctx, "Subject", []string{"add"})
	if err != nil {
		t.Fatal(err)
	}
	actor, err := s.CreateActor(ctx, goClass, ray.ActorOptions{Name: "subject", RuntimeEnv: ray.GoRuntimeEnv(uri)}, 40)
	if raytest.RayBefore(t, "2.48") {
		wantSent(t, err, ray.ErrUnsupportedVersion, ray.SentNo)
	} else if err != nil {
		t.Fatal(err)
	} else {
		if v, err := actor.Call(ctx, "add", 2); v != int64(42) {
			t.Errorf("%v, %v", v, err)
		}
		if v, err := d.Call(ctx, "x", "subject", "add", 1); err != nil || v != int64(43) {
			t.Errorf("a direct call of a Go actor: %v, %v", v, err)
		}
	}
	if err := d.Close(ctx); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), token) || strings.Contains(fmt.Sprintf("%+v %+v", s, config(rotated)), token) {
		t.Error("the token was printed")
	}
}
