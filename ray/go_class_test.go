package ray_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

// Whatever inherits a runtime environment would become a process of the Go program, and could not run.
func TestAGoProgramIsForActorsOnly(t *testing.T) {
	t.Parallel()
	env := ray.GoRuntimeEnv("gcs://x.zip")
	dashboard, err := ray.NewDashboard("127.0.0.1:1", nil) // where nothing is: it is not asked
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"session": second(ray.Open(deadline(t), ray.Config{Address: "127.0.0.1:1", RuntimeEnv: env})),
		"job":     second(dashboard.SubmitJob(deadline(t), ray.JobSpec{Entrypoint: "true", RuntimeEnv: env})),
	} {
		if !errors.Is(err, ray.ErrActorsOnly) || !errors.Is(err, ray.ErrInvalidOption) || !strings.Contains(err.Error(), "ActorOptions") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// The line with which a raylet starts the program of a package, as Ray hands it to a shell.
// machine is what this one says it is.
func machine(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(deadline(t), "uname", "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func TestTheStartLineOfAGoProgram(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, dir string) *exec.Cmd {
		cmd := exec.CommandContext(deadline(t), "bash", "-c", "exec "+ray.GoRuntimeEnv("gcs://x.zip").PyExecutable+` -c 'echo "$1-$2"' x one 'two words'`)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		return cmd
	}
	program, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	shell, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, content []byte) (dir string) {
		dir = t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ray.PackagedBinary), content, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("without its mode", func(t *testing.T) {
		t.Parallel()
		if out, err := start(t, write(t, shell)).Output(); err != nil || string(out) != "one-two words\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("for several platforms", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for machine, content := range map[string][]byte{"x86_64": []byte("\x7fELF"), "aarch64": []byte("\x7fELF"), machine(t): shell} {
			if err := os.WriteFile(filepath.Join(dir, ray.PackagedBinary+"-"+machine), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := start(t, dir).Output(); err != nil || string(out) != "one-two words\n" {
			t.Errorf("%q, %v", out, err)
		}
	})
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		dir := write(t, shell)
		busy, err := os.OpenFile(filepath.Join(dir, ray.PackagedBinary), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd := start(t, dir)
		var out strings.Builder
		cmd.Stdout = &out
		complaints, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(complaints)
		if !lines.Scan() || !strings.Contains(lines.Text(), "busy") {
			t.Errorf("it started, or said %q", lines.Text())
		}
		if err := busy.Close(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
		}
		if err := cmd.Wait(); err != nil || out.String() != "one-two words\n" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	for name, c := range map[string]struct {
		dir  string
		code int
		text string
	}{
		"missing":    {t.TempDir(), 127, "no program for " + machine(t) + " in "},
		"no program": {write(t, []byte("\x7fELF\x00\x00")), 126, "Exec format error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := start(t, c.dir)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.text) {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
