package organism

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// attempt is the bringing up of an actor that does not run.
type attempt struct {
	lost     string // what became of one that ran; empty: it did not run yet
	running  bool
	failures int
	err      error     // what the last try ended with
	again    time.Time // no other try before then
}

// bringUp lets an actor be brought up behind the caller, unless that is going on, or is to be tried again later only.
func (k *keeper) bringUp(ctx context.Context, spec actorSpec) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.attempts[spec.name]
	if a == nil {
		a = &attempt{}
		k.attempts[spec.name] = a
	}
	if a.running || time.Now().Before(a.again) {
		return
	}
	a.running = true
	k.underWay++
	k.tries.Go(func() {
		err := k.start(ctx, spec)
		k.mu.Lock()
		defer k.mu.Unlock()
		a.running, a.err = false, err
		if err == nil {
			delete(k.attempts, spec.name)
		} else {
			a.again = time.Now().Add(min(firstRetry<<min(a.failures, 10), slowestRetry))
			a.failures++
		}
		k.underWay--
		close(k.ended)
		k.ended = make(chan struct{})
	})
}

// start is ensure in one of a few slots: each start runs a Python process for a moment. One that takes longer than that
// makes room for others.
func (k *keeper) start(ctx context.Context, spec actorSpec) error {
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	leave := sync.OnceFunc(func() { <-k.slots })
	defer leave()
	defer time.AfterFunc(k.organism.opts.CallTimeout, leave).Stop()
	return k.ensure(ctx, spec)
}

// settle waits until nothing is being brought up, for d at most. It returns false when there was nothing to wait for.
func (k *keeper) settle(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for waited := false; ; waited = true {
		k.mu.Lock()
		n, ended := k.underWay, k.ended
		k.mu.Unlock()
		if n == 0 {
			return waited
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return true
		}
	}
}

// errStarting is in the error of an organism that lacks only what is being brought up and has not failed so far.
var errStarting = errors.New("starting")

// startingError is such an error. Its text is that of the other.
type startingError struct{ error }

func (startingError) Is(target error) bool { return target == errStarting } //nolint:errorlint // it is this very value

// missing says of every actor that is not up what is known of it; nil: all are up.
func (k *keeper) missing(specs []actorSpec) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines []string
	starting := true
	for _, spec := range specs {
		a := k.attempts[spec.name]
		if a == nil {
			continue
		}
		text := a.lost
		if a.err != nil {
			text = a.err.Error()
			if a.lost != "" {
				text = a.lost + "; " + text
			}
		}
		if text == "" {
			text = "actor " + spec.name + " is being brought up"
		} else {
			starting = false
		}
		lines = append(lines, text)
	}
	if len(lines) == 0 {
		return nil
	}
	err := errors.New(strings.Join(listed(lines), "; "))
	if starting {
		return startingError{err}
	}
	return err
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
			return fmt.Errorf("actor %s does not answer: %w; %s", spec.name, err, k.diagnose(ctx, id))
		}
	}
	if errors.Is(err, ErrNameTaken) {
		k.organism.meet(spec.name, err)
	}
	return fmt.Errorf("actor %s: %w", spec.name, err)
}

// diagnose is ray.Client.Diagnose, and takes no longer than Options.CallTimeout.
func (k *keeper) diagnose(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	return k.client.Diagnose(ctx, id)
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
	gcs := k.client.GCS()
	if gcs == nil {
		handle, err := k.client.Session().GetActor(ctx, spec.name, k.namespace)
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
	v, err := k.client.Call(ctx, k.namespace, spec.name, "ping")
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
	if program, err := k.organism.packaged(); err == nil && answer.Program != program.URI() {
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
	uri, err := k.organism.upload(ctx, k.client.Session())
	if err != nil {
		return "", fmt.Errorf("upload the worker binary: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.StartTimeout)
	defer cancel()
	cpus := actorCPUs
	if k.organism.opts.NoCPU {
		cpus = 0
	}
	handle, err := k.client.Session().CreateActor(ctx, class, ray.ActorOptions{
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
		class, err := k.client.Session().GoClass(ctx, c.Name, c.Methods, groups...)
		if err != nil {
			return nil, err
		}
		k.classes[name] = class
		return class, nil
	}
	return nil, fmt.Errorf("organism: class %s is not registered in this binary: RegisterActors was not called", name)
}
