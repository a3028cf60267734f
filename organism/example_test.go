package organism_test

import (
	"context"
	"fmt"

	"github.com/seedcore/seedcore/organism"
)

func greet(_ context.Context, task organism.Task) (organism.Outcome, error) {
	return organism.Outcome{Success: true, Quality: 1, Output: fmt.Sprint("hello ", task["name"])}, nil
}

func init() { organism.RegisterHandler("greet", greet) }

func Example() {
	organ := organism.DefaultConfig().Organs[0]
	agent, err := organism.NewAgent(organism.AgentConfig{ID: organ.AgentID(0), Roles: organism.RolesFor(organ.Type)})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := agent.ExecuteTask(context.Background(), organism.Task{"type": "greet", "name": "Ada"})
	fmt.Printf("%s: %v (%.3f) %v\n", result.AgentID, result.Output, result.CapabilityScore, err)
	// Output: cognitive_organ_1_agent_0: hello Ada (0.595) <nil>
}
