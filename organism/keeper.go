package organism

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
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
	opened    *ray.Client // of the session; see client
	namespace string
	epoch     uint64
	log       *slog.Logger
	lost      func(error) // told at once of known actors that do not run; nil: nobody is

	mu               sync.Mutex // guards what follows
	created, adopted int
	made             map[string]string // ids of the actors that this keeper created, by name
	seen             map[string]string // ids of the actors that were brought up or adopted on this session, by name
	outdated         map[string]bool   // names of those that something else than this configuration and program made
	conflicts        map[string]string // organs that another server's configuration holds
	classes          map[string]*ray.ActorClass
}

func (o *Organism) newKeeper(client *ray.Client, epoch uint64) *keeper {
	k := &keeper{
		organism: o, opened: client, namespace: o.conn.Info().Namespace, epoch: epoch, log: o.log,
		made: map[string]string{}, seen: map[string]string{}, outdated: map[string]bool{}, conflicts: map[string]string{}, classes: map[string]*ray.ActorClass{},
	}
	return k
}

// cluster names the cluster of the session; empty while there is no GCS to tell.
func (k *keeper) cluster() string {
	if gcs := k.client().GCS(); gcs != nil {
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

// client is the session with what else is reachable now: direct calls may have become possible, or impossible.
func (k *keeper) client() *ray.Client {
	if now, err := k.organism.conn.Client(); err == nil && now.Session() == k.opened.Session() {
		return now
	}
	return k.opened
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

// reconcile brings up what does not run, the singletons first, and sees to it that each organ knows its agents. It
// returns every problem that it found: one actor that does not come up holds up nothing but itself.
func (k *keeper) reconcile(ctx context.Context) error {
	running, err := k.running(ctx)
	if err != nil {
		return err
	}
	organs := k.organism.config.Organs
	return errors.Join(
		k.keep(ctx, singletons(), running),
		k.keep(ctx, k.organism.config.specs(), running),
		each(len(organs), startsAtOnce, func(i int) error { return k.register(ctx, organs[i]) }),
	)
}

// running returns the ids of the namespace's actors that are ALIVE, by name. Without a GCS to ask it is nil, and every
// actor has to be asked for itself.
func (k *keeper) running(ctx context.Context) (map[string]string, error) {
	gcs := k.client().GCS()
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

// keep brings up those of the actors that do not run, or that this keeper has not met yet. What it has met and does not
// find is told before it is waited for.
func (k *keeper) keep(ctx context.Context, specs []actorSpec, running map[string]string) error {
	missing := make([]bool, len(specs))
	var mu sync.Mutex // guards lost
	var lost []string
	err := each(len(specs), asksAtOnce, func(i int) error {
		name := specs[i].name
		k.mu.Lock()
		id, known := k.seen[name]
		k.mu.Unlock()
		up := known && running[name] == id
		if known && running == nil {
			_, err := k.ping(ctx, specs[i], k.organism.opts.CallTimeout)
			up = err == nil
		}
		if missing[i] = !up; known && !up {
			text := k.whereabouts(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			lost = append(lost, text)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(lost) > 0 && k.lost != nil && ctx.Err() == nil {
		slices.Sort(lost)
		k.lost(errors.New(strings.Join(listed(lost), "; ")))
	}
	var wanted []actorSpec
	for i, spec := range specs {
		if missing[i] {
			wanted = append(wanted, spec)
		}
	}
	return each(len(wanted), startsAtOnce, func(i int) error { return k.ensure(ctx, wanted[i]) })
}

// whereabouts says in words what has become of an actor that does not run as it did.
func (k *keeper) whereabouts(ctx context.Context, name string) string {
	gcs := k.client().GCS()
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

// ensure makes an actor run: it adopts the one of that name or creates it, and waits for its answer.
func (k *keeper) ensure(ctx context.Context, spec actorSpec) error {
	id, err := k.obtain(ctx, spec)
	if err == nil {
		var answer Pong
		if answer, err = k.firstAnswer(ctx, spec); err == nil {
			k.met(spec, id, answer)
			return nil
		}
		if !errors.Is(err, ErrNameTaken) && ctx.Err() == nil {
			return fmt.Errorf("actor %s does not answer: %w%s", spec.name, err, k.diagnose(ctx, id))
		}
	}
	if errors.Is(err, ErrNameTaken) {
		k.organism.meet(spec.name, err)
	}
	return fmt.Errorf("actor %s: %w", spec.name, err)
}

// firstAnswer waits until an actor answers. Its process may have just gone away: then it is asked again.
func (k *keeper) firstAnswer(ctx context.Context, spec actorSpec) (Pong, error) {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.StartTimeout)
	defer cancel()
	for {
		answer, err := k.ping(ctx, spec, k.organism.opts.StartTimeout)
		if !errors.Is(err, ray.ErrActorUnavailable) || ctx.Err() != nil {
			return answer, err
		}
		rest(ctx, pingAgain)
	}
}

// pingAgain is the pause before an actor whose process went away is asked again.
const pingAgain = 200 * time.Millisecond

// obtain returns the id of the actor of that name, and creates it if there is none.
func (k *keeper) obtain(ctx context.Context, spec actorSpec) (id string, err error) {
	id, err = k.find(ctx, spec)
	if !errors.Is(err, ray.ErrActorNotFound) && !errors.Is(err, ray.ErrActorDied) {
		return id, err
	}
	id, err = k.create(ctx, spec)
	if errors.Is(err, ray.ErrActorExists) {
		return k.find(ctx, spec) // somebody else was faster
	}
	if err == nil {
		k.mu.Lock()
		k.made[spec.name] = id // also if its first answer comes in a later round
		k.mu.Unlock()
	}
	return id, err
}

// find returns the id of a running actor of that name, which must be of the class: a name that something else took is
// not ours to use. Without a GCS the class shows in the actor's answer alone.
func (k *keeper) find(ctx context.Context, spec actorSpec) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	gcs := k.client().GCS()
	if gcs == nil {
		handle, err := k.client().Session().GetActor(ctx, spec.name, k.namespace)
		if err != nil {
			return "", err
		}
		defer handle.Release()
		return handle.ID(), nil
	}
	info, err := gcs.NamedActor(ctx, k.namespace, spec.name)
	switch {
	case err != nil:
		return "", err
	case info.State == ray.ActorDead:
		return "", ray.ErrActorDied
	case info.Class != spec.class:
		return "", k.taken(spec, "a "+info.Class)
	}
	return info.ID, nil
}

func (k *keeper) taken(spec actorSpec, by string) error {
	return fmt.Errorf("%w: %s in namespace %s is %s, not a %s", ErrNameTaken, spec.name, k.namespace, by, spec.class)
}

// ping asks an actor for its answer, which must be one of its class.
func (k *keeper) ping(ctx context.Context, spec actorSpec, timeout time.Duration) (Pong, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	v, err := k.client().Call(ctx, k.namespace, spec.name, "ping")
	if errors.Is(err, ray.ErrNoSuchMethod) {
		return Pong{}, fmt.Errorf("%w: %w", k.taken(spec, "an actor without ping"), err)
	}
	if err != nil {
		return Pong{}, err
	}
	answer, ok := newPong(v)
	if !ok {
		return Pong{}, k.taken(spec, fmt.Sprintf("an actor that answers ping with %.200s", fmt.Sprint(v)))
	}
	if answer.Class != spec.class {
		return Pong{}, k.taken(spec, "a "+answer.Class)
	}
	return answer, nil
}

// met records an actor that answered.
func (k *keeper) met(spec actorSpec, id string, answer Pong) {
	// What cannot be compared is not called outdated: that the program is unusable shows when an actor has to be made.
	outdated := answer.Spec != spec.hash
	if programs, err := k.organism.packaged(); err == nil && !slices.ContainsFunc(programs, func(p *ray.Package) bool { return answer.Program == p.URI() }) {
		outdated = true
	}
	k.mu.Lock()
	_, back := k.seen[spec.name]
	switch {
	case back: // it was counted before
	case k.made[spec.name] == id:
		k.created++
	default:
		k.adopted++
	}
	k.seen[spec.name] = id
	if outdated {
		k.outdated[spec.name] = true
	} else {
		delete(k.outdated, spec.name)
	}
	k.mu.Unlock()
	k.organism.meet(spec.name, nil)
}

// create asks Ray for the actor. The binary is uploaded first if the cluster does not have it, each time: Ray drops a
// package when the last actor that names it ends. ray.ErrActorExists says that the name was taken meanwhile.
func (k *keeper) create(ctx context.Context, spec actorSpec) (id string, err error) {
	class, err := k.class(ctx, spec.class)
	if err != nil {
		return "", err
	}
	uri, err := k.organism.upload(ctx, k.client().Session())
	if err != nil {
		return "", fmt.Errorf("upload the worker binary: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.StartTimeout)
	defer cancel()
	cpus := actorCPUs
	if k.organism.opts.NoCPU {
		cpus = 0
	}
	handle, err := k.client().Session().CreateActor(ctx, class, ray.ActorOptions{
		Name:        spec.name,
		Namespace:   k.namespace,
		Detached:    true,
		MaxRestarts: maxRestartsForEver,
		NumCPUs:     cpus,
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
		groups := make([]ray.ConcurrencyGroup, len(c.Groups))
		for i, g := range c.Groups {
			groups[i] = ray.ConcurrencyGroup(g)
		}
		class, err := k.client().Session().GoClass(ctx, c.Name, c.Methods, groups...)
		if err != nil {
			return nil, err
		}
		k.classes[name] = class
		return class, nil
	}
	return nil, fmt.Errorf("organism: class %s is not registered in this binary: RegisterActors was not called", name)
}

// leaseRounds is how many rounds a server may miss before another one's configuration may take over an organ.
const leaseRounds = 4

// register makes an organ's list of agents the configured one, unless another server with another configuration keeps
// it: then that is noted, and the list stays as it is.
func (k *keeper) register(ctx context.Context, organ OrganConfig) error {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	want := organ.agentIDs()
	revision := hash(organ.ID, organ.Type, want)
	lease := min(leaseRounds*max(k.organism.opts.ReconcileInterval, k.organism.opts.CallTimeout), MaxLease)
	v, err := k.client().Call(ctx, k.namespace, organ.ID, "configure", revision, want, lease.Seconds())
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
