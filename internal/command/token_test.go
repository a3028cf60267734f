package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/command"
	"github.com/seedcore/seedcore/internal/raytest"
)

// Which token a local head is to demand, and who is given the one that was made for it.
func TestTheTokenOfTheLocalHead(t *testing.T) {
	home := t.TempDir()
	env := func(more map[string]string) func(string) string {
		return func(name string) string {
			if v, ok := more[name]; ok {
				return v
			}
			return map[string]string{"HOME": home, "RAY_ADDRESS": "ray://127.0.0.1:10001"}[name]
		}
	}
	file := filepath.Join(home, ".local", "state", "seedcore", "ray_token")
	if c, err := command.Settings(env(nil)); err != nil || c.Credentials != nil {
		t.Errorf("a token before there is one: %v, %v", c.Credentials, err)
	}
	vars, hint, err := command.Protect(env(nil))
	if err != nil || strings.Join(vars, " ") != "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="+file || !strings.Contains(hint, file) {
		t.Fatalf("%q, %q, %v", vars, hint, err)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := command.Protect(env(nil)); err != nil {
		t.Error(err)
	}
	if again, err := os.ReadFile(file); err != nil || string(again) != string(first) || len(first) < 26 {
		t.Errorf("a token of %d characters became another one, or not: %v", len(first), err)
	}
	own := strings.TrimSpace(string(first))

	other := filepath.Join(t.TempDir(), "it's")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := raytest.NewAuthority(t).Files(t, "node")
	tls := func(mode string) map[string]string {
		return map[string]string{"RAY_AUTH_MODE": mode, "RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": files.Cert, "RAY_TLS_SERVER_KEY": files.Key, "RAY_TLS_CA_CERT": files.CA}
	}
	for name, c := range map[string]struct {
		env   map[string]string
		token string // of the commands; "": none
		head  string // what the head is told; not looked at where it is empty
		hint  string
	}{
		"nothing":        {nil, own, file, "RAY_AUTH_TOKEN_PATH='" + file + "'"},
		"IPv6":           {map[string]string{"RAY_ADDRESS": "ray://[::1]:10001"}, own, "", ""},
		"mode":           {map[string]string{"RAY_AUTH_MODE": "token"}, own, file, file},
		"away":           {map[string]string{"RAY_ADDRESS": "ray://head:10001"}, "", "", ""},
		"one of two":     {map[string]string{"RAY_ADDRESS": "ray://localhost:10001,ray://10.0.0.1:10001"}, "", "", ""},
		"its own":        {map[string]string{"RAY_AUTH_TOKEN": "mine"}, "mine", "RAY_AUTH_TOKEN=mine", "that of RAY_AUTH_TOKEN"},
		"its own file":   {map[string]string{"RAY_AUTH_TOKEN_PATH": other}, "other", "RAY_AUTH_TOKEN_PATH=" + other, `it'\''s'`},
		"none":           {map[string]string{"RAY_AUTH_MODE": "disabled"}, "", "", "every user of this machine"},
		"TLS":            {tls("token"), own, "RAY_TLS_CA_CERT=" + files.CA, "want RAY_USE_TLS and its files"},
		"TLS alone":      {tls("disabled"), "", "RAY_USE_TLS=1", "who can read the files of RAY_USE_TLS"},
		"another state":  {map[string]string{"XDG_STATE_HOME": filepath.Dir(other)}, "", filepath.Join(filepath.Dir(other), "seedcore", "ray_token"), ""},
		"relative state": {map[string]string{"XDG_STATE_HOME": "state"}, own, file, file},
	} {
		get := env(c.env)
		cfg, err := command.Settings(get)
		token := ""
		if err == nil && cfg.Credentials.HasToken() {
			token, err = cfg.Credentials.Token()
		}
		if err != nil || token != c.token {
			t.Errorf("%s: the commands have the token %q, %v", name, token, err)
		}
		vars, hint, err := command.Protect(get)
		if err != nil || !strings.Contains(strings.Join(vars, " "), c.head) || !strings.Contains(hint, c.hint) || strings.Contains(hint, own) {
			t.Errorf("%s: the head has %q, people %q, %v", name, vars, hint, err)
		}
	}

	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command.Protect(env(nil)); err == nil || !strings.Contains(err.Error(), "other users") {
		t.Errorf("a token that others can read: %v", err)
	}
	if _, _, err := command.Protect(env(map[string]string{"HOME": ""})); err == nil || !strings.Contains(err.Error(), "XDG_STATE_HOME") {
		t.Errorf("without a home: %v", err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command.Protect(env(map[string]string{"RAY_AUTH_MODE": "kerberos"})); err == nil || !strings.Contains(err.Error(), "RAY_AUTH_MODE") {
		t.Errorf("an unknown mode: %v", err)
	}
}
