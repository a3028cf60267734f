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
// configured is ErrUnknownOrgan, one without agents ErrNoAgents. While the connection is down, or the agent was not met
// on this cluster yet, it is ErrNotReady. Whether the agent lives at this moment is for the call to find out:
// ray.ErrActorUnavailable says that it does not, also when there is none.
//
// What comes back otherwise is ray.Client.Call's: a *ray.TaskError when the agent's handler failed, a *ray.CallError
// when no answer came in time. It is never given to a second agent. ray.SentOf tells for every error whether the task may
// have run.
//
// Integers reach the agent whole; a json.Number becomes an int64 or uint64 where it is one, else a float64.
func (o *Organism) Execute(ctx context.Context, organID string, task Task) (Execution, error) {
	for _, organ := range o.config.Organs {
		if organ.ID == organID {
			return o.executeOn(ctx, organ, task)
		}
	}
	return Execution{}, notSent(fmt.Errorf("%w: %q", ErrUnknownOrgan, organID))
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
		return Execution{}, notSent(ErrNoAgents)
	}
	return o.executeOn(ctx, able[rand.IntN(len(able))], task)
}

func (o *Organism) executeOn(ctx context.Context, organ OrganConfig, task Task) (Execution, error) {
	if organ.AgentCount == 0 {
		return Execution{OrganID: organ.ID}, notSent(ErrNoAgents)
	}
	agent := organ.AgentID(rand.IntN(organ.AgentCount))
	if err := o.ours(agent); err != nil {
		return Execution{OrganID: organ.ID, AgentID: agent}, err
	}
	e, err := o.ExecuteOnAgent(ctx, agent, task)
	e.OrganID = organ.ID
	if errors.Is(err, ray.ErrActorNotFound) || errors.Is(err, ray.ErrActorDied) {
		// It belongs here and is made anew: that it is not there is not the caller's mistake.
		err = &ray.CallError{Target: agent, Sent: ray.SentOf(err), Err: fmt.Errorf("%w: %v", ray.ErrActorUnavailable, err)} //nolint:errorlint // on purpose no longer what it was
	}
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
	if direct, _ := client.Direct(); direct != nil && !o.conn.Info().Session.Answers {
		call = direct.Call // the session is being renewed: the actors go on without it, and waiting for it helps nobody
	}
	v, err := call(ctx, namespace, agentID, "execute_task", task.plain())
	if err != nil {
		return e, err
	}
	result, ok := v.(map[string]any)
	if !ok {
		return e, &ray.CallError{Target: agentID, Sent: ray.SentYes, Err: fmt.Errorf("organism: agent %s returned a %T instead of a map", agentID, v)}
	}
	e.Result = result
	return e, nil
}

// link returns what calls go through: a session that answers or the direct path.
func (o *Organism) link() (*ray.Client, string, error) {
	client, err := o.conn.Client()
	if err != nil {
		return nil, "", notSent(fmt.Errorf("%w: %w", ErrNotReady, err))
	}
	info := o.conn.Info()
	if direct, _ := client.Direct(); direct == nil && !info.Session.Answers {
		return nil, "", notSent(fmt.Errorf("%w: the connection is %s: %s", ErrNotReady, info.State, info.LastError))
	}
	return client, info.Namespace, nil
}

// ours returns nil when the actor of a configured name was met on this cluster and is of the right class: what answers
// to the name otherwise may be anybody's.
func (o *Organism) ours(name string) error {
	o.mu.Lock()
	refusal, known := o.met[name]
	problem := o.look.Problem
	o.mu.Unlock()
	switch {
	case known && refusal == nil:
		return nil
	case known:
		return notSent(fmt.Errorf("%w: %v", ErrNotReady, refusal)) //nolint:errorlint // the organism's trouble, not the caller's
	default:
		return notSent(fmt.Errorf("%w: %s was not brought up yet: %s", ErrNotReady, name, problem))
	}
}

// unsent is an error of a task that was not sent anywhere. Its text is that of the cause.
type unsent struct{ call *ray.CallError }

func notSent(err error) error { return unsent{&ray.CallError{Sent: ray.SentNo, Err: err}} }

func (u unsent) Error() string { return u.call.Err.Error() }

func (u unsent) Unwrap() error { return u.call }
