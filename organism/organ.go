package organism

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// ErrNoAgents is what [Organ.SelectAgent] returns when no agent is registered. Its text is part of the interface.
var ErrNoAgents = errors.New("No agents available in this organ.") //nolint:revive,staticcheck // callers match this text

// Organ is a named group of agents. It knows them by name and holds no handle, so it is right about who belongs to it
// and says nothing about whether they live.
//
// Like [Agent] it is not safe for concurrent use: as an actor it gets one call at a time.
type Organ struct {
	id, organType string
	agents        []string            // in the order of registration
	members       map[string]struct{} // the same
	rng           *rand.Rand
	now           func() time.Time
}

// OrganState is what an organ is made from.
type OrganState struct {
	// ID is the organ's id and the name of its actor, see [CheckOrganID]. Required.
	ID string
	// Type is its type, see [RolesFor]. Required.
	Type string
	// AgentIDs are registered from the start, so that a restart by Ray, which repeats the constructor, knows them.
	AgentIDs []string
	// Rand is what the choice of an agent draws from; the default is seeded at random.
	Rand *rand.Rand
	// Now is the clock; the default is time.Now.
	Now func() time.Time
}

// NewOrgan makes an organ. It fails when an id is unusable or the type is empty.
func NewOrgan(state OrganState) (*Organ, error) {
	if err := CheckOrganID(state.ID); err != nil {
		return nil, fmt.Errorf("organ_id: %w", err)
	}
	if state.Type == "" {
		return nil, errors.New("organ_type is empty; give a type such as \"Cognitive\"")
	}
	organ := &Organ{id: state.ID, organType: state.Type, members: map[string]struct{}{}, rng: state.Rand, now: state.Now}
	if organ.rng == nil {
		organ.rng = newRand()
	}
	if organ.now == nil {
		organ.now = time.Now
	}
	for i, agentID := range state.AgentIDs {
		if err := organ.RegisterAgent(agentID); err != nil {
			return nil, fmt.Errorf("agent_ids[%d]: %w", i, err)
		}
	}
	return organ, nil
}

// OrganStatus is an organ's account of itself.
type OrganStatus struct {
	OrganID    string   `json:"organ_id"`
	OrganType  string   `json:"organ_type"`
	AgentCount int      `json:"agent_count"`
	AgentIDs   []string `json:"agent_ids"` // in the order of registration
	// PID is the organ's process.
	PID int `json:"pid"`
}

// ID returns the organ's id.
func (o *Organ) ID() string { return o.id }

// Ping returns the organ's id, time and process.
func (o *Organ) Ping() Pong { return pong(o.id, o.now()) }

// RegisterAgent adds an agent. One that is there already stays where it is. An unusable id is an error.
func (o *Organ) RegisterAgent(agentID string) error {
	if err := CheckName(agentID); err != nil {
		return err
	}
	if _, there := o.members[agentID]; !there {
		o.members[agentID] = struct{}{}
		o.agents = append(o.agents, agentID)
	}
	return nil
}

// RemoveAgent takes an agent out and reports whether it was there. The agent's actor goes on running.
func (o *Organ) RemoveAgent(agentID string) bool {
	if _, there := o.members[agentID]; !there {
		return false
	}
	delete(o.members, agentID)
	i := slices.Index(o.agents, agentID)
	o.agents = slices.Delete(o.agents, i, i+1)
	return true
}

// AgentCount returns the number of agents.
func (o *Organ) AgentCount() int { return len(o.agents) }

// AgentIDs returns the agents in the order of registration.
func (o *Organ) AgentIDs() []string { return append([]string{}, o.agents...) }

// Status returns the organ's account of itself.
func (o *Organ) Status() OrganStatus {
	return OrganStatus{
		OrganID:    o.id,
		OrganType:  o.organType,
		AgentCount: len(o.agents),
		AgentIDs:   o.AgentIDs(),
		PID:        o.Ping().PID,
	}
}

// SelectAgent returns one of the agents, each with the same probability; [ErrNoAgents] when there is none. The task
// plays no part.
func (o *Organ) SelectAgent(Task) (string, error) {
	if len(o.agents) == 0 {
		return "", ErrNoAgents
	}
	return o.agents[o.rng.IntN(len(o.agents))], nil
}
