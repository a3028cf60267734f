package ray_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
)

// A program that asked for no log says nothing that is not its own, whatever it sends and however it ends.
func TestAProgramIsQuiet(t *testing.T) {
	t.Parallel()
	program := raytest.BuildGo(t, "./ray/testdata/quiet")
	cmd := exec.CommandContext(deadline(t), program, raytest.Head(t).ClientAddress(), raytest.Namespace(t))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil || stdout.String() != "counted 1100\n" || stderr.Len() > 0 {
		t.Errorf("%v; it said %q, and %q as errors", err, stdout.String(), stderr.String())
	}
}
