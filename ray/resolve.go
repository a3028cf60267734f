package ray

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// acquire returns where the actor runs now, from memory or from the GCS, and counts the caller among its users. It waits
// while the actor is not up.
func (d *Direct) acquire(ctx context.Context, key actorKey) (*target, error) {
	d.mu.Lock()
	t := d.targets[key]
	if t != nil {
		t.users++
	}
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	delay := firstPoll
	for {
		data, err := d.gcs.namedActor(ctx, key.namespace, key.name)
		if err != nil {
			return nil, err
		}
		switch data.GetState() {
		case corepb.ActorTableData_ALIVE:
			return d.remember(ctx, key, data)
		case corepb.ActorTableData_DEAD:
			return nil, fmt.Errorf("%w: %s", ErrActorDied, deathCause(data.GetDeathCause()))
		}
		if err := pause(ctx, delay); err != nil {
			return nil, fmt.Errorf("%w: still %s: %w", ErrActorUnavailable, data.GetState(), err)
		}
		delay = min(2*delay, slowestPoll)
	}
}

// remember makes a target of a live actor, unless another call was faster.
func (d *Direct) remember(ctx context.Context, key actorKey, data *corepb.ActorTableData) (*target, error) {
	class, err := d.classes.of(ctx, data)
	if err != nil {
		return nil, err
	}
	t, err := newTarget(data, class)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	known := d.targets[key]
	switch {
	case d.closed:
		err = ErrClosed
	case known != nil:
		known.users++
	case len(d.targets) >= maxTargets:
		err = fmt.Errorf("%w: connections to %d actors are open", ErrOverloaded, maxTargets)
	default:
		d.targets[key] = t
		t.users++
		known = t
	}
	d.mu.Unlock()
	if known != t {
		_ = t.close() // it was never used
	}
	return known, err
}

// release ends one use. The connection of a forgotten target closes with its last user.
func (d *Direct) release(t *target) {
	d.mu.Lock()
	t.users--
	last := t.forgotten && t.users == 0
	d.mu.Unlock()
	if last {
		_ = t.close() // nothing is in flight on it
	}
}

// forget drops a target that did not answer, so that the next call looks the actor up again.
func (d *Direct) forget(key actorKey, t *target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.targets[key] == t {
		delete(d.targets, key)
		t.forgotten = true // the caller still uses it: release closes it
	}
}

// actorClass is what a caller must know of an actor's class.
type actorClass struct {
	module, name string
	methods      []string // sorted
	descriptors  map[string]*corepb.FunctionDescriptor
}

// newActorClass leaves out what Ray adds to every class and what is not for callers: __ray_terminate__ ends the actor,
// __ray_call__ runs code of the caller's.
func newActorClass(module, name string, methods []string) *actorClass {
	methods = slices.DeleteFunc(methods, func(m string) bool {
		return m == "__init__" || strings.HasPrefix(m, "__ray_") && m != "__ray_ready__"
	})
	slices.Sort(methods)
	c := &actorClass{module: module, name: name, methods: methods, descriptors: make(map[string]*corepb.FunctionDescriptor, len(methods))}
	for _, m := range methods {
		c.descriptors[m] = &corepb.FunctionDescriptor{FunctionDescriptor: &corepb.FunctionDescriptor_PythonFunctionDescriptor{
			PythonFunctionDescriptor: &corepb.PythonFunctionDescriptor{ModuleName: module, ClassName: name, FunctionName: m},
		}}
	}
	return c
}

func (c *actorClass) has(method string) bool { return c.descriptors[method] != nil }

func (c *actorClass) descriptor(method string) *corepb.FunctionDescriptor {
	return c.descriptors[method]
}

// classTable remembers the classes that the cluster's function table describes; an entry never changes.
type classTable struct {
	gcs *GCS

	mu    sync.Mutex // guards known
	known map[string]*actorClass
}

// of reads the method names of an actor's class where its creator exported them: in the GCS key-value store, under the
// function id of the constructor.
func (t *classTable) of(ctx context.Context, data *corepb.ActorTableData) (*actorClass, error) {
	fd := data.GetFunctionDescriptor().GetPythonFunctionDescriptor()
	if fd == nil {
		return nil, fmt.Errorf("%w: actor class %s was not made by a Python or Go driver", ErrUnsupportedValue, data.GetClassName())
	}
	key := functionKey(data.GetJobId(), fd)
	t.mu.Lock()
	class := t.known[key]
	t.mu.Unlock()
	if class != nil {
		return class, nil
	}
	reply, err := t.gcs.kv.InternalKVGet(ctx, &corepb.InternalKVGetRequest{Namespace: []byte("fun"), Key: []byte(key)})
	if err != nil {
		return nil, fmt.Errorf("ray: read the methods of class %s: %w", fd.GetClassName(), err)
	}
	methods, err := methodNames(reply.GetValue())
	if err != nil {
		return nil, fmt.Errorf("%w: the methods of class %s are unknown: %w", ErrUnsupportedValue, fd.GetClassName(), err)
	}
	class = newActorClass(fd.GetModuleName(), fd.GetClassName(), methods)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= maxTargets {
		t.known = map[string]*actorClass{}
	}
	t.known[key] = class
	return class, nil
}

// functionKey is the name of a class in Ray's function table: see ray._private.function_manager.make_function_table_key
// and FunctionDescriptor.function_id, which is the SHAKE-128 of module, function, class and hash.
func functionKey(job []byte, fd *corepb.PythonFunctionDescriptor) string {
	id := sha3.SumSHAKE128([]byte(fd.GetModuleName()+fd.GetFunctionName()+fd.GetClassName()+fd.GetFunctionHash()), idLen)
	return "ActorClass:" + hex.EncodeToString(job) + ":" + string(id)
}

func methodNames(entry []byte) ([]string, error) {
	if len(entry) == 0 {
		return nil, fmt.Errorf("no entry in the cluster's function table")
	}
	v, err := pickle.Unmarshal(entry, pickle.Options{})
	if err != nil {
		return nil, err
	}
	dict, ok := v.(*pickle.Dict)
	if !ok {
		return nil, fmt.Errorf("the entry is a %T", v)
	}
	text, _ := dict.Get("actor_method_names")
	list, ok := text.(string)
	if !ok {
		return nil, fmt.Errorf("the entry's actor_method_names is a %T", text)
	}
	var names []string
	if err := json.Unmarshal([]byte(list), &names); err != nil {
		return nil, fmt.Errorf("actor_method_names: %w", err)
	}
	return names, nil
}
