package organism

import (
	"context"
	"fmt"
	"slices"

	"github.com/seedcore/seedcore/ray"
)

// Agents lists the agents of the namespace, whoever made them: the named actors of class AgentClass that are not dead,
// which are those that CreateAgent adopts. The list is whole and is read from the cluster, not from memory.
func (o *Organism) Agents(ctx context.Context) ([]ray.ActorInfo, error) {
	actors, err := o.Actors(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(actors, func(a ray.ActorInfo) bool { return a.Class != AgentClass }), nil
}

// Actors lists the named actors of the organism's namespace that are not dead, sorted by name, as the cluster has them.
func (o *Organism) Actors(ctx context.Context) ([]ray.ActorInfo, error) {
	client, err := o.conn.Client()
	if err != nil {
		return nil, err
	}
	if client.GCS() == nil {
		_, reason := client.Direct()
		return nil, fmt.Errorf("%w: %w", ErrNoGCS, reason)
	}
	ctx, cancel := context.WithTimeout(ctx, o.opts.CallTimeout)
	defer cancel()
	return client.GCS().NamedActors(ctx, o.conn.Info().Namespace)
}

// CreateAgent makes an agent of its own, outside the configured organs, and waits until it answers. An agent of that
// name is adopted, and created is false; another kind of actor of that name is ErrNameTaken.
//
// What is configured is left to Run: the name of an organ is ErrNameTaken, whether that runs or not, and an agent
// counts as adopted, or is ErrNotReady while it was not brought up.
func (o *Organism) CreateAgent(ctx context.Context, id string, roles RoleProbs) (created bool, err error) {
	if err := CheckName(id); err != nil {
		return false, fmt.Errorf("%w: agent_id: %w", ErrArgument, err)
	}
	class, configured := o.classes[id]
	if configured && class != AgentClass {
		return false, fmt.Errorf("%w: %s is the configured %s; choose another agent_id", ErrNameTaken, id, class)
	}
	var arg any
	if roles != (RoleProbs{}) {
		if roles, err = roles.Normalized(); err != nil {
			return false, fmt.Errorf("%w: role_probs: %w", ErrArgument, err)
		}
		arg = map[string]any{"E": roles.E, "S": roles.S, "O": roles.O} // what every path carries
	}
	client, _, err := o.link()
	if err != nil {
		return false, err
	}
	if configured {
		return false, o.ours(id)
	}
	k := o.newKeeper(client, 0)
	if err := k.ensure(ctx, agentSpec(id, arg, roles, "")); err != nil {
		return false, err
	}
	return k.created == 1, nil
}
