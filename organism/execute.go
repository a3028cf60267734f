package organism

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/seedcore/seedcore/ray"
)

// Execution is the outcome of a task that an agent ran.
type Execution struct {
	// OrganID is the organ that the task was given to; empty for a task that was given to an agent by name.
	OrganID string
	// AgentID is the agent that was chosen.
	AgentID string
	// Result is what the agent returned; see Agent.Execute for its keys.
	Result map[string]any
}

// Execute gives a task to an organ: it chooses one of the organ's agents at random and calls it. An organ that is not
// configured is ErrUnknownOrgan. While the organism does not stand it is ErrNotReady, and nothing was sent.
//
// What comes back otherwise is ray.Client.Call's: a *ray.TaskError when the agent's handler failed, a *ray.CallError
// when no answer came in time, which says whether the task may have run. It is never given to a second agent.
func (o *Organism) Execute(ctx context.Context, organID string, task Task) (Execution, error) {
	for _, organ := range o.config.Organs {
		if organ.ID == organID {
			return o.executeOn(ctx, organ, task)
		}
	}
	return Execution{}, fmt.Errorf("%w: %q", ErrUnknownOrgan, organID)
}

// ExecuteRandom gives a task to one of the organs that have agents, each with the same probability.
func (o *Organism) ExecuteRandom(ctx context.Context, task Task) (Execution, error) {
	var able []OrganConfig
	for _, organ := range o.config.Organs {
		if organ.AgentCount > 0 {
			able = append(able, organ)
		}
	}
	if len(able) == 0 {
		return Execution{}, ErrNoAgents
	}
	return o.executeOn(ctx, able[rand.IntN(len(able))], task)
}

func (o *Organism) executeOn(ctx context.Context, organ OrganConfig, task Task) (Execution, error) {
	if organ.AgentCount == 0 {
		return Execution{OrganID: organ.ID}, ErrNoAgents
	}
	e, err := o.ExecuteOnAgent(ctx, organ.AgentID(rand.IntN(organ.AgentCount)), task)
	e.OrganID = organ.ID
	return e, err
}

// ExecuteOnAgent gives a task to one agent by name, of this configuration or not. ray.ErrActorNotFound says that there is
// none of that name; otherwise see Execute.
func (o *Organism) ExecuteOnAgent(ctx context.Context, agentID string, task Task) (Execution, error) {
	e := Execution{AgentID: agentID}
	client, namespace, err := o.link()
	if err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.opts.TaskTimeout)
	defer cancel()
	call := client.Call
	if direct, _ := client.Direct(); direct != nil && !o.conn.Info().State.Answers() {
		call = direct.Call // the session is being renewed: the actors go on without it, and waiting for it helps nobody
	}
	v, err := call(ctx, namespace, agentID, "execute_task", map[string]any(task))
	if err != nil {
		return e, err
	}
	result, ok := v.(map[string]any)
	if !ok {
		return e, fmt.Errorf("organism: agent %s returned a %T instead of a map", agentID, v)
	}
	e.Result = result
	return e, nil
}

// link returns what calls go through. The organism must have been brought up once: before that its actors may be
// another's, or not be there. Whether they all live at this moment is for the call to find out.
func (o *Organism) link() (*ray.Client, string, error) {
	o.mu.Lock()
	h := o.health
	o.mu.Unlock()
	if !h.OK && h.Created+h.Adopted == 0 {
		return nil, "", fmt.Errorf("%w: %s", ErrNotReady, h.Problem)
	}
	client, err := o.conn.Client()
	if err != nil {
		return nil, "", errors.Join(ErrNotReady, err)
	}
	return client, o.conn.Info().Namespace, nil
}

// OrganReport is an organ's own account of itself, or why there is none.
type OrganReport struct {
	OrganStatus
	// Problem is empty when the organ answered.
	Problem string
}

// Status asks every organ for its status, all at once, each within Options.CallTimeout. ErrNotReady says that the
// organism does not stand.
func (o *Organism) Status(ctx context.Context) ([]OrganReport, error) {
	client, namespace, err := o.link()
	if err != nil {
		return nil, err
	}
	reports := make([]OrganReport, len(o.config.Organs))
	indexes := make([]int, len(reports))
	for i := range indexes {
		indexes[i] = i
	}
	_ = each(indexes, func(i int) error { // each organ's problem stands in its report
		organ := o.config.Organs[i]
		status, err := organStatus(ctx, client, namespace, organ.ID, o.opts.CallTimeout)
		reports[i] = OrganReport{OrganStatus: status}
		if err != nil {
			reports[i].OrganID, reports[i].OrganType, reports[i].Problem = organ.ID, organ.Type, err.Error()
		}
		return nil
	})
	return reports, nil
}
