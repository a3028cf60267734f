package organism_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func newOrgan(t *testing.T, agents ...string) *organism.Organ {
	t.Helper()
	organ, err := organism.NewOrgan(organism.OrganState{
		ID: "o", Type: "Cognitive", AgentIDs: agents, Rand: rand.New(rand.NewPCG(1, 2)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return organ
}

func TestOrganKeepsAgentsInTheOrderOfRegistration(t *testing.T) {
	organ := newOrgan(t, "b", "a")
	for _, id := range []string{"c", "a", "b"} {
		if err := organ.RegisterAgent(id); err != nil {
			t.Fatal(err)
		}
	}
	if got := organ.AgentIDs(); !slices.Equal(got, []string{"b", "a", "c"}) || organ.AgentCount() != 3 {
		t.Errorf("got %v, %d", got, organ.AgentCount())
	}
	if !organ.RemoveAgent("a") || organ.RemoveAgent("a") || organ.RemoveAgent("x") {
		t.Error("RemoveAgent does not tell what was there")
	}
	if err := organ.RegisterAgent("a"); err != nil {
		t.Fatal(err)
	}
	status := organ.Status()
	if !slices.Equal(status.AgentIDs, []string{"b", "c", "a"}) || status.AgentCount != 3 || status.OrganID != "o" ||
		status.OrganType != "Cognitive" || status.PID != os.Getpid() {
		t.Errorf("got %+v", status)
	}
	status.AgentIDs[0] = "x"
	if organ.AgentIDs()[0] != "b" {
		t.Error("a status shares memory with the organ")
	}
	wantKeys(t, status, "organ_id organ_type agent_count agent_ids pid")
}

func TestSelectAgentIsUniform(t *testing.T) {
	organ := newOrgan(t, "a", "b", "c", "d")
	counts := map[string]int{}
	const n = 4000
	for range n {
		id, err := organ.SelectAgent(nil)
		if err != nil {
			t.Fatal(err)
		}
		counts[id]++
	}
	for _, id := range organ.AgentIDs() {
		if !near(float64(counts[id])/n, 0.25, 0.03) {
			t.Errorf("%s was chosen %d times of %d", id, counts[id], n)
		}
	}
	if len(counts) != 4 {
		t.Errorf("got %v", counts)
	}
}

func TestSelectAgentOfAnEmptyOrgan(t *testing.T) {
	organ := newOrgan(t, "a")
	organ.RemoveAgent("a")
	_, err := organ.SelectAgent(nil)
	if !errors.Is(err, organism.ErrNoAgents) || err.Error() != "No agents available in this organ." {
		t.Errorf("got %v", err)
	}
}

func TestNewOrganRefusesWhatItCannotUse(t *testing.T) {
	for says, state := range map[string]organism.OrganState{
		"organ_id":            {Type: "T"},
		"organ_type is empty": {ID: "o"},
		"agent_ids[1]":        {ID: "o", Type: "T", AgentIDs: []string{"a", "a b"}},
	} {
		if _, err := organism.NewOrgan(state); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: got %v, want an error that says %q", state, err, says)
		}
	}
	if err := newOrgan(t).RegisterAgent("mw"); !errors.Is(err, organism.ErrName) {
		t.Errorf("a reserved name: %v", err)
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "7", "_x", "cognitive_organ_1_agent_0", "A.b-C_9", strings.Repeat("x", organism.MaxNameLength)} {
		if err := organism.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "-x", "a b", "a/b", "a\x00", "a\n", "\u00e4", "a:b", "random", "mw", "miss_tracker", "shared_cache",
		strings.Repeat("x", organism.MaxNameLength+1),
	} {
		if err := organism.CheckName(name); !errors.Is(err, organism.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	longest := strings.Repeat("x", organism.MaxOrganIDLength)
	if err := organism.CheckOrganID(longest); err != nil {
		t.Error(err)
	}
	if err := organism.CheckName(organism.AgentID(longest, organism.MaxAgentsPerOrgan)); err != nil {
		t.Errorf("the longest organ id leaves no room for its agents: %v", err)
	}
	if err := organism.CheckOrganID(longest + "x"); !errors.Is(err, organism.ErrName) {
		t.Errorf("got %v", err)
	}
	if got := fmt.Sprint(organism.AgentID("o", 12)); got != "o_agent_12" {
		t.Errorf("got %s", got)
	}
}
