package ray

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"unicode"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// maxImported bounds how many functions and classes one session keeps at the server.
const maxImported = 4096

// Function names a Python function that the cluster can import. It must be written in Python: Ray refuses functions of
// extension modules, such as operator.add.
type Function struct{ Module, Name string }

// String returns the dotted name.
func (f Function) String() string { return f.Module + "." + f.Name }

// TaskOptions say where a task runs and what it reserves there. The zero value is Ray's default: one CPU, anywhere.
type TaskOptions struct {
	// NoCPU lets the task run without a CPU of its own, also where none is free.
	NoCPU bool
	// NodeIP, when not empty, is the address of the node that has to run the task, as in NodeInfo.Address. A task for a node
	// that is not there waits for it.
	NodeIP string
}

// options returns nil for the zero value.
func (o TaskOptions) options() (*raypb.TaskOptions, error) {
	kwargs := map[string]any{}
	if o.NoCPU {
		kwargs["num_cpus"] = 0
	}
	if o.NodeIP != "" {
		kwargs["resources"] = map[string]any{"node:" + o.NodeIP: 0.001} // which each node has one of, under its own address
	}
	if len(kwargs) == 0 {
		return nil, nil
	}
	data, err := marshal(kwargs)
	return &raypb.TaskOptions{PickledOptions: data}, err
}

// Submit starts a task that calls fn with args, and returns the ref of its result without waiting for it. Arguments are
// as for Put, and must not exceed MaxObjectSize together; an *ObjectRef stands for its value. A function that the cluster
// cannot import is a *TaskError.
func (s *Session) Submit(ctx context.Context, fn Function, args ...any) (*ObjectRef, error) {
	return s.SubmitWith(ctx, TaskOptions{}, fn, args...)
}

// SubmitWith is Submit with options.
func (s *Session) SubmitWith(ctx context.Context, opts TaskOptions, fn Function, args ...any) (*ObjectRef, error) {
	target := fn.String()
	options, err := opts.options()
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	code, err := s.imported(ctx, target, fn.Module, fn.Name)
	if err != nil {
		return nil, err
	}
	task := &raypb.ClientTask{Type: raypb.ClientTask_FUNCTION, Name: fn.Name, PayloadId: []byte(code.t.id), Options: options}
	return s.submit(ctx, target, task, nil, args)
}

// submit sends a task with one result and returns its ref. uses are in use already.
func (s *Session) submit(ctx context.Context, target string, task *raypb.ClientTask, uses []*tracked, args []any) (*ObjectRef, error) {
	data, more, err := s.encodeArgs(ctx, target, args)
	if err != nil {
		s.refs.unuse(uses)
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	task.Data = data
	handles, err := s.schedule(ctx, target, task, kindObject, append(uses, more...))
	if err != nil {
		return nil, err
	}
	if len(handles) != 1 {
		for _, h := range handles {
			h.release()
		}
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %d results; exactly one is supported", ErrUnsupportedValue, len(handles))}
	}
	return s.objectRef(handles[0]), nil
}

// schedule sends a task and returns what it produced: refs of results, or an actor.
func (s *Session) schedule(ctx context.Context, target string, task *raypb.ClientTask, kind refKind, uses []*tracked) ([]*handle, error) {
	task.ClientId = s.id
	r := &request{
		target: target, size: int64(len(task.Data)), uses: uses, producesActor: kind == kindActor,
		msg: &raypb.DataRequest{Type: &raypb.DataRequest_Task{Task: task}},
	}
	r.absorb = func(resp *raypb.DataResponse) {
		if ticket := resp.GetTaskTicket(); ticket.GetValid() {
			for _, id := range ticket.GetReturnIds() {
				r.handles = append(r.handles, s.refs.hold(kind, id))
			}
		}
	}
	if err := s.roundTrip(ctx, r); err != nil {
		return nil, err
	}
	if ticket := r.answer.GetTaskTicket(); !ticket.GetValid() {
		return nil, refusalOf(target, ticket.GetError())
	}
	return r.handles, nil
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

// imported makes the cluster import module.name and returns the object that stands for it. An import that fails is an
// error here and does no harm, while in the arguments of a task it would end the session.
func (s *Session) imported(ctx context.Context, target, module, name string) (*handle, error) {
	for _, part := range []struct{ what, text string }{{"module", module}, {"name", name}} {
		for word := range strings.SplitSeq(part.text, ".") {
			if !isIdentifier(word) {
				return nil, &CallError{Target: target, Sent: SentNo, Err: fmt.Errorf("%w: %s %q is not a dotted Python name", ErrUnsupportedValue, part.what, part.text)}
			}
		}
	}
	return s.once(ctx, target, pickle.Global{Module: module, Name: name})
}

// once puts v into the cluster, unless this session did so before.
func (s *Session) once(ctx context.Context, target string, v any) (*handle, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	key := string(data)
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
			h, err := s.put(ctx, target, data, nil)
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
		case <-ctx.Done():
			return nil, &CallError{Target: target, Sent: SentNo, Err: ctx.Err()}
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
