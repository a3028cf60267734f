package organism

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// actorCPUs is what an actor of the organism asks of a node.
const actorCPUs = 0.1

// maxRestartsForEver lets Ray restart an actor as often as its process ends.
const maxRestartsForEver = -1

// actorSpec is an actor that has to run: its name in the namespace, its class, what it is constructed from, and the hash
// of that part of it that cannot change while it runs.
type actorSpec struct {
	name, class string
	args        []any
	hash        string
}

// singletons are the actors that exist once in a namespace, by the seed's names.
func singletons() []actorSpec {
	return []actorSpec{
		{name: MissTrackerName, class: MissTrackerClass, hash: singletonSpec(MissTrackerClass)},
		{name: SharedCacheName, class: SharedCacheClass, hash: singletonSpec(SharedCacheClass)},
		{name: MwStoreName, class: MwStoreClass, hash: singletonSpec(MwStoreClass)},
	}
}

// specs lists the organs and agents that the configuration asks for. An organ knows its agents from its constructor, so
// that a restart by Ray restores its registrations.
func (c Config) specs() []actorSpec {
	var specs []actorSpec
	for _, organ := range c.Organs {
		specs = append(specs, actorSpec{
			name: organ.ID, class: OrganClass, args: []any{organ.ID, organ.Type, organ.agentIDs()},
			hash: organSpec(organ.ID, organ.Type), // its agents follow the configuration, see register
		})
		for _, id := range organ.agentIDs() {
			specs = append(specs, agentSpec(id, organ.Type, RolesFor(organ.Type), organ.ID))
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

// agentSpec is an agent that is constructed from arg, which stands for roles.
func agentSpec(id string, arg any, roles RoleProbs, organID string) actorSpec {
	if roles == (RoleProbs{}) {
		roles = DefaultRoles()
	}
	if normalized, err := roles.Normalized(); err == nil { // the actor does the same, or refuses to be made
		roles = normalized
	}
	return actorSpec{name: id, class: AgentClass, args: []any{id, arg, organID}, hash: agentSpecOf(id, organID, roles)}
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
	client    *ray.Client // of the session
	namespace string
	epoch     uint64
	log       *slog.Logger
	lost      func(error) // told at once of known actors that do not run; nil: nobody is

	slots chan struct{}  // a token for each start
	tries sync.WaitGroup // what brings actors up behind reconcile

	mu               sync.Mutex          // guards what follows
	attempts         map[string]*attempt // of the actors that are not up, by name
	underWay         int                 // attempts that run
	ended            chan struct{}       // closed and replaced when one does not run any more
	created, adopted int
	made             map[string]string // ids of the actors that this keeper created, by name
	seen             map[string]string // ids of the actors that were brought up or adopted on this session, by name
	outdated         map[string]bool   // names of those that something else than this configuration and program made
	conflicts        map[string]string // organs that another server's configuration holds
	classes          map[string]*ray.ActorClass
}

func (o *Organism) newKeeper(client *ray.Client, epoch uint64) *keeper {
	k := &keeper{
		organism: o, client: client, namespace: o.conn.Info().Namespace, epoch: epoch, log: o.log,
		slots: make(chan struct{}, startsAtOnce), attempts: map[string]*attempt{}, ended: make(chan struct{}),
		made: map[string]string{}, seen: map[string]string{}, outdated: map[string]bool{}, conflicts: map[string]string{}, classes: map[string]*ray.ActorClass{},
	}
	return k
}

// cluster names the cluster of the session; empty while there is no GCS to tell.
func (k *keeper) cluster() string {
	if gcs := k.client.GCS(); gcs != nil {
		return gcs.ClusterID()
	}
	return ""
}

// knows returns the id of an actor that was met on this session, unless something else has had its name since.
func (k *keeper) knows(name string) (id string, ours bool) {
	if k.organism.ours(name) != nil {
		return "", false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	id, ours = k.seen[name]
	return id, ours
}

// report is what the keeper knows of the actors.
func (k *keeper) report() Health {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Health{
		Created: k.created, Adopted: k.adopted,
		Outdated:  slices.Sorted(maps.Keys(k.outdated)),
		Conflicts: slices.Sorted(maps.Values(k.conflicts)),
	}
}

// reconcile begins to bring up what does not run, the singletons first, and sees to it that each organ knows its agents.
// It returns every problem that it found. For actors that do not come up it does not wait longer than for an answer, so
// that the others are looked at again, and the leases renewed.
func (k *keeper) reconcile(ctx context.Context) error {
	running, err := k.running(ctx)
	if err != nil {
		return err
	}
	specs := append(singletons(), k.organism.config.specs()...)
	up, lost := k.look(ctx, specs, running)
	if lost && k.lost != nil && ctx.Err() == nil {
		k.lost(k.missing(specs))
	}
	patience := time.Now().Add(k.organism.opts.CallTimeout)
	for i, spec := range specs {
		if i == len(singletons()) {
			k.settle(ctx, time.Until(patience))
		}
		if !up[i] {
			k.bringUp(ctx, spec)
		}
	}
	k.settle(ctx, time.Until(patience))
	organs := k.organism.config.Organs
	err = each(len(organs), asksAtOnce, func(i int) error {
		if _, ours := k.knows(organs[i].ID); !ours {
			return nil // it is being brought up
		}
		return k.register(ctx, organs[i])
	})
	return errors.Join(k.missing(specs), err)
}

// running returns the ids of the namespace's actors that are ALIVE, by name. Without a GCS to ask it is nil, and every
// actor has to be asked for itself.
func (k *keeper) running(ctx context.Context) (map[string]string, error) {
	gcs := k.client.GCS()
	if gcs == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	actors, err := gcs.AliveActors(ctx, k.namespace)
	if err != nil {
		return nil, err
	}
	running := make(map[string]string, len(actors))
	for _, a := range actors {
		running[a.Name] = a.ID
	}
	return running, nil
}

// look finds out which of the actors run and were met, and tells whether one that was met does not run.
func (k *keeper) look(ctx context.Context, specs []actorSpec, running map[string]string) (up []bool, lost bool) {
	up = make([]bool, len(specs))
	_ = each(len(specs), asksAtOnce, func(i int) error { // what it finds is no error
		name := specs[i].name
		k.mu.Lock()
		id, known := k.seen[name]
		k.mu.Unlock()
		up[i] = known && running[name] == id
		if known && running == nil {
			_, err := k.ping(ctx, specs[i], k.organism.opts.CallTimeout)
			up[i] = err == nil
		}
		text := ""
		if known && !up[i] {
			text = k.whereabouts(ctx, name)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		a := k.attempts[name]
		switch {
		case up[i] && a != nil && !a.running:
			delete(k.attempts, name) // it came back by itself
		case text != "" && a == nil:
			k.attempts[name] = &attempt{lost: text}
			lost = true
		case text != "":
			a.lost = text
			lost = true
		}
		return nil
	})
	return up, lost
}

// whereabouts says in words what has become of an actor that does not run as it did.
func (k *keeper) whereabouts(ctx context.Context, name string) string {
	gcs := k.client.GCS()
	if gcs == nil {
		return "actor " + name + " does not answer"
	}
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	info, err := gcs.NamedActor(ctx, k.namespace, name)
	if err != nil {
		return fmt.Sprintf("actor %s: %v", name, err)
	}
	return fmt.Sprintf("actor %s is %s after %d restarts", name, info.State, info.Restarts)
}

// A round has at most roundCalls answers to wait for one after the other: the list, a ping, the whereabouts, what is being
// brought up, the configuration. leaseRounds is how many rounds a server may take until another one's configuration may
// take over an organ.
const (
	roundCalls  = 5
	leaseRounds = 2
)

// register makes an organ's list of agents the configured one, unless another server with another configuration keeps
// it: then that is noted, and the list stays as it is.
func (k *keeper) register(ctx context.Context, organ OrganConfig) error {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	want := organ.agentIDs()
	revision := hash(organ.ID, organ.Type, want)
	lease := min(leaseRounds*(k.organism.opts.ReconcileInterval+roundCalls*k.organism.opts.CallTimeout), MaxLease)
	v, err := k.client.Call(ctx, k.namespace, organ.ID, "configure", revision, want, lease.Seconds())
	if err != nil {
		return fmt.Errorf("organ %s does not take its configuration: %w", organ.ID, err)
	}
	status, err := newOrganStatus(organ.ID, v)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if status.Revision == revision {
		delete(k.conflicts, organ.ID)
		return nil
	}
	k.conflicts[organ.ID] = fmt.Sprintf("organ %s has %d agents by the configuration of another server, which asked for it %.0f s ago, and %d by this one's; give both the same configuration or stop one",
		organ.ID, status.AgentCount, status.RevisionAge, len(want))
	return nil
}

// each runs f for 0 to n-1, a few at a time, and joins the errors.
func each(n, atOnce int, f func(i int) error) error {
	errs := make([]error, n)
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			errs[i] = f(i)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
