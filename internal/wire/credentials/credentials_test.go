package credentials_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/internal/wire/credentials"
)

const secret = "the-secret-token"

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTokenFromEnvironment(t *testing.T) {
	home := t.TempDir()
	file := write(t, filepath.Join(t.TempDir(), "token"), secret+"\n")
	write(t, filepath.Join(home, ".ray", "auth_token"), "from-home")
	for name, c := range map[string]struct {
		vars map[string]string
		want string // "": no credentials
		err  string
	}{
		"nothing":        {nil, "", ""},
		"token":          {map[string]string{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secret}, secret, ""},
		"no mode":        {map[string]string{"RAY_AUTH_TOKEN": " " + secret + "\n"}, secret, ""},
		"disabled":       {map[string]string{"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": secret}, "", ""},
		"file":           {map[string]string{"RAY_AUTH_MODE": "TOKEN", "RAY_AUTH_TOKEN_PATH": file}, secret, ""},
		"before a file":  {map[string]string{"RAY_AUTH_TOKEN": "first", "RAY_AUTH_TOKEN_PATH": file}, "first", ""},
		"home":           {map[string]string{"HOME": home}, "from-home", ""},
		"missing":        {map[string]string{"RAY_AUTH_MODE": "token"}, "", "RAY_AUTH_TOKEN_PATH"},
		"no such file":   {map[string]string{"RAY_AUTH_TOKEN_PATH": file + "x"}, "", "RAY_AUTH_TOKEN_PATH"},
		"unknown mode":   {map[string]string{"RAY_AUTH_MODE": "kerberos"}, "", "RAY_AUTH_MODE"},
		"TLS, half":      {map[string]string{"RAY_USE_TLS": "1", "RAY_TLS_SERVER_CERT": "x"}, "", "RAY_TLS_CA_CERT"},
		"TLS, what?":     {map[string]string{"RAY_USE_TLS": "maybe"}, "", "RAY_USE_TLS"},
		"TLS, no files":  {map[string]string{"RAY_USE_TLS": "true", "RAY_TLS_SERVER_CERT": "/no", "RAY_TLS_SERVER_KEY": "/no", "RAY_TLS_CA_CERT": "/no"}, "", "/no"},
		"TLS, not asked": {map[string]string{"RAY_USE_TLS": "0", "RAY_TLS_SERVER_CERT": "/no"}, "", ""},
	} {
		got, err := credentials.FromEnv(env(c.vars))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || (got != nil) != (c.want != "") {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		if got == nil {
			continue
		}
		if token, err := got.Token(); token != c.want || err != nil {
			t.Errorf("%s: %q, %v", name, token, err)
		}
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", got, got, got), fmt.Sprintf("%+v", *got)} {
			if strings.Contains(text, c.want) {
				t.Errorf("%s: printed as %s", name, text)
			}
		}
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	// The clock of the bubble stands still unless the test waits.
	synctest.Test(t, func(t *testing.T) {
		path := write(t, filepath.Join(t.TempDir(), "token"), "one")
		token := credentials.TokenFile(path)
		expect := func(want string) {
			t.Helper()
			if got, err := token(); got != want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		expect("one")
		// Kubernetes swaps a link; a new file under the old name is the same to us.
		if err := os.Rename(write(t, path+".new", "two"), path); err != nil {
			t.Fatal(err)
		}
		expect("one") // not looked at for a second
		time.Sleep(2 * time.Second)
		expect("two")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		expect("two") // in the middle of a rotation
		write(t, path, "three ")
		time.Sleep(2 * time.Second)
		expect("three")
	})
	if _, err := credentials.TokenFile(filepath.Join(t.TempDir(), "none"))(); !errors.Is(err, credentials.ErrToken) {
		t.Error(err)
	}
}

func TestClearTextIsWarnedOf(t *testing.T) {
	token := &credentials.Credentials{Token: credentials.StaticToken(secret)}
	for address, warns := range map[string]bool{
		"127.0.0.1:10001": false, "localhost:10001": false, "[::1]:10001": false, "10.0.0.7:10001": true, "head.ray.svc:10001": true,
	} {
		_, warning := token.DialOptions(address)
		if (warning != "") != warns || strings.Contains(warning, secret) {
			t.Errorf("%s: %q", address, warning)
		}
		if _, warning := (*credentials.Credentials)(nil).DialOptions(address); warning != "" {
			t.Errorf("without a token: %q", warning)
		}
	}
}

func TestDashboardRequestsCarryTheToken(t *testing.T) {
	request, err := http.NewRequest(http.MethodGet, "http://localhost", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(request.Header)
	if err := (*credentials.Credentials)(nil).Authorize(request); err != nil || !maps.EqualFunc(before, request.Header, func(a, b []string) bool { return len(a) == len(b) }) {
		t.Errorf("without credentials: %v, %v", request.Header, err)
	}
	if err := (&credentials.Credentials{Token: credentials.StaticToken(secret)}).Authorize(request); err != nil || request.Header.Get("X-Ray-Authorization") != "Bearer "+secret {
		t.Errorf("%v, %v", request.Header, err)
	}
}
