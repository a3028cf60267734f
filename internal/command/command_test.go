package command_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/command"
)

func Example() {
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr))
}

func TestExitCodesAndMessages(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		code int
		text string // in either stream
	}{
		"help":              {args: []string{"--help"}, code: 0, text: "check"},
		"help of a command": {args: []string{"serve", "--help"}, code: 0, text: "SEEDCORE_LISTEN"},
		"nothing":           {code: 2, text: "seedcore --help"},
		"unknown command":   {args: []string{"dance"}, code: 2, text: "dance"},
		"unknown flag":      {args: []string{"serve", "--fast"}, code: 2, text: "--fast"},
		"bad level":         {args: []string{"serve", "--log-level", "loud"}, code: 2, text: "log-level"},
		"bad address":       {args: []string{"serve"}, env: map[string]string{"RAY_ADDRESS": "http://head:8265"}, code: 2, text: "ray://head:10001"},
		"bad port":          {args: []string{"check"}, env: map[string]string{"RAY_PORT": "x"}, code: 2, text: `RAY_PORT="x"`},
		"missing file":      {args: []string{"serve", "--config", "/does/not/exist.yaml"}, env: map[string]string{"RAY_ADDRESS": "ray://127.0.0.1:1"}, code: 2, text: "/does/not/exist.yaml"},
		"bad listen":        {args: []string{"serve", "--listen", "nowhere"}, env: map[string]string{"RAY_ADDRESS": "ray://127.0.0.1:1"}, code: 1, text: "SEEDCORE_LISTEN"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"RAY_ADDRESS", "RAY_HOST", "RAY_PORT", "RAY_NAMESPACE", "SEEDCORE_LISTEN", "SEEDCORE_CONFIG"} {
				t.Setenv(variable, c.env[variable])
				if c.env[variable] == "" {
					if err := os.Unsetenv(variable); err != nil {
						t.Fatal(err)
					}
				}
			}
			var out, errs bytes.Buffer
			code := command.Main(c.args, &out, &errs)
			if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.text) {
				t.Errorf("exit code %d instead of %d, %q in:\n%s", code, c.code, c.text, text)
			}
		})
	}
}
