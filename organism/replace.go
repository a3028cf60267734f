package organism

import (
	"context"
	"errors"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// ReplaceOutdated ends every configured actor that another program or another configuration made, one after the other,
// and makes each anew before it goes on. It returns the names of those that were made anew. What their processes kept in
// memory is lost, and tasks under way end as ray.ErrActorUnavailable. Nothing else replaces an outdated actor: a new
// server adopts it. It may be called with or without Run, here or in another process; an error ends it.
func (o *Organism) ReplaceOutdated(ctx context.Context) (replaced []string, err error) {
	client, _, err := o.link()
	if err != nil {
		return nil, err
	}
	if client.Session() == nil {
		return nil, fmt.Errorf("%w: there is no session", ErrNotReady)
	}
	k := o.newKeeper(client, 0)
	for _, spec := range append(singletons(), o.config.specs()...) {
		_, err := k.find(ctx, spec)
		if errors.Is(err, ray.ErrActorNotFound) || errors.Is(err, ray.ErrActorDied) {
			continue // whoever runs the organism makes it
		}
		if err != nil {
			return replaced, fmt.Errorf("actor %s: %w", spec.name, err)
		}
		if err := k.ensure(ctx, spec); err != nil {
			return replaced, err
		}
		if !k.outdated[spec.name] {
			continue
		}
		if err := k.end(ctx, spec.name, k.seen[spec.name]); err != nil {
			return replaced, fmt.Errorf("end actor %s: %w", spec.name, err)
		}
		if err := k.ensure(ctx, spec); err != nil {
			return replaced, err
		}
		if k.outdated[spec.name] {
			return replaced, fmt.Errorf("actor %s was made anew by another server, with another program or configuration: stop that one first", spec.name)
		}
		replaced = append(replaced, spec.name)
	}
	return replaced, nil
}

// end ends an actor for good, unless another one has its name by now.
func (k *keeper) end(ctx context.Context, name, id string) error {
	session := k.client.Session()
	handle, err := session.GetActor(ctx, name, k.namespace)
	if errors.Is(err, ray.ErrActorNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer handle.Release()
	if handle.ID() != id {
		return nil
	}
	if err := session.Kill(ctx, handle, true); err != nil {
		return err
	}
	k.log.Info("outdated actor ended", "name", name, "actor_id", id)
	return nil
}
