package organism_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

// The score of an agent that has just started, for each organ type.
func TestScoreOfNewAgents(t *testing.T) {
	for name, test := range map[string]struct {
		roles          organism.RoleProbs
		entropy, score float64
	}{
		"Cognitive":   {organism.RolesFor("Cognitive"), 1.295461840, 0.240907632},
		"Actuator":    {organism.RolesFor("Actuator"), 1.156779645, 0.268644071},
		"Utility":     {organism.RolesFor("Utility"), 1.485475293, 0.202904941},
		"other types": {organism.RolesFor("Swarm"), 1.584818701, 0.183036260},
		"default":     {organism.DefaultRoles(), 0.468995591, 0.406200882},
	} {
		t.Run(name, func(t *testing.T) {
			agent := newAgent(t, organism.AgentConfig{ID: "a", Roles: test.roles})
			proxy := agent.EnergyProxy()
			if proxy.Capability != 0.5 || proxy.MemUtil != 0 || proxy.StateNorm != 0 {
				t.Errorf("a new agent's proxy is %+v", proxy)
			}
			if !near(proxy.EntropyContribution, test.entropy, 1e-9) || !near(proxy.Score(), test.score, 1e-9) {
				t.Errorf("got H %.9f and score %.9f, want %.9f and %.9f", proxy.EntropyContribution, proxy.Score(), test.entropy, test.score)
			}
		})
	}
}

func TestScoreWithEveryTerm(t *testing.T) {
	proxy := organism.EnergyProxy{Capability: 0.8, EntropyContribution: 1, MemUtil: 0.5, StateNorm: 2}
	if got := proxy.Score(); !near(got, 0.0452, 1e-12) {
		t.Errorf("got %v, want 0.0452", got)
	}
}

func TestSelectBestOfTheInitialAgentsIsUtility(t *testing.T) {
	var candidates []organism.Candidate
	for _, organ := range organism.DefaultConfig().Organs {
		agent := newAgent(t, organism.AgentConfig{ID: organ.AgentID(0), OrganID: organ.ID, Roles: organism.RolesFor(organ.Type)})
		candidates = append(candidates, organism.Candidate{AgentID: agent.ID(), Proxy: agent.EnergyProxy()})
	}
	got, ok := organism.SelectBest(candidates, 0)
	if !ok || got.AgentID != "utility_organ_1_agent_0" || !near(got.Score, 0.202904941, 1e-9) || got.Err != nil {
		t.Errorf("got %+v, %v", got, ok)
	}
}

func TestSelectBestRules(t *testing.T) {
	unreachable := errors.New("unreachable")
	capable := func(id string, c float64) organism.Candidate {
		return organism.Candidate{AgentID: id, Proxy: organism.EnergyProxy{Capability: c}}
	}
	failed := organism.Candidate{AgentID: "failed", Err: unreachable, Proxy: organism.EnergyProxy{Capability: 1}}
	unavailable := capable("unavailable", 1)
	unavailable.Unavailable = true
	broken := organism.Candidate{AgentID: "broken", Proxy: organism.EnergyProxy{Capability: 1, EntropyContribution: math.NaN()}}
	infinite := organism.Candidate{AgentID: "infinite", Proxy: organism.EnergyProxy{Capability: math.Inf(1)}}

	for name, test := range map[string]struct {
		candidates []organism.Candidate
		required   float64
		want       string // "" for none
		err        error
	}{
		"none":                          {},
		"the first of equals":           {candidates: []organism.Candidate{capable("a", 0.4), capable("b", 0.6), capable("c", 0.6)}, want: "b"},
		"unavailable is out":            {candidates: []organism.Candidate{unavailable, capable("a", 0.1)}, want: "a"},
		"only unavailable":              {candidates: []organism.Candidate{unavailable}},
		"below what is required":        {candidates: []organism.Candidate{capable("a", 0.49)}, required: 0.5},
		"exactly what is required":      {candidates: []organism.Candidate{capable("a", 0.5)}, required: 0.5, want: "a"},
		"negative requires nothing":     {candidates: []organism.Candidate{capable("a", 0)}, required: -1, want: "a"},
		"a failed one loses":            {candidates: []organism.Candidate{failed, capable("a", 0)}, want: "a"},
		"a failed one is a last resort": {candidates: []organism.Candidate{unavailable, failed, broken}, want: "failed", err: unreachable},
		"a failed one has no capability": {
			candidates: []organism.Candidate{failed}, required: 0.1,
		},
		"not a number loses":        {candidates: []organism.Candidate{broken, capable("a", 0)}, want: "a"},
		"infinity loses":            {candidates: []organism.Candidate{infinite, capable("a", 0)}, want: "a"},
		"not a number, last resort": {candidates: []organism.Candidate{broken}, want: "broken", err: organism.ErrProxyNotFinite},
		"not a number, required":    {candidates: []organism.Candidate{broken, infinite}, required: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := organism.SelectBest(test.candidates, test.required)
			if got.AgentID != test.want || ok != (test.want != "") || !errors.Is(got.Err, test.err) {
				t.Errorf("got %+v, %v, want %q and the error %v", got, ok, test.want, test.err)
			}
			if (!ok || test.err != nil) != math.IsInf(got.Score, 1) {
				t.Errorf("the score is %v", got.Score)
			}
		})
	}
}

// SelectBest agrees with its definition, word for word, on random pools.
func TestSelectBestIsTheFirstMinimum(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		candidates := make([]organism.Candidate, rng.IntN(8))
		for i := range candidates {
			candidates[i] = organism.Candidate{
				AgentID:     string(rune('a' + i)),
				Unavailable: rng.IntN(5) == 0,
				Proxy: organism.EnergyProxy{ // coarse values, so that there are ties
					Capability: float64(rng.IntN(4)) / 4, EntropyContribution: float64(rng.IntN(2)), MemUtil: float64(rng.IntN(2)),
				},
			}
		}
		required := float64(rng.IntN(3)) / 4
		want, lowest := "", math.Inf(1)
		for _, c := range candidates {
			if !c.Unavailable && (required == 0 || c.Proxy.Capability >= required) && c.Proxy.Score() < lowest {
				want, lowest = c.AgentID, c.Proxy.Score()
			}
		}
		got, ok := organism.SelectBest(candidates, required)
		if got.AgentID != want || got.Score != lowest || ok != (want != "") {
			t.Fatalf("got %+v, %v, want %q at %v of %+v", got, ok, want, lowest, candidates)
		}
	}
}
