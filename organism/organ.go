package organism

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// ErrNoAgents is what [Organ.SelectAgent] returns when no agent is registered. Its text is part of the interface.
var ErrNoAgents = errors.New("No agents available in this organ.") //nolint:revive,staticcheck // callers match this text

// Organ is a named group of agents. It knows them by name and holds no handle, so it is right about who belongs to it
// and says nothing about whether they live.
//
// It is safe for concurrent use: as an actor it runs tasks of many callers at a time, and one call of another kind.
type Organ struct {
	id, organType string
	now           func() time.Time

	mu      sync.Mutex          // guards what follows
	agents  []string            // in the order of registration
	members map[string]struct{} // the same
	rng     *rand.Rand

	revision   string    // of the configuration that the agents come from; empty: none yet
	renewed    time.Time // when that was last asked for
	leaseUntil time.Time // no other configuration counts before then
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
	// Revision names the configuration that the agents come from; empty without one. RevisionAge is how many seconds ago
	// somebody last asked for that configuration.
	Revision    string  `json:"revision"`
	RevisionAge float64 `json:"revision_age"`
	// PID is the organ's process.
	PID int `json:"pid"`
}

// ID returns the organ's id.
func (o *Organ) ID() string { return o.id }

// Ping returns the organ's id, time and process. It may run beside other calls.
func (o *Organ) Ping() Pong { return pong(o.id, OrganClass, organSpec(o.id, o.organType), o.now()) }

// RegisterAgent adds an agent. One that is there already stays where it is. An unusable id is an error.
func (o *Organ) RegisterAgent(agentID string) error {
	if err := CheckName(agentID); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.members[agentID]; !there {
		o.members[agentID] = struct{}{}
		o.agents = append(o.agents, agentID)
	}
	return nil
}

// RemoveAgent takes an agent out and reports whether it was there. The agent's actor goes on running.
func (o *Organ) RemoveAgent(agentID string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.members[agentID]; !there {
		return false
	}
	delete(o.members, agentID)
	i := slices.Index(o.agents, agentID)
	o.agents = slices.Delete(o.agents, i, i+1)
	return true
}

// MaxLease bounds how long one configuration keeps others out of an organ that nobody asks for it any more.
const MaxLease = time.Hour

// Configure makes agentIDs the organ's agents, in that order, on behalf of a configuration that revision names, and
// keeps other configurations out for the lease. Servers with one configuration repeat it and so renew the lease; one
// with another configuration changes nothing before it has run out: two of them do not take turns. Whose list it is then
// stands in the [OrganStatus]. An empty revision, an unusable id or a lease that is not above 0 and at most [MaxLease] is
// an error.
func (o *Organ) Configure(revision string, agentIDs []string, lease time.Duration) error {
	if revision == "" {
		return errors.New("revision is empty")
	}
	if lease <= 0 || lease > MaxLease {
		return fmt.Errorf("the lease is %s; give a time above 0 and at most %s", lease, MaxLease)
	}
	for i, id := range agentIDs {
		if err := CheckName(id); err != nil {
			return fmt.Errorf("agent_ids[%d]: %w", i, err)
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if revision != o.revision && now.Before(o.leaseUntil) {
		return nil
	}
	o.revision, o.renewed, o.leaseUntil = revision, now, now.Add(lease)
	o.agents = o.agents[:0]
	clear(o.members)
	for _, id := range agentIDs {
		if _, twice := o.members[id]; !twice {
			o.members[id] = struct{}{}
			o.agents = append(o.agents, id)
		}
	}
	return nil
}

// AgentCount returns the number of agents.
func (o *Organ) AgentCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.agents)
}

// AgentIDs returns the agents in the order of registration.
func (o *Organ) AgentIDs() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.agents...)
}

// Status returns the organ's account of itself.
func (o *Organ) Status() OrganStatus {
	o.mu.Lock()
	defer o.mu.Unlock()
	status := OrganStatus{
		OrganID:    o.id,
		OrganType:  o.organType,
		AgentCount: len(o.agents),
		AgentIDs:   append([]string{}, o.agents...),
		Revision:   o.revision,
		PID:        o.Ping().PID,
	}
	if o.revision != "" {
		status.RevisionAge = max(o.now().Sub(o.renewed).Seconds(), 0)
	}
	return status
}

// newOrganStatus reads what an organ's get_status or configure returned.
func newOrganStatus(id string, v any) (OrganStatus, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return OrganStatus{}, fmt.Errorf("organ %s: its status is a %T instead of a map", id, v)
	}
	var s OrganStatus
	var list []any
	var pid int64
	ok = assign(m, "organ_id", &s.OrganID) && assign(m, "organ_type", &s.OrganType) && assign(m, "agent_ids", &list) &&
		assign(m, "pid", &pid) && assign(m, "revision", &s.Revision) && assign(m, "revision_age", &s.RevisionAge)
	if !ok || s.OrganID != id {
		return OrganStatus{}, fmt.Errorf("organ %s: its status is not one of this version: %v", id, m)
	}
	s.PID, s.AgentIDs = int(pid), make([]string, 0, len(list))
	for _, item := range list {
		agent, ok := item.(string)
		if !ok {
			return OrganStatus{}, fmt.Errorf("organ %s: its status names an agent by a %T", id, item)
		}
		s.AgentIDs = append(s.AgentIDs, agent)
	}
	s.AgentCount = len(s.AgentIDs)
	return s, nil
}

// assign sets a field from a key of a decoded map, and reports whether it has that key with the field's type.
func assign[T any](m map[string]any, key string, field *T) bool {
	v, ok := m[key].(T)
	*field = v
	return ok
}

// SelectAgent returns one of the agents, each with the same probability; [ErrNoAgents] when there is none. The task
// plays no part.
func (o *Organ) SelectAgent(Task) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.agents) == 0 {
		return "", ErrNoAgents
	}
	return o.agents[o.rng.IntN(len(o.agents))], nil
}

// RunTask chooses an agent as [Organ.SelectAgent] does, calls it with the task and returns its result as it is: that of
// [Agent.ExecuteTask], whose agent_id says who it was. The call goes directly from the organ's process to the agent's, which
// needs the context of a method of the organ's actor, see [worker.FromContext], and a version of Ray that direct calls were
// tested on: ray.ErrUnsupportedVersion otherwise, and nothing ran. Without a deadline of ctx it takes at most
// [DefaultTaskTimeout].
//
// The error names the agent. A task that failed is never given to another one; ray.SentOf tells whether it may have run.
// Many tasks may be under way at a time, but an agent runs one after the other.
//
// [Organism.Execute] does the same with one hop less; this is for callers that know no more than the organ's name.
func (o *Organ) RunTask(ctx context.Context, task Task) (map[string]any, error) {
	agent, err := o.SelectAgent(task)
	if err != nil {
		return nil, notSent(err)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTaskTimeout)
		defer cancel()
	}
	v, err := worker.FromContext(ctx).Call(ctx, agent, "execute_task", task.plain())
	if err != nil {
		return nil, fmt.Errorf("organ %s, agent %s: %w", o.id, agent, err)
	}
	result, ok := v.(map[string]any)
	if !ok {
		return nil, &ray.CallError{Target: agent, Sent: ray.SentYes, Err: fmt.Errorf("organism: agent %s returned a %T instead of a map", agent, v)}
	}
	return result, nil
}
