package organism

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// actorCPUs is what an actor of the organism asks of a node.
const actorCPUs = 0.1

// maxRestartsForEver lets Ray restart an actor as often as its process ends.
const maxRestartsForEver = -1

// actorSpec is an actor that has to run: its name in the namespace, its class, and what it is constructed from.
type actorSpec struct {
	name, class string
	args        []any
}

// singletons are the actors that exist once in a namespace, by the seed's names.
func singletons() []actorSpec {
	return []actorSpec{
		{name: MissTrackerName, class: MissTrackerClass},
		{name: SharedCacheName, class: SharedCacheClass},
		{name: MwStoreName, class: MwStoreClass},
	}
}

// specs lists the organs and agents that the configuration asks for. An organ knows its agents from its constructor, so that a restart by
// Ray restores its registrations.
func (c Config) specs() []actorSpec {
	var specs []actorSpec
	for _, organ := range c.Organs {
		specs = append(specs, actorSpec{name: organ.ID, class: OrganClass, args: []any{organ.ID, organ.Type, organ.agentIDs()}})
		for _, id := range organ.agentIDs() {
			specs = append(specs, agentSpec(id, organ.Type, organ.ID))
		}
	}
	return specs
}

// ActorNames lists the names of all actors that the configuration asks for, singletons included.
func (c Config) ActorNames() []string {
	var names []string
	for _, spec := range append(singletons(), c.specs()...) {
		names = append(names, spec.name)
	}
	return names
}

func agentSpec(id string, roles any, organID string) actorSpec {
	return actorSpec{name: id, class: AgentClass, args: []any{id, roles, organID}}
}

func (o OrganConfig) agentIDs() []string {
	ids := make([]string, o.AgentCount)
	for i := range ids {
		ids[i] = o.AgentID(i)
	}
	return ids
}

// keeper keeps what is configured alive on one session.
type keeper struct {
	organism  *Organism
	client    *ray.Client
	namespace string
	epoch     uint64
	log       *slog.Logger

	mu               sync.Mutex // guards what follows
	created, adopted int
	seen             map[string]bool // names that were brought up or adopted on this session
	classes          map[string]*ray.ActorClass
}

// reconcile brings up what does not run, the singletons first, and lets each organ know its agents. It returns every
// problem that it found.
func (k *keeper) reconcile(ctx context.Context) error {
	for _, specs := range [][]actorSpec{singletons(), k.organism.config.specs()} {
		if err := k.keep(ctx, specs); err != nil {
			return err
		}
	}
	return each(k.organism.config.Organs, func(organ OrganConfig) error { return k.register(ctx, organ) })
}

// keep brings up those of the actors that do not run, or that this keeper has not met yet.
func (k *keeper) keep(ctx context.Context, specs []actorSpec) error {
	running, err := k.running(ctx)
	if err != nil {
		return err
	}
	var missing []actorSpec
	for _, spec := range specs {
		k.mu.Lock()
		known := k.seen[spec.name]
		k.mu.Unlock()
		if info, ok := running[spec.name]; ok && known && info.State == ray.ActorAlive {
			continue
		}
		missing = append(missing, spec)
	}
	return each(missing, func(spec actorSpec) error { return k.ensure(ctx, spec) })
}

// running lists the named actors of the namespace that are not dead. Without a GCS to ask only names are known, and every
// actor is asked for itself.
func (k *keeper) running(ctx context.Context) (map[string]ray.ActorInfo, error) {
	if k.client.GCS() == nil {
		return map[string]ray.ActorInfo{}, nil
	}
	actors, err := k.client.GCS().NamedActors(ctx, k.namespace)
	if err != nil {
		return nil, err
	}
	running := map[string]ray.ActorInfo{}
	for _, a := range actors {
		running[a.Name] = a
	}
	return running, nil
}

// ensure makes an actor run: it adopts the one of that name or creates it, and waits for its answer.
func (k *keeper) ensure(ctx context.Context, spec actorSpec) error {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.StartTimeout)
	defer cancel()
	adopted := true
	id, err := k.find(ctx, spec)
	if errors.Is(err, ray.ErrActorNotFound) || errors.Is(err, ray.ErrActorDied) {
		adopted = false
		id, err = k.create(ctx, spec)
	}
	if err != nil {
		return fmt.Errorf("actor %s: %w", spec.name, err)
	}
	if _, err := k.client.Call(ctx, k.namespace, spec.name, "ping"); err != nil {
		return fmt.Errorf("actor %s does not answer: %w%s", spec.name, err, k.diagnose(id))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.seen[spec.name]: // it came back
	case adopted:
		k.adopted++
	default:
		k.created++
	}
	if k.seen == nil {
		k.seen = map[string]bool{}
	}
	k.seen[spec.name] = true
	return nil
}

// find returns the id of a running actor of that name, which must be of the class: a name that something else took is
// not ours to use.
func (k *keeper) find(ctx context.Context, spec actorSpec) (id string, err error) {
	if k.client.GCS() == nil {
		handle, err := k.client.Session().GetActor(ctx, spec.name, k.namespace)
		if err != nil {
			return "", err
		}
		defer handle.Release()
		return handle.ID(), nil
	}
	info, err := k.client.GCS().NamedActor(ctx, k.namespace, spec.name)
	switch {
	case err != nil:
		return "", err
	case info.State == ray.ActorDead:
		return "", ray.ErrActorDied
	case info.Class != spec.class:
		return "", fmt.Errorf("%w: %s in namespace %s is a %s, not a %s", ErrNameTaken, spec.name, k.namespace, info.Class, spec.class)
	}
	return info.ID, nil
}

// create asks Ray for the actor. The binary is uploaded first if the cluster does not have it, each time: Ray drops a
// package when the last actor that names it ends.
func (k *keeper) create(ctx context.Context, spec actorSpec) (id string, err error) {
	class, err := k.class(ctx, spec.class)
	if err != nil {
		return "", err
	}
	uri, err := k.organism.upload(ctx, k.client.Session())
	if err != nil {
		return "", fmt.Errorf("upload the worker binary: %w", err)
	}
	handle, err := k.client.Session().CreateActor(ctx, class, ray.ActorOptions{
		Name:        spec.name,
		Namespace:   k.namespace,
		Detached:    true,
		GetIfExists: true,
		MaxRestarts: maxRestartsForEver,
		NumCPUs:     actorCPUs,
		RuntimeEnv:  ray.GoRuntimeEnv(uri),
	}, spec.args...)
	if err != nil {
		return "", err
	}
	defer handle.Release() // it is detached, and known by its name from here on
	k.log.Info("actor created", "name", spec.name, "class", spec.class, "actor_id", handle.ID())
	return handle.ID(), nil
}

func (k *keeper) class(ctx context.Context, name string) (*ray.ActorClass, error) {
	k.mu.Lock()
	defer k.mu.Unlock() // held over the round trip: one upload of a class a session
	if class := k.classes[name]; class != nil {
		return class, nil
	}
	for _, c := range worker.Classes() {
		if c.Name != name {
			continue
		}
		class, err := k.client.Session().GoClass(ctx, c.Name, c.Methods)
		if err != nil {
			return nil, err
		}
		if k.classes == nil {
			k.classes = map[string]*ray.ActorClass{}
		}
		k.classes[name] = class
		return class, nil
	}
	return nil, fmt.Errorf("organism: class %s is not registered in this binary: RegisterActors was not called", name)
}

// register makes an organ's list of agents the configured one.
func (k *keeper) register(ctx context.Context, organ OrganConfig) error {
	status, err := k.organStatus(ctx, organ.ID)
	if err != nil {
		return err
	}
	want := organ.agentIDs()
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	change := func(method, agent string) error {
		if _, err := k.client.Call(ctx, k.namespace, organ.ID, method, agent); err != nil {
			return fmt.Errorf("organ %s: %s %s: %w", organ.ID, method, agent, err)
		}
		k.log.Info("organ registration changed", "organ", organ.ID, "method", method, "agent", agent)
		return nil
	}
	for _, agent := range want {
		if !slices.Contains(status.AgentIDs, agent) {
			if err := change("register_agent", agent); err != nil {
				return err
			}
		}
	}
	for _, agent := range status.AgentIDs {
		if !slices.Contains(want, agent) {
			if err := change("remove_agent", agent); err != nil {
				return err
			}
		}
	}
	return nil
}

func (k *keeper) organStatus(ctx context.Context, id string) (OrganStatus, error) {
	return organStatus(ctx, k.client, k.namespace, id, k.organism.opts.CallTimeout)
}

func organStatus(ctx context.Context, client *ray.Client, namespace, id string, timeout time.Duration) (OrganStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := client.Call(ctx, namespace, id, "get_status")
	if err != nil {
		return OrganStatus{}, fmt.Errorf("organ %s: %w", id, err)
	}
	return newOrganStatus(id, v)
}

// newOrganStatus reads what an organ's get_status returned.
func newOrganStatus(id string, v any) (OrganStatus, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return OrganStatus{}, fmt.Errorf("organ %s: its status is a %T instead of a map", id, v)
	}
	var s OrganStatus
	var list []any
	ok = assign(m, "organ_id", &s.OrganID) && assign(m, "organ_type", &s.OrganType) && assign(m, "agent_ids", &list)
	var pid int64
	if !ok || !assign(m, "pid", &pid) || s.OrganID != id {
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

func assign[T any](m map[string]any, key string, field *T) bool {
	v, ok := m[key].(T)
	*field = v
	return ok
}

// each runs f for every item, a few at a time, and joins the errors.
func each[T any](items []T, f func(T) error) error {
	errs := make([]error, len(items))
	slots := make(chan struct{}, startsAtOnce)
	var all sync.WaitGroup
	for i, item := range items {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(item)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
