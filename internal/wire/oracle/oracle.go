// Package oracle asks CPython what it makes of our bytes: the tests of the wire packages compare themselves with it.
//
//	o := oracle.Start(t)
//	var answer struct{ Canon json.RawMessage }
//	o.Ask(t, map[string]any{"ask": "load", "pickle": encoded}, &answer)
package oracle

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// venv is the module's virtual environment as seen from the directory of a wire package, where its tests run.
const venv = "../../../.venv"

// Oracle is a Python process that answers questions, a JSON object a line each way. It serves one goroutine.
type Oracle struct {
	in      *json.Encoder
	answers *bufio.Reader
}

// Start runs testdata/oracle.py of the package under test, with these arguments, until the end of the test. A test that
// needs it fails without the virtual environment.
func Start(t testing.TB, args ...string) *Oracle {
	t.Helper()
	python, err := filepath.Abs(filepath.Join(venv, "bin", "python"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(python); err != nil {
		t.Fatalf("the differential tests need a virtual environment with Ray at the module's root: %v", err)
	}
	cmd := exec.Command(python, append([]string{"testdata/oracle.py"}, args...)...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // ends its loop
		if err := cmd.Wait(); err != nil {
			t.Errorf("oracle: %v", err)
		}
	})
	return &Oracle{in: json.NewEncoder(stdin), answers: bufio.NewReader(stdout)}
}

// StartWithNumPy is Start for an oracle.py that takes the directory of NumPy as its argument.
func StartWithNumPy(t testing.TB) *Oracle {
	t.Helper()
	packages, err := filepath.Abs(filepath.Join(venv, "for-tests"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(packages, "numpy")); err != nil {
		t.Fatalf("run scripts/setup.sh --tests first: %v", err)
	}
	return Start(t, packages)
}

// Ask sends a question and reads the answer into answer. What the oracle cannot answer fails the test.
func (o *Oracle) Ask(t testing.TB, question map[string]any, answer any) {
	t.Helper()
	if err := o.in.Encode(question); err != nil {
		t.Fatalf("oracle: %v", err)
	}
	line, err := o.answers.ReadBytes('\n')
	if err != nil {
		t.Fatalf("oracle: %v", err)
	}
	var failed struct{ Failure string }
	if err := json.Unmarshal(line, &failed); err != nil || failed.Failure != "" {
		t.Fatalf("oracle: %v: %v%s", question["ask"], err, failed.Failure)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		t.Fatalf("oracle: %v in %.200s", err, line)
	}
}
