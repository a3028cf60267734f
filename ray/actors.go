package ray

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ActorClass is a class that the session put into the cluster, ready to make actors. It lives as long as the session.
type ActorClass struct {
	name   string
	object *handle
}

// Name returns the name of the class.
func (c *ActorClass) Name() string { return c.name }

// PythonClass makes the cluster import a class. One that it cannot import is a *TaskError.
func (s *Session) PythonClass(ctx context.Context, module, name string) (*ActorClass, error) {
	h, err := s.imported(ctx, module+"."+name, module, name)
	if err != nil {
		return nil, err
	}
	return &ActorClass{name: name, object: h}, nil
}

// RuntimeEnv is what Ray sets up for the process of an actor. Empty fields are left out.
type RuntimeEnv struct {
	// WorkingDir is the URI of a package, such as UploadPackage returns.
	WorkingDir string
	// PyExecutable is started in place of Python, relative to the working directory.
	PyExecutable string
	// EnvVars are added to the environment of the process.
	EnvVars map[string]string
}

func (e *RuntimeEnv) options() map[string]any {
	env := map[string]any{}
	if e.WorkingDir != "" {
		env["working_dir"] = e.WorkingDir
	}
	if e.PyExecutable != "" {
		env["py_executable"] = e.PyExecutable
	}
	if len(e.EnvVars) > 0 {
		env["env_vars"] = e.EnvVars
	}
	return env
}

// ActorOptions say how an actor is made. The zero value makes an actor without a name that needs no CPU, is not
// restarted, and ends with its last handle or with the session.
type ActorOptions struct {
	// Name makes the actor known in its namespace; empty: no name.
	Name string
	// Namespace of the name; empty: the session's.
	Namespace string
	// Detached lets the actor outlive its handles and the session.
	Detached bool
	// GetIfExists returns the actor of that name if there is one, whatever its class and options.
	GetIfExists bool
	// MaxRestarts is how often Ray restarts the actor's process; -1 for ever.
	MaxRestarts int
	// NumCPUs is reserved while the actor lives. It is always sent, also as 0.
	NumCPUs float64
	// MaxConcurrency is how many calls run at once; 0: Ray's default, one for classes without async methods.
	MaxConcurrency int
	// RuntimeEnv of the actor's process; nil: the cluster's.
	RuntimeEnv *RuntimeEnv
}

func (o ActorOptions) validate() error {
	var errs []error
	if o.GetIfExists && o.Name == "" {
		errs = append(errs, errors.New("get if exists: needs a name"))
	}
	if o.Namespace != "" && o.Name == "" {
		errs = append(errs, errors.New("namespace: needs a name"))
	}
	if o.MaxRestarts < -1 || o.MaxRestarts > math.MaxInt32 {
		errs = append(errs, fmt.Errorf("max restarts: %d is neither -1 nor a count", o.MaxRestarts))
	}
	if !(o.NumCPUs >= 0) || math.IsInf(o.NumCPUs, 0) {
		errs = append(errs, fmt.Errorf("num cpus: %v is no amount", o.NumCPUs))
	}
	if o.MaxConcurrency < 0 || o.MaxConcurrency > math.MaxInt32 {
		errs = append(errs, fmt.Errorf("max concurrency: %d is no count", o.MaxConcurrency))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: actor options: %w", ErrInvalidOption, errors.Join(errs...))
	}
	return nil
}

// pickled returns the options as Ray's keyword arguments.
func (o ActorOptions) pickled(namespace string) ([]byte, error) {
	kwargs := map[string]any{"num_cpus": o.NumCPUs, "max_restarts": o.MaxRestarts}
	if o.Name != "" {
		kwargs["name"] = o.Name
		kwargs["namespace"] = namespace
	}
	if o.Detached {
		kwargs["lifetime"] = "detached"
	}
	if o.GetIfExists {
		kwargs["get_if_exists"] = true
	}
	if o.MaxConcurrency > 0 {
		kwargs["max_concurrency"] = o.MaxConcurrency
	}
	if o.RuntimeEnv != nil {
		kwargs["runtime_env"] = o.RuntimeEnv.options()
	}
	return marshal(kwargs)
}

// ActorHandle is an actor as seen by one session. It cannot be used with another one; named actors can be got there
// again.
type ActorHandle struct {
	h      *handle
	target string // how errors name the actor
}

// ID returns Ray's id of the actor, in hex.
func (h *ActorHandle) ID() string { return hex.EncodeToString([]byte(h.h.t.id)) }

// Release gives the handle up. An actor that is not detached ends when its last handle is gone and its calls are
// answered, or with the session. It is idempotent. The garbage collector releases handles that were dropped, but never
// those that CreateActor returned: no actor ends because of it. Ray's server keeps an actor that GetActor returned until
// the session ends, whatever is released.
func (h *ActorHandle) Release() { h.h.release() }

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
	if class == nil {
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
	if err := opts.validate(); err != nil {
		return refuse(err)
	}
	options, err := opts.pickled(namespace)
	if err != nil {
		return refuse(err)
	}
	used, err := s.refs.acquire(class.object, s)
	if err != nil {
		return refuse(err)
	}
	uses := []*tracked{used}
	data, more, err := s.encodeArgs(ctx, target, args)
	if err != nil {
		s.refs.unuse(uses)
		return refuse(err)
	}
	task := &raypb.ClientTask{
		Type: raypb.ClientTask_ACTOR, Name: class.name, PayloadId: []byte(used.id), Data: data,
		Options: &raypb.TaskOptions{PickledOptions: options},
	}
	handles, err := s.schedule(ctx, target, task, kindActor, append(uses, more...))
	if err != nil {
		return nil, err
	}
	return oneActor(target, handles, newActorHandle, opts.Name, namespace)
}

// GetActor returns the actor of that name; namespace "" is the session's. ErrActorNotFound if there is none, or it died
// and will not be restarted.
func (s *Session) GetActor(ctx context.Context, name, namespace string) (*ActorHandle, error) {
	if namespace == "" {
		namespace = s.cfg.Namespace
	}
	target := "get actor " + namespace + "/" + name
	if name == "" {
		return nil, &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: the name is empty", ErrActorNotFound)}
	}
	if err := errors.Join(checkText(name), checkText(namespace)); err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	data, _, err := s.encodeArgs(ctx, target, nil)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	task := &raypb.ClientTask{Type: raypb.ClientTask_NAMED_ACTOR, Name: name, Namespace: namespace, Data: data}
	handles, err := s.schedule(ctx, target, task, kindActor, nil)
	if err != nil {
		return nil, asNotFound(err)
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
	if h == nil {
		return nil, &CallError{Target: method, Sent: SentNo, Err: fmt.Errorf("%w: the handle is nil", ErrReleased)}
	}
	target := h.target + "." + method
	if !isIdentifier(method) {
		return nil, &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: %q is not a Python name", ErrNoSuchMethod, method)}
	}
	s := h.h.session
	used, err := s.refs.acquire(h.h, s)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	task := &raypb.ClientTask{Type: raypb.ClientTask_METHOD, Name: method, PayloadId: []byte(used.id)}
	ref, err := s.submit(ctx, target, task, []*tracked{used}, args)
	if err != nil {
		return nil, asNoSuchMethod(err)
	}
	return ref, nil
}

// Call runs a method and waits for its result; see Submit and Get. When ctx ends first, the method may have run, or may
// still run; the CallError says whether it can be excluded.
func (h *ActorHandle) Call(ctx context.Context, method string, args ...any) (any, error) {
	ref, err := h.Submit(ctx, method, args...)
	if err != nil {
		return nil, err
	}
	defer ref.Release()
	target := h.target + "." + method
	v, err := h.h.session.get(ctx, target, ref.h)
	if call, ok := errors.AsType[*CallError](err); ok && call.Sent == SentNo {
		// The get was not sent, but the method was.
		return nil, &CallError{Target: target, Sent: SentMaybe, Err: call.Err}
	}
	return v, err
}

// Kill ends the actor's process at once; calls under way fail. With noRestart the actor is dead for good, whatever its
// MaxRestarts; without, Ray restarts it as after a crash. Killing a dead actor is no error.
func (s *Session) Kill(ctx context.Context, h *ActorHandle, noRestart bool) error {
	used, err := s.refs.acquire(h.hold(), s)
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
