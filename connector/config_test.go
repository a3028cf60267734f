package connector_test

import (
	"errors"
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
		"RAY_ADDRESS": "http://head:8265", "SEEDCORE_RAY_CLIENT_PORT": "70000",
	}))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"RAY_ADDRESS", "dashboard", "ray://head:10001", `SEEDCORE_RAY_CLIENT_PORT="70000"`} {
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
		"head:6379":         "",
		"head":              "host:port",
		"ray://":            "host:port",
		"ray://head:0":      "port",
		"head:http":         "port",
		"https://head":      "dashboard",
		"redis://head:6379": "unknown scheme",
		":6379":             "host:port",
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
	for _, seed := range []string{"auto", "ray://h:1", "h:1", "http://x", "ray://[::1]:2", "://", "ray://:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		conn, err := connector.New(connector.Config{Address: address})
		if (conn == nil) == (err == nil) {
			t.Fatalf("%q: %v, %v", address, conn, err)
		}
	})
}
