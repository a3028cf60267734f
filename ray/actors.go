package ray

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ActorClass is a class that the session put into the cluster, ready to make actors. It lives as long as the session.
type ActorClass struct {
	name   string
	object *handle
	code   []byte         // the pickle of the object
	groups map[string]int // concurrency groups of every actor of the class; may be nil
}

// Name returns the name of the class; "" of a nil one.
func (c *ActorClass) Name() string {
	if c == nil {
		return ""
	}
	return c.name
}

// String names the class.
func (c *ActorClass) String() string { return "ActorClass(" + c.Name() + ")" }

// PythonClass makes the cluster import a class. One that it cannot import is a *TaskError.
func (s *Session) PythonClass(ctx context.Context, module, name string) (*ActorClass, error) {
	return s.Class(ctx, Function{Module: module, Name: name})
}

// Class is PythonClass for a class that is named as Function names functions, or that its Source defines.
func (s *Session) Class(ctx context.Context, class Function) (*ActorClass, error) {
	if err := class.check(); err != nil {
		return nil, &CallError{Target: class.String(), Sent: SentNo, Err: err}
	}
	made, err := s.class(ctx, class.String(), class.Name, class.code())
	return made, asUndefined(err, class)
}

func (s *Session) class(ctx context.Context, target, name string, code any) (*ActorClass, error) {
	data, err := marshal(code)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	h, err := s.onceFor(ctx, target, string(data), data)
	if err != nil {
		return nil, err
	}
	return &ActorClass{name: name, object: h, code: data}, nil
}

// with returns the groups of the class and more.
func (c *ActorClass) with(more map[string]int) map[string]int {
	groups := maps.Clone(c.groups)
	if groups == nil {
		return maps.Clone(more)
	}
	maps.Copy(groups, more)
	return groups
}

// withGroups returns the object of a class whose methods run in concurrency groups, and the options that belong to it. Ray
// takes the groups once for each object, so that other groups need another one.
func (s *Session) withGroups(ctx context.Context, target string, class *ActorClass, more map[string]int) (*handle, []byte, error) {
	groups := class.with(more)
	if len(groups) == 0 {
		return class.object, nil, nil
	}
	named := make(map[string]any, len(groups))
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		named[name] = groups[name]
		fmt.Fprintf(&key, "%q %d ", name, groups[name])
	}
	options, err := pickleOptions("actor", map[string]any{"concurrency_groups": named}, nil)
	if err != nil {
		return nil, nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	h, err := s.onceFor(ctx, target, key.String()+string(class.code), class.code)
	return h, options.data, err
}

// ActorHandle is an actor as seen by one session. It cannot be used with another one; named actors can be got there
// again.
type ActorHandle struct {
	h      *handle
	target string // how errors name the actor
	// groups are the actor's concurrency groups; knowsGroups tells that there are no others.
	groups      map[string]int
	knowsGroups bool
	// called is how errors name the method that was called last: mostly it is called again.
	called atomic.Pointer[string]
}

// String names the actor, by its name if it was made or got by that.
func (h *ActorHandle) String() string {
	if h == nil {
		return "ActorHandle(nil)"
	}
	return "ActorHandle(" + h.target + ")"
}

// ID returns Ray's id of the actor, in hex; "" of a nil handle.
func (h *ActorHandle) ID() string { return h.hold().id() }

// Release gives the handle up. An actor that is not detached ends when its last handle is gone and its calls are
// answered, or with the session. It is idempotent, and does nothing to a nil handle. The garbage collector releases handles that were dropped, but never
// those that CreateActor returned: no actor ends because of it. Ray's server keeps an actor that GetActor returned until
// the session ends, whatever is released.
func (h *ActorHandle) Release() { h.hold().release() }

func (h *ActorHandle) hold() *handle {
	if h == nil {
		return nil
	}
	return h.h
}

func newActorHandle(h *handle) *ActorHandle {
	return &ActorHandle{h: h, target: "actor " + hex.EncodeToString([]byte(h.t.id))}
}

// borrowedActor is a handle of an actor that was made elsewhere.
func borrowedActor(h *handle) *ActorHandle {
	actor := newActorHandle(h)
	h.cleanup = runtime.AddCleanup(actor, collect, h)
	return actor
}

// CreateActor makes an actor of the class, and does not wait for its constructor: whether that fails shows in the first
// call. A name that is taken is ErrActorExists, unless opts say GetIfExists.
func (s *Session) CreateActor(ctx context.Context, class *ActorClass, opts ActorOptions, args ...any) (*ActorHandle, error) {
	if class == nil || class.object == nil {
		return nil, &CallError{Target: "create actor", Sent: SentNo, Err: fmt.Errorf("%w: the class is nil", ErrUnsupportedValue)}
	}
	namespace := opts.Namespace
	if namespace == "" {
		namespace = s.cfg.Namespace
	}
	target := "create actor " + class.name
	if opts.Name != "" {
		target = "create actor " + namespace + "/" + opts.Name
	}
	refuse := func(err error) (*ActorHandle, error) { return nil, &CallError{Target: target, Sent: SentNo, Err: err} }
	if err := opts.RuntimeEnv.checkGoActor(s.Info().RayVersion); err != nil {
		return refuse(err)
	}
	options, err := opts.pickled(namespace)
	if err != nil {
		return refuse(err)
	}
	if class.object.session != s {
		_, err := s.refs.acquire(ctx, class.object, s)
		return refuse(err)
	}
	if err := s.havePackages(ctx, opts.RuntimeEnv); err != nil {
		return refuse(err)
	}
	object, baseline, err := s.withGroups(ctx, target, class, opts.ConcurrencyGroups)
	if err != nil {
		return nil, err
	}
	used, err := s.refs.acquire(ctx, object, s)
	if err != nil {
		return refuse(err)
	}
	task := newTask(raypb.ClientTask_ACTOR, class.name, used.raw)
	task.uses = append(task.uses, used)
	if baseline != nil {
		task.task.BaselineOptions = &raypb.TaskOptions{PickledOptions: baseline}
	}
	handles, err := s.submit(ctx, target, task, options, args)
	if err != nil {
		return nil, asUngrouped(asExists(err, opts.Name, namespace), class.name)
	}
	actor, err := oneActor(target, handles, newActorHandle, opts.Name, namespace)
	if err == nil && !opts.GetIfExists {
		actor.groups, actor.knowsGroups = class.with(opts.ConcurrencyGroups), true
	}
	return actor, err
}

// GetActor returns the actor of that name; namespace "" is the session's. ErrActorNotFound if there is none, or it died
// and will not be restarted.
func (s *Session) GetActor(ctx context.Context, name, namespace string) (*ActorHandle, error) {
	if namespace == "" {
		namespace = s.cfg.Namespace
	}
	target := "get actor " + namespace + "/" + name
	if name == "" {
		return nil, &CallError{Target: target, Sent: SentNo, Err: &ActorNotFoundError{Namespace: namespace}}
	}
	if err := errors.Join(checkText(name), checkText(namespace)); err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	task := newTask(raypb.ClientTask_NAMED_ACTOR, name, nil)
	task.task.Namespace = namespace
	handles, err := s.submit(ctx, target, task, pickledOptions{}, nil)
	if err != nil {
		return nil, asNotFound(err, name, namespace)
	}
	return oneActor(target, handles, borrowedActor, name, namespace)
}

func oneActor(target string, handles []*handle, wrap func(*handle) *ActorHandle, name, namespace string) (*ActorHandle, error) {
	if len(handles) != 1 {
		for _, h := range handles {
			h.release()
		}
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %d actors", errBadAnswer, len(handles))}
	}
	actor := wrap(handles[0])
	if name != "" {
		actor.target = namespace + "/" + name
	}
	return actor, nil
}

// Submit starts a method and returns the ref of its result without waiting for it. Arguments are as for Session.Submit.
// Methods that one goroutine submits start in that order. ErrNoSuchMethod if the actor's class has none of that name.
func (h *ActorHandle) Submit(ctx context.Context, method string, args ...any) (*ObjectRef, error) {
	result, _, err := h.start(ctx, method, args)
	if err != nil {
		return nil, err
	}
	return result.session.objectRef(result), nil
}

// start is Submit without a ref: the caller releases what it returns. target names the call in errors.
func (h *ActorHandle) start(ctx context.Context, method string, args []any) (result *handle, target string, err error) {
	task, err := h.prepare(ctx, method, pickledOptions{}, args)
	if err != nil {
		return nil, "", err
	}
	handles, err := h.h.session.schedule(ctx, task)
	if err != nil {
		return nil, "", asNoSuchMethod(err, method)
	}
	result, err = oneResult(task.target, handles)
	return result, task.target, err
}

// targetOf is how errors name a method.
func (h *ActorHandle) targetOf(method string) string {
	if h == nil {
		return method
	}
	if last := h.called.Load(); last != nil && strings.HasPrefix(*last, h.target) && (*last)[len(h.target)+1:] == method {
		return *last
	}
	target := h.target + "." + method
	h.called.Store(&target)
	return target
}

// SubmitWith is Submit with options, which may ask for any number of results.
func (h *ActorHandle) SubmitWith(ctx context.Context, method string, opts MethodOptions, args ...any) ([]*ObjectRef, error) {
	options, err := opts.pickled()
	if err == nil && h != nil && h.knowsGroups && opts.ConcurrencyGroup != "" && h.groups[opts.ConcurrencyGroup] == 0 {
		err = fmt.Errorf("%w: concurrency group: the actor has none of the name %q", ErrInvalidOption, opts.ConcurrencyGroup)
	}
	if err != nil {
		return nil, &CallError{Target: h.targetOf(method), Sent: SentNo, Err: err}
	}
	task, err := h.prepare(ctx, method, options, args)
	if err != nil {
		return nil, err
	}
	handles, err := h.h.session.schedule(ctx, task)
	if err != nil {
		return nil, asNoSuchMethod(err, method)
	}
	return h.h.session.refsOf(handles, nil)
}

// prepare makes the task that runs a method.
func (h *ActorHandle) prepare(ctx context.Context, method string, options pickledOptions, args []any) (*taskRequest, error) {
	target := h.targetOf(method)
	refuse := func(err error) (*taskRequest, error) {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	if h.hold() == nil {
		return refuse(fmt.Errorf("%w: the handle is nil", ErrReleased))
	}
	if !isIdentifier(method) {
		return refuse(fmt.Errorf("%w, which is no Python name", &NoSuchMethodError{Method: method}))
	}
	s := h.h.session
	used, err := s.refs.acquire(ctx, h.h, s)
	runtime.KeepAlive(h) // until it is in use
	if err != nil {
		return refuse(err)
	}
	task := newTask(raypb.ClientTask_METHOD, method, used.raw)
	task.actor = used.id
	task.uses = append(task.uses, used)
	if err := s.prepareTask(ctx, target, task, options, args); err != nil {
		return nil, err
	}
	return task, nil
}

// Call runs a method and waits for its result; see Submit and Get. When ctx ends first, the method may have run, or may
// still run; the CallError says whether it can be excluded.
func (h *ActorHandle) Call(ctx context.Context, method string, args ...any) (any, error) {
	result, target, err := h.start(ctx, method, args)
	if err != nil {
		return nil, err
	}
	defer result.release()
	v, err := result.session.get(ctx, target, result)
	return v, begun(target, err)
}

// begun is the error of the get of a call: where the get was not sent, the call was nevertheless.
func begun(target string, err error) error {
	if call, ok := errors.AsType[*CallError](err); ok && call.Sent == SentNo {
		return &CallError{Target: target, Sent: SentMaybe, Err: call.Err}
	}
	return err
}

// Kill ends the actor's process at once; calls under way fail. With noRestart the actor is dead for good, whatever its
// MaxRestarts; without, Ray restarts it as after a crash. Killing a dead actor is no error.
func (s *Session) Kill(ctx context.Context, h *ActorHandle, noRestart bool) error {
	used, err := s.refs.acquire(ctx, h.hold(), s)
	runtime.KeepAlive(h) // until it is in use
	if err != nil {
		return &CallError{Target: "kill", Sent: SentNo, Err: err}
	}
	defer s.refs.unuse([]*tracked{used})
	// Not on the data channel: there the server would answer "ok" and break the channel later if the actor is unknown.
	_, err = change(ctx, s, "kill "+h.target, s.rpc.Terminate, &raypb.TerminateRequest{
		ClientId: s.id,
		TerminateType: &raypb.TerminateRequest_Actor{
			Actor: &raypb.TerminateRequest_ActorTerminate{Id: []byte(used.id), NoRestart: noRestart},
		},
	})
	return err
}

// NamedActor is the name of an actor that is not dead.
type NamedActor struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

// ListNamedActors returns the named actors that are not dead, of the session's namespace or of all.
func (s *Session) ListNamedActors(ctx context.Context, allNamespaces bool) ([]NamedActor, error) {
	const target = "list named actors"
	r := &request{target: target, msg: &raypb.DataRequest{Type: &raypb.DataRequest_ListNamedActors{
		ListNamedActors: &raypb.ClientListNamedActorsRequest{AllNamespaces: allNamespaces},
	}}}
	if err := s.roundTrip(ctx, r); err != nil {
		return nil, err
	}
	text := []byte(r.answer.GetListNamedActors().GetActorsJson())
	var actors []NamedActor
	var err error
	if allNamespaces {
		err = json.Unmarshal(text, &actors)
	} else {
		var names []string
		err = json.Unmarshal(text, &names)
		for _, name := range names {
			actors = append(actors, NamedActor{Name: name, Namespace: s.cfg.Namespace})
		}
	}
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %w", errBadAnswer, err)}
	}
	return actors, nil
}
