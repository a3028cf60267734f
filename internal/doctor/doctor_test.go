package doctor_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/doctor"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

// steps are all that a report has, in order.
var steps = []string{
	"environment", "address", "DNS", "TCP", "TLS", "auth", "protocol", "session", "versions", "namespace", "room", "GCS", "direct calls", "clock",
}

// examine looks at the cluster of a configuration, and makes sure that the report is whole.
func examine(t *testing.T, cfg connector.Config) map[string]doctor.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cfg.Namespace = raytest.Namespace(t)
	findings := doctor.Examine(ctx, cfg)
	var seen []string
	byStep := map[string]doctor.Finding{}
	failed := false
	for _, f := range findings {
		seen = append(seen, f.Step)
		byStep[f.Step] = f
		failed = failed || f.Status == doctor.Failed
		if needsCure := f.Status == doctor.Failed || f.Status == doctor.Warning; f.Found == "" || (f.Cure != "") != needsCure {
			t.Errorf("%+v", f)
		}
	}
	if !slices.Equal(seen, steps) || doctor.Healthy(findings) == failed {
		t.Errorf("%v: %+v", seen, findings)
	}
	return byStep
}

// expect wants a step to fail with a cure, what is before it well, and what is behind it not guessed at. skipped are those before
// it that cannot be known either.
func expect(t *testing.T, found map[string]doctor.Finding, step, cause, cure string, skipped ...string) {
	t.Helper()
	reached := false
	for _, name := range steps {
		f := found[name]
		want := doctor.OK
		switch {
		case name == step:
			reached, want = true, doctor.Failed
			if !strings.Contains(f.Found, cause) || !strings.Contains(f.Cure, cure) {
				t.Errorf("%+v", f)
			}
		case reached || slices.Contains(skipped, name):
			want = doctor.Skipped
		}
		if f.Status != want {
			t.Errorf("not %s: %+v", want, f)
		}
	}
}

// Each disease shows at its step, with a cure, and the steps behind it are not guessed at.
func TestDiseases(t *testing.T) {
	head := raytest.Head(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := listener.Addr().String()
	_ = listener.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	ours, err := raytest.NewAuthority(t).Files(t, "client").Config()
	if err != nil {
		t.Fatal(err)
	}
	noToken := ray.TokenFile(filepath.Join(t.TempDir(), "none"))
	for name, c := range map[string]struct {
		address           string
		credentials       *ray.Credentials
		step, cause, cure string
		skipped           []string
	}{
		"address":           {"http://head:8265", nil, "address", "dashboard", "RAY_ADDRESS", nil},
		"name":              {"ray://no-such-head.invalid", nil, "DNS", "no-such-head.invalid", "RAY_ADDRESS", nil},
		"no head":           {"ray://" + dead, nil, "TCP", "refused", "ray start --head", nil},
		"TLS with none":     {"ray://" + head.ClientAddress(), &ray.Credentials{TLS: ours}, "TLS", "does not speak TLS", "RAY_USE_TLS", nil},
		"token is missing":  {"ray://" + head.ClientAddress(), &ray.Credentials{Token: noToken}, "auth", "no such file", "RAY_AUTH_TOKEN_PATH", nil},
		"a web server":      {"ray://" + web.Listener.Addr().String(), nil, "protocol", "gRPC", "10001", []string{"auth"}},
		"the GCS's address": {"ray://" + head.GCSAddress(), nil, "protocol", "another", "10001", []string{"auth"}},
	} {
		t.Run(name, func(t *testing.T) {
			found := examine(t, connector.Config{Address: c.address, Credentials: c.credentials})
			expect(t, found, c.step, c.cause, c.cure, c.skipped...)
		})
	}
}

// A Ray Client server that is gone is told from a cluster that is gone.
func TestTheGCSIsAskedWhereNoSessionComesUp(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hung.Close() }()
	gcs := faultproxy.New(t, raytest.Head(t).GCSAddress())
	for _, c := range []struct {
		fault  func()
		status doctor.Status
		text   string
	}{
		{func() {}, doctor.OK, "what is missing is its Ray Client server"},
		{gcs.Stall, doctor.Failed, "does not answer"},
	} {
		c.fault()
		found := examine(t, connector.Config{Address: gcs.Address(), ClientPort: hung.Addr().(*net.TCPAddr).Port})
		if f := found["GCS"]; f.Status != c.status || !strings.Contains(f.Found, c.text) {
			t.Errorf("not %s: %+v", c.status, f)
		}
		if f := found["protocol"]; f.Status != doctor.Failed || !strings.Contains(f.Found, "says nothing") || !strings.Contains(f.Cure, "restart") || found["direct calls"].Status != doctor.Skipped {
			t.Errorf("%+v", found)
		}
	}
	gcs.Resume()
}

// A cluster is not blamed for what was not waited for.
func TestTheTimeIsUp(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second) // the handshake alone is given five
	defer cancel()
	found := map[string]doctor.Finding{}
	for _, f := range doctor.Examine(ctx, connector.Config{Address: "ray://" + mute.Addr().String()}) {
		found[f.Step] = f
	}
	if f := found["TLS"]; f.Status != doctor.OK || !strings.Contains(f.Found, "does not answer a TLS handshake") {
		t.Errorf("%+v", f)
	}
	if f := found["session"]; f.Status != doctor.Failed || !strings.Contains(f.Found, "the examination was over") || !strings.Contains(f.Cure, "--timeout") {
		t.Errorf("%+v", f)
	}
}

// One server of several is enough; the others are told of.
func TestOneServerOfSeveral(t *testing.T) {
	for name, f := range examine(t, connector.Config{Address: "ray://no-such-head.invalid,ray://" + raytest.Head(t).ClientAddress()}) {
		want := doctor.OK
		if name == "DNS" {
			want = doctor.Warning
		}
		if f.Status != want {
			t.Errorf("%+v", f)
		}
	}
}

// What a cluster that wants a token and TLS has against a client is told by the step that is about it.
func TestACredentialForEachStep(t *testing.T) {
	t.Parallel() // with the start of a head of its own
	const token = "only-for-this-test"
	node := raytest.NewAuthority(t).Files(t, "node", "ray.test")
	tlsOf := func(f ray.TLSFiles) *tls.Config {
		cfg, err := f.Config()
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	full := &ray.Credentials{TLS: tlsOf(node), Token: ray.StaticToken(token)}
	head := raytest.NewHead(t, rayhead.Config{NumCPUs: 1, Credentials: full, Env: []string{
		"RAY_AUTH_MODE=token", "RAY_AUTH_TOKEN=" + token,
		"RAY_USE_TLS=1", "RAY_TLS_SERVER_CERT=" + node.Cert, "RAY_TLS_SERVER_KEY=" + node.Key, "RAY_TLS_CA_CERT=" + node.CA,
	}})
	named, strange := node, raytest.NewAuthority(t).Files(t, "stranger")
	named.ServerName = "another.test"
	stranger := strange // who knows the cluster's authority, and is not known to it
	stranger.CA = node.CA
	for name, c := range map[string]struct {
		credentials       *ray.Credentials
		step, cause, cure string
	}{
		"plain text":        {nil, "TLS", "speaks TLS", "RAY_USE_TLS"},
		"foreign authority": {&ray.Credentials{TLS: tlsOf(strange)}, "TLS", "unknown authority", "RAY_TLS_CA_CERT"},
		"another name":      {&ray.Credentials{TLS: tlsOf(named)}, "TLS", "another.test", "SEEDCORE_RAY_TLS_SERVER_NAME"},
		"a stranger":        {&ray.Credentials{TLS: tlsOf(stranger)}, "TLS", "does not take our certificate", "RAY_TLS_SERVER_CERT"},
		"no token":          {&ray.Credentials{TLS: full.TLS}, "auth", "wants a token", "RAY_AUTH_TOKEN"},
		"another token":     {&ray.Credentials{TLS: full.TLS, Token: ray.StaticToken("wrong")}, "auth", "does not accept the token", "RAY_AUTH_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, examine(t, connector.Config{Address: "ray://" + head.ClientAddress(), Credentials: c.credentials}), c.step, c.cause, c.cure)
		})
	}
	found := examine(t, connector.Config{Address: "ray://" + head.ClientAddress(), Credentials: full})
	for name, f := range found {
		if f.Status != doctor.OK || strings.Contains(f.Found, token) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if !strings.Contains(found["TLS"].Found, "CN=node") || !strings.Contains(found["auth"].Found, "lets this process in") {
		t.Errorf("%+v", found)
	}
}
