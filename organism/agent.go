package organism

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// StateDim is the length of an agent's state vector h.
const StateDim = 128

// lifecycleEmployed is the state that an agent starts in. Nothing moves it on yet.
const lifecycleEmployed = "Employed"

// AgentConfig is what an agent is made from.
type AgentConfig struct {
	// ID is the agent's id and the name of its actor, see [CheckName]. Required.
	ID string
	// OrganID is the organ that the agent belongs to; empty when it belongs to none.
	OrganID string
	// Roles are its role probabilities; the zero value stands for [DefaultRoles].
	Roles RoleProbs
	// Rand is what the simulated handler draws from; the default is seeded at random.
	Rand *rand.Rand
	// Now is the clock; the default is time.Now.
	Now func() time.Time
}

// Agent runs tasks, one at a time, and keeps account of how they went. Its state is in memory only: a restart of its
// process begins anew.
//
// An Agent is not safe for concurrent use, Ping apart, and has no lock. As an actor it needs none, since Ray gives an actor of
// max_concurrency 1 one call at a time; whoever hosts agents otherwise has to see to that.
type Agent struct {
	id, organID string
	spec        string // what it was made from
	roles       RoleProbs
	performance Performance
	h           [StateDim]float64
	simulated   Handler
	now         func() time.Time

	createdAt, lastHeartbeat time.Time
	skillDeltas              map[string]float64
	peerInteractions         map[string]int
	energyState              map[string]float64
}

// NewAgent makes an agent. It fails when the id, the organ's id or the role probabilities are unusable.
func NewAgent(config AgentConfig) (*Agent, error) {
	if err := CheckName(config.ID); err != nil {
		return nil, fmt.Errorf("agent_id: %w", err)
	}
	if config.OrganID != "" {
		if err := CheckOrganID(config.OrganID); err != nil {
			return nil, fmt.Errorf("organ_id: %w", err)
		}
	}
	roles := config.Roles
	if roles == (RoleProbs{}) {
		roles = DefaultRoles()
	}
	roles, err := roles.Normalized()
	if err != nil {
		return nil, err
	}
	rng := config.Rand
	if rng == nil {
		rng = newRand()
	}
	now := config.Now
	if now == nil {
		now = time.Now
	}
	created := now()
	return &Agent{
		id:               config.ID,
		organID:          config.OrganID,
		spec:             agentSpecOf(config.ID, config.OrganID, roles),
		roles:            roles,
		performance:      NewPerformance(),
		simulated:        Simulated(rng),
		now:              now,
		createdAt:        created,
		lastHeartbeat:    created,
		skillDeltas:      map[string]float64{},
		peerInteractions: map[string]int{},
		energyState:      map[string]float64{},
	}, nil
}

// ID returns the agent's id.
func (a *Agent) ID() string { return a.id }

// OrganID returns the id of its organ, or "".
func (a *Agent) OrganID() string { return a.organID }

// Roles returns its role probabilities.
func (a *Agent) Roles() RoleProbs { return a.roles }

// UpdateRoles replaces its role probabilities by the normalized ones. An error leaves the old ones in place.
func (a *Agent) UpdateRoles(roles RoleProbs) error {
	roles, err := roles.Normalized()
	if err != nil {
		return err
	}
	a.roles = roles
	return nil
}

// ResetMetrics puts everything that was measured back to what a new agent has: both capabilities, mem_util, all counts,
// qualities, skills and peers, and h. Roles, the energy state and the times of creation and heartbeat stay.
func (a *Agent) ResetMetrics() {
	a.performance = NewPerformance()
	a.h = [StateDim]float64{}
	clear(a.skillDeltas)
	clear(a.peerInteractions)
}

// Performance returns a copy of its account.
func (a *Agent) Performance() Performance {
	performance := a.performance
	performance.Qualities = slices.Clone(performance.Qualities)
	return performance
}

// EnergyProxy returns what [SelectBest] needs to know of the agent.
func (a *Agent) EnergyProxy() EnergyProxy {
	return EnergyProxy{
		Capability:          a.performance.Capability,
		EntropyContribution: a.roles.Entropy(),
		MemUtil:             a.performance.MemHits,
		StateNorm:           norm(a.h[:]),
	}
}

// TaskResult is the result of a task that ran.
type TaskResult struct {
	AgentID         string  `json:"agent_id"`
	TaskProcessed   bool    `json:"task_processed"` // always true
	Success         bool    `json:"success"`
	Quality         float64 `json:"quality"`
	CapabilityScore float64 `json:"capability_score"`
	MemUtil         float64 `json:"mem_util"`
	// PID is the process that ran the task.
	PID int `json:"pid"`
	// Output is [Outcome.Output].
	Output any `json:"output,omitempty"`
}

// ExecuteTask runs a task with the handler of its type, or that of [AnyType], or the simulated one, and accounts for
// the outcome.
//
// An error that wraps [ErrTask], and a ctx that had ended before, mean that nothing ran and nothing was counted. Any
// other error is the handler's, wrapped, or [ErrOutcome]; the task is then counted as one without success and with
// quality 0, and so is one whose handler panics. A panic is not recovered here.
func (a *Agent) ExecuteTask(ctx context.Context, task Task) (TaskResult, error) {
	taskType, err := task.Type()
	if err != nil {
		return TaskResult{}, err
	}
	complexity, err := task.Complexity()
	if err != nil {
		return TaskResult{}, err
	}
	if err := ctx.Err(); err != nil {
		return TaskResult{}, fmt.Errorf("agent %s did not start the task: %w", a.id, err)
	}
	handler := handlerFor(taskType)
	if handler == nil {
		handler = a.simulated
	}

	a.performance.Begin(complexity)
	outcome, err := a.run(ctx, handler, task)
	if err != nil {
		return TaskResult{}, fmt.Errorf("agent %s, task type %.40q: %w", a.id, taskType, err)
	}
	return TaskResult{
		AgentID:         a.id,
		TaskProcessed:   true,
		Success:         outcome.Success,
		Quality:         outcome.Quality,
		CapabilityScore: a.performance.CapabilityScore,
		MemUtil:         a.performance.MemUtil,
		PID:             os.Getpid(),
		Output:          outcome.Output,
	}, nil
}

// run records a valid outcome as it is and everything else, a panic too, as a failure.
func (a *Agent) run(ctx context.Context, handler Handler, task Task) (Outcome, error) {
	var recorded Outcome
	defer func() { a.performance.Record(recorded) }()
	outcome, err := handler(ctx, task)
	if err != nil {
		return Outcome{}, err
	}
	if err := outcome.Validate(); err != nil {
		return Outcome{}, err
	}
	recorded = outcome
	return outcome, nil
}

func newRand() *rand.Rand {
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
}

func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}
