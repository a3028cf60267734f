package organism_test

import (
	"fmt"

	"github.com/seedcore/seedcore/organism"
)

func ExampleParseConfig() {
	_, err := organism.ParseConfig("organism.yaml", []byte(`seedcore:
  organism:
    organ_types:
      - id: planner
        type: Cognitive
        agent_count: many
      - id: planner
        typ: Utility
        agent_count: 2
`))
	fmt.Println(err)
	// Output:
	// organism.yaml:6: seedcore.organism.organ_types[0].agent_count: it must be a whole number and is the string "many"
	// organism.yaml:8: seedcore.organism.organ_types[1].typ: unknown key; the keys here are id, type, description, agent_count, task_types
	// organism.yaml:7: seedcore.organism.organ_types[1].type: the key is missing
	// organism.yaml:7: seedcore.organism.organ_types[1].id: the id "planner" is used already in line 4
}

func ExampleSelectBest() {
	best, ok := organism.SelectBest([]organism.Candidate{
		{AgentID: "novice", Proxy: organism.EnergyProxy{Capability: 0.4, EntropyContribution: 1}},
		{AgentID: "expert", Proxy: organism.EnergyProxy{Capability: 0.7, EntropyContribution: 1}},
	}, 0.5)
	fmt.Printf("%s %.2f %v\n", best.AgentID, best.Score, ok)
	// Output: expert 0.10 true
}
