package connector_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
)

func lookup(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestEnvironmentDecidesTheAddress(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"nothing":           {nil, "auto"},
		"address":           {map[string]string{"RAY_ADDRESS": "ray://head:10001"}, "ray://head:10001"},
		"host":              {map[string]string{"RAY_HOST": "head"}, "ray://head:10001"},
		"host and port":     {map[string]string{"RAY_HOST": "head", "RAY_PORT": "9000"}, "ray://head:9000"},
		"address over host": {map[string]string{"RAY_ADDRESS": "gcs:6379", "RAY_HOST": "head"}, "gcs:6379"},
		"empty is unset":    {map[string]string{"RAY_ADDRESS": "", "RAY_HOST": "head"}, "ray://head:10001"},
		"IPv6":              {map[string]string{"RAY_ADDRESS": "ray://[::1]:10001"}, "ray://[::1]:10001"},
		"IPv6 host":         {map[string]string{"RAY_HOST": "::1"}, "ray://[::1]:10001"},
		"host, client port": {map[string]string{"RAY_HOST": "head", "SEEDCORE_RAY_CLIENT_PORT": "9000"}, "ray://head:9000"},
		"several":           {map[string]string{"RAY_ADDRESS": "ray://a:10001,b:6379"}, "ray://a:10001,b:6379"},
		"both ports":        {map[string]string{"RAY_HOST": "head", "RAY_PORT": "9001", "SEEDCORE_RAY_CLIENT_PORT": "9000"}, "ray://head:9001"},
	} {
		cfg, err := connector.FromLookup(lookup(c.env))
		if err != nil || cfg.Address != c.want {
			t.Errorf("%s: address %q, %v; want %q", name, cfg.Address, err, c.want)
		}
	}
}

// Kubernetes sets RAY_PORT to a URL in every pod beside a service named "ray". Where nothing needs it that is no error.
func TestRayPortMattersWithRayHostAlone(t *testing.T) {
	for _, port := range []string{"tcp://10.0.0.1:6379", "ten", "70000"} {
		for _, c := range []struct{ address, host, want, problem string }{
			{address: "ray://head:10001", want: "ray://head:10001"},
			{address: "ray://head:10001", host: "other", want: "ray://head:10001"},
			{want: "auto"},
			{host: "head", problem: "RAY_PORT"},
		} {
			cfg, err := connector.FromLookup(lookup(map[string]string{"RAY_ADDRESS": c.address, "RAY_HOST": c.host, "RAY_PORT": port}))
			var config *connector.ConfigError
			switch {
			case c.problem != "":
				if !errors.As(err, &config) || config.Setting != c.problem {
					t.Errorf("%+v, RAY_PORT=%s: %v", c, port, err)
				}
				if strings.Contains(port, "tcp") && !strings.Contains(err.Error(), "Kubernetes") {
					t.Errorf("%v does not say where %s comes from", err, port)
				}
			case err != nil || cfg.Address != c.want:
				t.Errorf("%+v, RAY_PORT=%s: %q, %v", c, port, cfg.Address, err)
			case !strings.Contains(strings.Join(cfg.Warnings, "; "), "RAY_PORT=\""+port+"\" is ignored"):
				t.Errorf("%+v, RAY_PORT=%s: warnings %q", c, port, cfg.Warnings)
			case c.host != "" && !strings.Contains(strings.Join(cfg.Warnings, "; "), "RAY_HOST=\"other\" is ignored"):
				t.Errorf("%+v, RAY_PORT=%s: warnings %q", c, port, cfg.Warnings)
			}
		}
	}
	// What agrees is no contradiction.
	cfg, err := connector.FromLookup(lookup(map[string]string{"RAY_ADDRESS": "ray://head:10001", "RAY_HOST": "head", "RAY_PORT": "10001"}))
	if err != nil || len(cfg.Warnings) != 0 {
		t.Errorf("%q, %v", cfg.Warnings, err)
	}
}

func TestEffectiveNamespace(t *testing.T) {
	for _, ray := range []string{"", "one"} {
		for _, ns := range []string{"", "two", "one"} {
			for _, fallback := range []string{"", "three"} {
				cfg, err := connector.FromLookup(lookup(map[string]string{
					"RAY_NAMESPACE": ray, "SEEDCORE_NS": ns, "SEEDCORE_DEFAULT_NAMESPACE": fallback,
				}))
				if err != nil {
					t.Fatal(err)
				}
				want := "seedcore-dev"
				for _, v := range []string{fallback, ns, ray} {
					if v != "" {
						want = v
					}
				}
				if cfg.Namespace != want {
					t.Errorf("RAY_NAMESPACE=%q SEEDCORE_NS=%q default %q: %q instead of %q", ray, ns, fallback, cfg.Namespace, want)
				}
				differ := ray != "" && ns != "" && ray != ns
				if differ != (len(cfg.Warnings) == 1) || differ && !strings.Contains(cfg.Warnings[0], "RAY_NAMESPACE is used") {
					t.Errorf("RAY_NAMESPACE=%q SEEDCORE_NS=%q: warnings %q", ray, ns, cfg.Warnings)
				}
			}
		}
	}
}

func TestUnusableSettingsAreNamedTogether(t *testing.T) {
	_, err := connector.FromLookup(lookup(map[string]string{
		"RAY_ADDRESS": "http://head:8265", "SEEDCORE_RAY_CLIENT_PORT": "70000", "SEEDCORE_DIRECT": "on",
	}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"RAY_ADDRESS", "dashboard", "ray://head:10001", `SEEDCORE_RAY_CLIENT_PORT="70000"`, `SEEDCORE_DIRECT="on": is neither auto nor off nor require`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %s: %v", part, err)
		}
	}
}

func TestAddressForms(t *testing.T) {
	for address, problem := range map[string]string{
		"auto":              "",
		"ray://head":        "",
		"ray://head:10001":  "",
		"ray://[::1]":       "",
		"ray://[::1]:10001": "",
		"ray://[::1":        "host:port",
		"ray://::1":         "host:port",
		"ray://[]":          "host:port",
		"head:6379":         "",
		"head":              "host:port",
		"ray://":            "host:port",
		"ray://head:0":      "port",
		"head:http":         "port",
		"https://head":      "dashboard",
		"redis://head:6379": "unknown scheme",
		":6379":             "host:port",
		// Several.
		"ray://a:10001,ray://b:10001": "",
		"ray://a, b:6379":             "",
		"ray://a,ray://b:0":           `element 2, "ray://b:0", has the port`,
		"http://a:8265,ray://b":       `element 1, "http://a:8265", is the address of Ray's dashboard`,
		"ray://a,":                    `element 2, "", is empty`,
		"auto,ray://a":                `element 1, "auto", stands for one cluster`,
		"ray://a,b,redis://c":         `element 3, "redis://c", has the unknown scheme`,
	} {
		_, err := connector.New(connector.Config{Address: address})
		var config *connector.ConfigError
		switch {
		case problem == "" && err != nil:
			t.Errorf("%q: %v", address, err)
		case problem != "" && (!errors.As(err, &config) || !strings.Contains(err.Error(), problem)):
			t.Errorf("%q: %v does not say %q", address, err, problem)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"auto", "ray://h:1", "h:1", "ray://h:1,k:2", "a:1,,", "http://x", "ray://[::1]:2", "://", "ray://:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		conn, err := connector.New(connector.Config{Address: address})
		if (conn == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", address, conn, err)
		}
	})
}

// What the Python system read and this one does not is told of, without giving away a secret, and is in the document.
func TestIgnoredVariablesAreToldOf(t *testing.T) {
	document, err := os.ReadFile("../docs/environment.md")
	if err != nil {
		t.Fatal(err)
	}
	read, dropped, ok := strings.Cut(string(document), "## Ignored, with a warning")
	if !ok {
		t.Fatal("the document has no list of ignored variables")
	}
	dropped, _, _ = strings.Cut(dropped, "Everything else")
	for _, name := range []string{
		"RAY_PASSWORD", "RAY_IGNORE_REINIT_ERROR", "RAY_CONNECTION_TIMEOUT", "RAY_DASHBOARD_ADDRESS", "RAY_DASHBOARD_URL",
		"RAY_SERVE_ADDRESS", "RAY_SERVE_URL", "MW_ACTOR_NAME", "MISS_TRACKER_NAME", "SHARED_CACHE_NAME", "AUTO_CREATE",
		"LOOKUP_RETRIES", "LOOKUP_BACKOFF_S", "TIER0_ATTACH_ACTORS", "SEEDCORE_API_ADDRESS", "SEEDCORE_OPTIONAL_BACKENDS",
		"MISS_THRESHOLD", "FORCE_STDOUT_HANDLER", "SERVE_HTTP_HOST", "SERVE_HTTP_PORT",
		"RAY_RUNTIME_ENV", "RAY_ENABLE_AUTO_CONNECT", "ENERGY_LEDGER_ROOT",
	} {
		cfg, err := connector.FromLookup(lookup(map[string]string{name: "hush"}))
		if err != nil || len(cfg.Warnings) != 1 || !strings.Contains(cfg.Warnings[0], name) || !strings.Contains(cfg.Warnings[0], "ignored") {
			t.Errorf("%s: %q, %v", name, cfg.Warnings, err)
			continue
		}
		if secret := name == "RAY_PASSWORD" || name == "RAY_RUNTIME_ENV"; secret == strings.Contains(cfg.Warnings[0], "hush") {
			t.Errorf("%s: %q", name, cfg.Warnings)
		}
		if !strings.Contains(dropped, "`"+name+"`") {
			t.Errorf("%s is not in the document", name)
		}
	}
	for _, name := range []string{
		"RAY_ADDRESS", "RAY_HOST", "RAY_PORT", "SEEDCORE_RAY_CLIENT_PORT", "RAY_NAMESPACE", "SEEDCORE_NS", "SEEDCORE_DEFAULT_NAMESPACE",
		"SEEDCORE_DIRECT",
	} {
		if !strings.Contains(read, "| `"+name+"`") {
			t.Errorf("%s is not in the document", name)
		}
	}
}

// Every combination of the variables that decide where and in which namespace, odd values included.
func TestEveryCombinationOfTheEnvironment(t *testing.T) {
	// For each variable its values, and for the address what becomes of it.
	addresses := map[string]string{
		"": "", "auto": "auto", "ray://head:10001": "ray://head:10001", "ray://head": "ray://head", "head:6379": "head:6379",
		"http://head:8265": "!", "head": "!", " ": "!",
	}
	ports := map[string]string{"": "10001", "9000": "9000", "0": "!", "ten": "!", "tcp://10.0.0.1:6379": "!"}
	for address, direct := range addresses {
		for _, host := range []string{"", "head"} {
			for port, effective := range ports {
				for _, ns := range []string{"", "serve", "a b"} {
					for _, ray := range []string{"", "seedcore-dev"} {
						env := map[string]string{"RAY_ADDRESS": address, "RAY_HOST": host, "RAY_PORT": port, "SEEDCORE_NS": ns, "RAY_NAMESPACE": ray}
						want := direct
						if want == "" && host == "" {
							want = "auto"
						} else if want == "" {
							want = "ray://head:" + effective
						}
						cfg, err := connector.FromLookup(lookup(env))
						if bad := strings.HasSuffix(want, "!"); bad != (err != nil) || !bad && cfg.Address != want {
							t.Errorf("%v: %q, %v; want %q", env, cfg.Address, err, want)
						}
						wantNS := "seedcore-dev"
						if ray == "" && ns != "" {
							wantNS = ns
						}
						if cfg.Namespace != wantNS {
							t.Errorf("%v: namespace %q, want %q", env, cfg.Namespace, wantNS)
						}
						if err == nil {
							if _, err := connector.New(cfg); err != nil {
								t.Errorf("%v: %v", env, err)
							}
						}
					}
				}
			}
		}
	}
}
