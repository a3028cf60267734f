package organism_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

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
	wantKeys(t, status, "organ_id organ_type agent_count agent_ids revision revision_age pid")
}

// Of two configurations the one that came first counts for as long as somebody asks for it.
func TestConfigureKeepsOneConfiguration(t *testing.T) {
	now := time.Unix(1000, 0)
	organ, err := organism.NewOrgan(organism.OrganState{ID: "o", Type: "Cognitive", AgentIDs: []string{"old"}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	configure := func(revision string, agents ...string) organism.OrganStatus {
		t.Helper()
		if err := organ.Configure(revision, agents, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		return organ.Status()
	}
	if s := configure("a", "x", "y", "x"); s.Revision != "a" || !slices.Equal(s.AgentIDs, []string{"x", "y"}) {
		t.Errorf("the first configuration: %+v", s)
	}
	for range 3 { // two servers in turn, one of which renews its lease
		now = now.Add(6 * time.Second)
		if s := configure("b", "z"); s.Revision != "a" || s.AgentCount != 2 || s.RevisionAge != 6 {
			t.Errorf("another configuration within the lease: %+v", s)
		}
		configure("a", "x", "y")
	}
	now = now.Add(10 * time.Second)
	if s := configure("b", "z"); s.Revision != "b" || !slices.Equal(s.AgentIDs, []string{"z"}) || s.RevisionAge != 0 {
		t.Errorf("another configuration after the lease: %+v", s)
	}
	if !organ.RemoveAgent("z") || organ.RemoveAgent("x") {
		t.Error("the members are not those of the list")
	}
	for name, err := range map[string]error{
		"no revision":      organ.Configure("", nil, time.Second),
		"an unusable name": organ.Configure("b", []string{"mw"}, time.Second),
		"no lease":         organ.Configure("b", nil, 0),
		"a long lease":     organ.Configure("b", nil, 2*time.Hour),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if s := organ.Status(); s.Revision != "b" {
		t.Errorf("a refused configuration changed something: %+v", s)
	}
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
