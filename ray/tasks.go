package ray

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unicode"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// maxImported bounds how many functions and classes one session keeps at the server.
const maxImported = 4096

// Function names a Python function or class: one that the cluster can import, or one that Source defines. It must be
// written in Python: Ray refuses functions of extension modules, such as operator.add.
type Function struct {
	// Module and Name are dotted names, as in "from Module import Name".
	Module, Name string
	// Source, when not empty, is Python source that defines Name. Ray's server runs it, once a session, and sends the
	// function along by value. Module is not used then. Tracebacks of such code show no source lines; where that matters,
	// and for more than a few lines, use a package (FilePackage).
	Source string
}

// ParseFunction reads "module:name", as in "statistics:mean" or "pkg.module:Class.method".
func ParseFunction(text string) (Function, error) {
	module, name, ok := strings.Cut(text, ":")
	f := Function{Module: module, Name: name}
	if !ok {
		return f, fmt.Errorf("%w: %q is not module:name", ErrInvalidOption, text)
	}
	return f, f.check()
}

// String returns the dotted name.
func (f Function) String() string {
	if f.Source != "" || f.Module == "" {
		return f.Name
	}
	return f.Module + "." + f.Name
}

// check refuses names that are none.
func (f Function) check() error {
	if f.Source != "" {
		if !isIdentifier(f.Name) {
			return fmt.Errorf("%w: name %q is not a Python name", ErrUnsupportedValue, f.Name)
		}
		return checkText(f.Source)
	}
	for _, part := range []struct{ what, text string }{{"module", f.Module}, {"name", f.Name}} {
		for word := range strings.SplitSeq(part.text, ".") {
			if !isIdentifier(word) {
				return fmt.Errorf("%w: %s %q is not a dotted Python name", ErrUnsupportedValue, part.what, part.text)
			}
		}
	}
	return nil
}

// Submit starts a task that calls fn with args, and returns the ref of its result without waiting for it. Arguments are
// as for Put, and must not exceed MaxObjectSize together; an *ObjectRef stands for its value, and Kwargs in the last place
// are keyword arguments. A function that the cluster cannot import is a *TaskError. A generator is for DynamicReturns of
// SubmitWith, or Direct.Stream: here it is started, and the error is ErrNoStreaming.
func (s *Session) Submit(ctx context.Context, fn Function, args ...any) (*ObjectRef, error) {
	handles, err := s.submitTask(ctx, fn, pickledOptions{}, 0, args)
	if err != nil {
		return nil, err
	}
	result, err := oneResult(fn.String(), handles)
	if err != nil {
		return nil, err
	}
	return s.objectRef(result), nil
}

// SubmitWith is Submit with options, which may ask for any number of results.
func (s *Session) SubmitWith(ctx context.Context, fn Function, opts TaskOptions, args ...any) ([]*ObjectRef, error) {
	options, err := opts.pickled()
	if err == nil {
		err = s.havePackages(ctx, opts.RuntimeEnv)
	}
	if err != nil {
		return nil, &CallError{Target: fn.String(), Sent: SentNo, Err: err}
	}
	return s.refsOf(s.submitTask(ctx, fn, options, opts.MaxCalls, args))
}

// submitTask starts a task; maxCalls is TaskOptions.MaxCalls.
func (s *Session) submitTask(ctx context.Context, fn Function, options pickledOptions, maxCalls int, args []any) ([]*handle, error) {
	code, baseline, err := s.imported(ctx, fn, maxCalls)
	if err != nil {
		return nil, err
	}
	task := newTask(raypb.ClientTask_FUNCTION, fn.Name, code.t.raw)
	if baseline != nil {
		task.task.BaselineOptions = &raypb.TaskOptions{PickledOptions: baseline}
	}
	return s.submit(ctx, fn.String(), task, options, args)
}

// taskRequest is a request that sends a task, in one piece of memory.
type taskRequest struct {
	request
	msg  raypb.DataRequest
	kind raypb.DataRequest_Task
	task raypb.ClientTask
	used [2]*tracked // the room of request.uses
}

// newTask makes a task. payload is the id of the function, the class or the actor, or nil.
func newTask(kind raypb.ClientTask_RemoteExecType, name string, payload []byte) *taskRequest {
	t := &taskRequest{}
	t.kind.Task, t.msg.Type, t.request.msg = &t.task, &t.kind, &t.msg
	t.task.Type, t.task.Name, t.task.PayloadId = kind, name, payload
	t.producesActor = kind == raypb.ClientTask_ACTOR || kind == raypb.ClientTask_NAMED_ACTOR
	t.uses = t.used[:0]
	return t
}

// submit sends a task and returns its results. What the task uses is in use already.
func (s *Session) submit(ctx context.Context, target string, task *taskRequest, options pickledOptions, args []any) ([]*handle, error) {
	if err := s.prepareTask(ctx, target, task, options, args); err != nil {
		return nil, err
	}
	return s.schedule(ctx, task)
}

// prepareTask gives a task its arguments and options. It ends the uses if it fails.
func (s *Session) prepareTask(ctx context.Context, target string, task *taskRequest, options pickledOptions, args []any) error {
	data, more, err := s.encodeArgs(ctx, args)
	if err != nil {
		s.refs.unuse(task.uses)
		return &CallError{Target: target, Sent: SentNo, Err: err}
	}
	task.target, task.task.Data = target, data
	task.uses = append(task.uses, more...)
	if task.options = options.kwargs; options.data != nil {
		task.task.Options = &raypb.TaskOptions{PickledOptions: options.data}
	}
	return nil
}

// refsOf makes the refs of results.
func (s *Session) refsOf(handles []*handle, err error) ([]*ObjectRef, error) {
	if err != nil {
		return nil, err
	}
	refs := make([]*ObjectRef, len(handles))
	for i, h := range handles {
		refs[i] = s.objectRef(h)
	}
	return refs, nil
}

// oneResult is for calls without options, which have one result.
func oneResult(target string, results []*handle) (*handle, error) {
	if len(results) == 1 {
		return results[0], nil
	}
	for _, h := range results {
		h.release()
	}
	return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %d results; use SubmitWith", ErrUnsupportedValue, len(results))}
}

// Cancel asks Ray to cancel the task whose result ref is: before it starts it never will; while it runs it is interrupted
// with KeyboardInterrupt, or its process is killed if force says so. As in Python, the interrupt comes between two
// instructions of Python: a call into C such as time.sleep(30) comes to its end first. With recursive, what it started is
// cancelled too. The ref then fails with ErrTaskCancelled (ErrWorkerCrashed after force), or has a value if the task was
// faster: an error that is a *TaskError too, if the task was not interrupted itself but failed since a task that it waited
// for was. Calls of actors are harder to cancel: force is a *TaskError for them, a synchronous method that runs is not interrupted, one that
// waits behind it may still run although its ref fails, and after the cancellation of a call that came before the actor
// stood, Ray lets the next one wait for 30 seconds.
func (s *Session) Cancel(ctx context.Context, ref *ObjectRef, force, recursive bool) error {
	used, err := s.refs.acquire(ctx, ref.hold(), s)
	runtime.KeepAlive(ref) // until it is in use
	if err != nil {
		return &CallError{Target: "cancel", Sent: SentNo, Err: err}
	}
	defer s.refs.unuse([]*tracked{used})
	_, err = change(ctx, s, "cancel", s.rpc.Terminate, &raypb.TerminateRequest{
		ClientId: s.id,
		TerminateType: &raypb.TerminateRequest_TaskObject{
			TaskObject: &raypb.TerminateRequest_TaskObjectTerminate{Id: []byte(used.id), Force: force, Recursive: recursive},
		},
	})
	return err
}

// DynamicRefs waits for a task that was submitted with DynamicReturns and returns the refs of what it yielded.
func (s *Session) DynamicRefs(ctx context.Context, ref *ObjectRef) ([]*ObjectRef, error) {
	const target = "dynamic refs"
	used, err := s.acquireAll(ctx, target, []*ObjectRef{ref})
	if err != nil {
		return nil, err
	}
	defer s.refs.unuse(used)
	v, err := s.valueAs(ctx, target, used[0], nil, s.dynamicRefs)
	if err != nil {
		return nil, err
	}
	return v.([]*ObjectRef), nil
}

// dynamicRefs reads a DynamicObjectRefGenerator.
func (s *Session) dynamicRefs(v any, _ int) (any, error) {
	object, ok := v.(*pickle.Object)
	if !ok || !strings.HasSuffix(pyvalue.ClassName(object.Class), "ObjectRefGenerator") {
		return nil, fmt.Errorf("%w: the value is not of a task with dynamic returns", ErrUnsupportedValue)
	}
	var refs []*ObjectRef
	var walk func(v any, depth int)
	walk = func(v any, depth int) {
		if depth > 8 {
			return
		}
		switch x := v.(type) {
		case *stub:
			if x.value == nil {
				x.value = s.objectRef(x.handle)
			}
			if ref, ok := x.value.(*ObjectRef); ok {
				refs = append(refs, ref)
			}
		case *pickle.List:
			for _, item := range x.Items {
				walk(item, depth+1)
			}
		case pickle.Tuple:
			for _, item := range x {
				walk(item, depth+1)
			}
		case *pickle.Dict:
			for _, item := range x.Items {
				walk(item.Value, depth+1)
			}
		case *pickle.Object: // the generator itself, and the deque in it
			walk(x.Args, depth+1)
			walk(x.State, depth+1)
			for _, item := range x.Items {
				walk(item, depth+1)
			}
		}
	}
	walk(object, 0)
	return refs, nil
}

// schedule sends a task and returns what it produced: results, or an actor.
func (s *Session) schedule(ctx context.Context, t *taskRequest) ([]*handle, error) {
	t.task.ClientId, t.size, t.progress = s.id, int64(len(t.task.Data)), progressOf(ctx)
	if err := s.roundTrip(ctx, &t.request); err != nil {
		return nil, err
	}
	if t.refused {
		return nil, asNoFunction(asStream(refusalOf(t.target, t.refusal)))
	}
	return t.handles, nil
}

// importedThings are the functions and classes that the session put into the cluster, by what was put. They stay until
// the session ends.
type importedThings struct {
	mu    sync.Mutex // guards known
	known map[string]*importedThing
}

// importedThing is one of them; whoever makes it closes ready.
type importedThing struct {
	ready  chan struct{}
	handle *handle // nil if it could not be put
}

func newImportedThings() *importedThings {
	return &importedThings{known: map[string]*importedThing{}}
}

// sourceModule is the module that functions of Function.Source say they come from. It must not be importable: Ray then
// sends them along by value.
const sourceModule = "seedcore_source"

// imported makes the cluster import fn, or run its source, and returns the object that stands for it. What fails is an
// error here and does no harm, while in the arguments of a task it would end the session. Ray takes maxCalls once for each
// object and not with a task, so that another number needs another object; baseline are the options that belong to it.
func (s *Session) imported(ctx context.Context, fn Function, maxCalls int) (code *handle, baseline []byte, err error) {
	if err := fn.check(); err != nil {
		return nil, nil, &CallError{Target: fn.String(), Sent: SentNo, Err: err}
	}
	if maxCalls == 0 {
		code, err := s.once(ctx, fn.String(), fn.code())
		return code, nil, asUndefined(err, fn)
	}
	options, err := pickleOptions("task", map[string]any{"max_calls": maxCalls}, nil)
	if err != nil {
		return nil, nil, &CallError{Target: fn.String(), Sent: SentNo, Err: err}
	}
	data, err := marshal(fn.code())
	if err != nil {
		return nil, nil, &CallError{Target: fn.String(), Sent: SentNo, Err: err}
	}
	code, err = s.onceFor(ctx, fn.String(), fmt.Sprintf("max calls %d ", maxCalls)+string(data), data)
	return code, options.data, asUndefined(err, fn)
}

// code is the pickle that stands for f.
func (f Function) code() any {
	if f.Source != "" {
		return defined(sourceModule, f.Source, f.Name)
	}
	return pickle.Global{Module: f.Module, Name: f.Name}
}

// defined is a pickle that runs source and picks a name from what it defined: getitem(getitem((ns, exec(source, ns)), 0),
// name), with one and the same dict as ns in both places.
func defined(module, source, name string) any {
	ns := &pickle.Shared{Value: map[string]any{"__name__": module}}
	getitem := pickle.Global{Module: "operator", Name: "getitem"}
	run := pickle.Call{Func: pickle.Global{Module: "builtins", Name: "exec"}, Args: pickle.Tuple{source, ns}}
	filled := pickle.Call{Func: getitem, Args: pickle.Tuple{pickle.Tuple{ns, run}, 0}}
	return pickle.Call{Func: getitem, Args: pickle.Tuple{filled, name}}
}

// once puts v into the cluster, unless this session did so before.
func (s *Session) once(ctx context.Context, target string, v any) (*handle, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	return s.onceFor(ctx, target, string(data), data)
}

// onceFor is once for a pickle under a key of the caller's.
func (s *Session) onceFor(ctx context.Context, target, key string, data []byte) (*handle, error) {
	waiting, cancel := bound(ctx, s.cfg.CallTimeout, 0)
	defer cancel()
	for {
		s.mine.mu.Lock()
		thing := s.mine.known[key]
		if thing == nil {
			if len(s.mine.known) >= maxImported {
				s.mine.mu.Unlock()
				return nil, &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: the session uses %d different functions and classes already", ErrOverloaded, maxImported)}
			}
			thing = &importedThing{ready: make(chan struct{})}
			s.mine.known[key] = thing
			s.mine.mu.Unlock()
			h, err := s.put(ctx, target, content{data: data}, nil)
			s.mine.mu.Lock()
			if err != nil {
				delete(s.mine.known, key)
			}
			thing.handle = h
			s.mine.mu.Unlock()
			close(thing.ready)
			return h, err
		}
		s.mine.mu.Unlock()
		select {
		case <-thing.ready:
			if thing.handle != nil {
				return thing.handle, nil
			}
			// It failed for whoever tried, maybe only because its context ended: try again.
		case <-waiting.Done():
			return nil, &CallError{Target: target, Sent: SentNo, Err: ended(waiting)}
		}
	}
}

// isIdentifier reports whether s can be a name in Python. Keywords pass.
func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return s != ""
}
