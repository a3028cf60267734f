package ray_test

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seedcore/seedcore/internal/rayhead"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// clientAddress and gcsAddress are the addresses of the cluster on which the examples run.
func clientAddress() string { return raytest.Head(raytest.Example{}).ClientAddress() }
func gcsAddress() string    { return raytest.Head(raytest.Example{}).GCSAddress() }

// secured is another cluster for the examples: it wants TLS and a token, and has a dashboard.
var secured = sync.OnceValue(func() (c struct {
	head        *rayhead.Head
	files       ray.TLSFiles
	tokenFile   string
	credentials *ray.Credentials
},
) {
	var t raytest.Example
	c.files = raytest.NewAuthority(t).Files(t, "node")
	c.tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(c.tokenFile, []byte("only-for-the-examples"), 0o600); err != nil {
		panic(err)
	}
	environment := map[string]string{
		"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": c.tokenFile, "RAY_USE_TLS": "1",
		"RAY_TLS_SERVER_CERT": c.files.Cert, "RAY_TLS_SERVER_KEY": c.files.Key, "RAY_TLS_CA_CERT": c.files.CA,
	}
	var err error
	if c.credentials, err = ray.CredentialsFromEnv(func(name string) string { return environment[name] }); err != nil {
		panic(err)
	}
	cfg := rayhead.Config{Dashboard: true, Credentials: c.credentials}
	for name, value := range environment {
		cfg.Env = append(cfg.Env, name+"="+value)
	}
	c.head = raytest.NewHead(t, cfg)
	return c
})

func securedAddress() string        { return secured().head.ClientAddress() }
func dashboardAddress() string      { return secured().head.DashboardAddress() }
func credentials() *ray.Credentials { return secured().credentials }
func certificates() ray.TLSFiles    { return secured().files }
func tokenFile() string             { return secured().tokenFile }

var examples struct {
	mu      sync.Mutex // guards what is below
	session *ray.Session
	gcs     *ray.GCS
	direct  *ray.Direct
}

// session returns a session that the program opened before.
func session() *ray.Session {
	examples.mu.Lock()
	defer examples.mu.Unlock()
	if examples.session == nil {
		var err error
		examples.session, err = ray.Open(exampleContext(), ray.Config{
			Address: clientAddress(), Namespace: "demo", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			panic(err)
		}
	}
	return examples.session
}

// direct returns a direct path that the program made before.
func direct() *ray.Direct {
	examples.mu.Lock()
	defer examples.mu.Unlock()
	if examples.direct == nil {
		var err error
		if examples.gcs, err = ray.DialGCS(exampleContext(), gcsAddress(), ray.GCSOptions{}); err != nil {
			panic(err)
		}
		if examples.direct, err = ray.NewDirect(examples.gcs, ray.DirectOptions{}); err != nil {
			panic(err)
		}
	}
	return examples.direct
}

// create makes an actor of a class of the module shop, named like it, and returns what ends it.
func create(class string) (end func()) {
	ctx, s := exampleContext(), session()
	made, err := s.PythonClass(ctx, "shop", class)
	if err != nil {
		panic(err)
	}
	actor, err := s.CreateActor(ctx, made, ray.ActorOptions{Name: class})
	if err != nil {
		panic(err)
	}
	return func() {
		if err := s.Kill(exampleContext(), actor, true); err != nil {
			panic(err)
		}
	}
}

// endExamples closes what the examples opened.
func endExamples() {
	ctx := exampleContext()
	if examples.direct != nil {
		if err := examples.direct.Close(ctx); err != nil {
			panic(err)
		}
		if err := examples.gcs.Close(); err != nil {
			panic(err)
		}
	}
	if examples.session != nil {
		if err := examples.session.Close(ctx); err != nil {
			panic(err)
		}
	}
}

func exampleContext() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	context.AfterFunc(ctx, cancel)
	return ctx
}
