package command_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/command"
)

func Example() {
	os.Exit(command.Main(os.Args[1:], os.Stdout, os.Stderr))
}

func TestExitCodesAndMessages(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	nowhere := map[string]string{"RAY_ADDRESS": "ray://127.0.0.1:1"}
	for name, c := range map[string]struct {
		args []string
		env  map[string]string
		code int
		text string // in either stream
		not  string // in neither
	}{
		"help":               {args: []string{"--help"}, code: 0, text: "check"},
		"help of a command":  {args: []string{"serve", "--help"}, code: 0, text: "SEEDCORE_LISTEN"},
		"nothing":            {code: 2, text: "seedcore --help"},
		"unknown command":    {args: []string{"dance"}, code: 2, text: "dance"},
		"unknown flag":       {args: []string{"serve", "--fast"}, code: 2, text: "--fast"},
		"bad level":          {args: []string{"serve", "--log-level", "loud"}, code: 2, text: "log-level"},
		"doctor, no head":    {args: []string{"doctor", "ray://127.0.0.1:1"}, code: 1, text: "-> start the head", not: "seedcore: "},
		"status, no head":    {args: []string{"status"}, env: nowhere, code: 1, text: "next step   start the head"},
		"status, no time":    {args: []string{"status", "--timeout", "1ms"}, env: map[string]string{"RAY_ADDRESS": "ray://" + mute.Addr().String()}, code: 1, text: "next step   give it longer"},
		"doctor, JSON":       {args: []string{"doctor", "ray://127.0.0.1:1", "--json"}, code: 1, text: `"healthy": false`, not: "seedcore: "},
		"doctor, bad":        {args: []string{"doctor", "http://head:8265"}, code: 2, text: "ray://head:10001"},
		"doctor, no time":    {args: []string{"doctor", "ray://127.0.0.1:1", "--timeout", "0s"}, code: 2, text: "--timeout is 0s"},
		"bad address":        {args: []string{"serve"}, env: map[string]string{"RAY_ADDRESS": "http://head:8265"}, code: 2, text: "ray://head:10001"},
		"bad port":           {args: []string{"check"}, env: map[string]string{"RAY_HOST": "head", "RAY_PORT": "x"}, code: 2, text: `RAY_PORT="x"`},
		"missing file":       {args: []string{"serve", "--config", "/does/not/exist.yaml"}, env: map[string]string{"RAY_ADDRESS": "ray://127.0.0.1:1"}, code: 2, text: "/does/not/exist.yaml"},
		"bad listen":         {args: []string{"serve", "--listen", "nowhere"}, env: map[string]string{"RAY_ADDRESS": "ray://127.0.0.1:1"}, code: 1, text: "SEEDCORE_LISTEN"},
		"no worker binary":   {args: []string{"serve", "--worker-binary", "/does/not/exist"}, env: nowhere, code: 2, text: "SEEDCORE_WORKER_BINARY"},
		"a script":           {args: []string{"check", "--worker-binary", script}, env: nowhere, code: 2, text: "not an ELF file"},
		"no time for tasks":  {args: []string{"serve", "--task-timeout", "0s"}, env: nowhere, code: 2, text: "SEEDCORE_TASK_TIMEOUT"},
		"no time for check":  {args: []string{"check", "--timeout", "1ms"}, env: nowhere, code: 1, text: "not all checks ran"},
		"check's namespace":  {args: []string{"check", "--timeout", "1ms"}, env: nowhere, code: 1, text: "in namespace seedcore-check-"},
		"all checks, no Ray": {args: []string{"check"}, env: nowhere, code: 1, text: "3/19 passed", not: "seedcore: "},
		// What is wrong is found before a head is started.
		"up, missing file":  {args: []string{"up", "--config", "/does/not/exist.yaml"}, code: 2, text: "/does/not/exist.yaml", not: "Starting"},
		"up, worker binary": {args: []string{"up", "--worker-binary", script}, code: 2, text: "not an ELF file", not: "Starting"},
		"up, CPUs":          {args: []string{"up", "--num-cpus=-1"}, code: 2, text: "SEEDCORE_NUM_CPUS", not: "Starting"},
		"up, taken port":    {args: []string{"up", "--listen", taken.Addr().String()}, code: 1, text: "SEEDCORE_LISTEN", not: "Starting"},
		"up, all at once":   {args: []string{"up", "--worker-binary", script, "--config", "/does/not/exist.yaml"}, code: 2, text: "/does/not/exist.yaml", not: "Starting"},
		"up, no Python":     {args: []string{"up", "--listen", "127.0.0.1:0", "--python", "/no/python"}, code: 1, text: "make setup"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"RAY_ADDRESS", "RAY_HOST", "RAY_PORT", "RAY_NAMESPACE", "SEEDCORE_LISTEN", "SEEDCORE_CONFIG", "SEEDCORE_WORKER_BINARY"} {
				t.Setenv(variable, c.env[variable])
				if c.env[variable] == "" {
					if err := os.Unsetenv(variable); err != nil {
						t.Fatal(err)
					}
				}
			}
			var out, errs bytes.Buffer
			code := command.Main(c.args, &out, &errs)
			if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.text) || c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("exit code %d instead of %d, %q and not %q in:\n%s", code, c.code, c.text, c.not, text)
			}
		})
	}
}

// Each variable of the program is read: a value that cannot be used is refused where nothing but the variable has it, and an
// empty one is none.
func TestTheVariablesOfTheProgram(t *testing.T) {
	usual, err := net.Listen("tcp", "127.0.0.1:8002") // whoever has it: it is taken
	if err == nil {
		defer func() { _ = usual.Close() }()
	}
	for _, c := range []struct {
		variable, value, command string
		code                     int
		text                     string
	}{
		{"SEEDCORE_LISTEN", "nowhere", "serve", 1, "nowhere"},
		{"SEEDCORE_CONFIG", "/does/not/exist.yaml", "serve", 2, "/does/not/exist.yaml"},
		{"SEEDCORE_WORKER_BINARY", "/does/not/exist", "check", 2, "/does/not/exist"},
		{"SEEDCORE_COMPAT_STATUS", "perhaps", "serve", 2, "perhaps"},
		{"SEEDCORE_TASK_TIMEOUT", "-1s", "serve", 2, "-1s"},
		{"SEEDCORE_LOG_LEVEL", "loud", "serve", 2, "loud"},
		{"SEEDCORE_LOG_FORMAT", "verse", "serve", 2, "verse"},
		{"SEEDCORE_PYTHON", "/no/python", "up", 1, "/no/python"},
		{"SEEDCORE_NUM_CPUS", "-1", "up", 2, "-1"},
	} {
		t.Run(c.variable, func(t *testing.T) {
			t.Setenv("HOME", t.TempDir())
			t.Setenv("SEEDCORE_LISTEN", "127.0.0.1:0")
			for _, variable := range []string{"RAY_ADDRESS", "RAY_HOST", "XDG_STATE_HOME"} {
				t.Setenv(variable, "")
			}
			if c.command != "up" {
				t.Setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
			}
			t.Setenv(c.variable, c.value)
			var out, errs bytes.Buffer
			code := command.Main([]string{c.command}, &out, &errs)
			if text := out.String() + errs.String(); code != c.code || !strings.Contains(text, c.text) {
				t.Errorf("exit code %d instead of %d, and no %q in:\n%s", code, c.code, c.text, text)
			}

			t.Setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
			t.Setenv("SEEDCORE_LISTEN", "")
			t.Setenv(c.variable, "")
			out.Reset()
			errs.Reset()
			code = command.Main([]string{"up"}, &out, &errs)
			if text := out.String() + errs.String(); code != 1 || !strings.Contains(text, "127.0.0.1:8002") {
				t.Errorf("empty: exit code %d, and no usual address in:\n%s", code, text)
			}
		})
	}
}
