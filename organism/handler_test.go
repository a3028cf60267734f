package organism_test

import (
	"context"
	"os"
	"os/exec"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

// TestAnyTypeRunsWhatHasNoHandler runs itself again in a process of its own: the registration holds for the whole
// process and would take the place of the simulated handler in the other tests.
func TestAnyTypeRunsWhatHasNoHandler(t *testing.T) {
	const marker = "ORGANISM_TEST_ANY_TYPE"
	if os.Getenv(marker) == "" {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAnyTypeRunsWhatHasNoHandler$", "-test.count=1")
		again.Env = append(os.Environ(), marker+"=1")
		if output, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		return
	}
	organism.RegisterHandler(organism.AnyType, func(context.Context, organism.Task) (organism.Outcome, error) {
		return organism.Outcome{Output: "any"}, nil
	})
	agent := newAgent(t, organism.AgentConfig{ID: "x"})
	for _, task := range []organism.Task{nil, {"type": "never registered"}, {"type": organism.AnyType}} {
		result, err := agent.ExecuteTask(t.Context(), task)
		if err != nil || result.Output != "any" {
			t.Errorf("%v: got %+v, %v", task, result, err)
		}
	}
	result, err := agent.ExecuteTask(t.Context(), organism.Task{"type": "greet", "name": "Ada"})
	if err != nil || result.Output != "hello Ada" {
		t.Errorf("a type with a handler of its own: got %+v, %v", result, err)
	}
}
