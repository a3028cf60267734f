package ray

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"unicode/utf8"

	"github.com/seedcore/seedcore/internal/wire/govalue"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/pyvalue"
)

// stubClass is how refs and handles travel inside pickles: as persistent ids of this class.
var (
	stubClass = pickle.Global{Module: "ray.util.client.client_pickler", Name: "PickleStub"}
	stubName  = []byte(stubClass.Name)
)

// Kwargs are keyword arguments of a call, in the last place of its arguments: Submit(ctx, fn, 1, ray.Kwargs{"key": 2}).
type Kwargs map[string]any

// encodeArgs pickles arguments in the form of a task, and reports the refs in them, which are then in use. What the server cannot read is refused here: there
// it would end the session.
func (s *Session) encodeArgs(ctx context.Context, args []any) ([]byte, []*tracked, error) {
	if data, ok := pickle.MarshalPlainCall(args); ok {
		return data, nil, nil
	}
	parts, uses, numpy, err := s.pickle(ctx, 0, func(e *pyvalue.Encoder) (any, error) {
		args, kwargs, err := encodeKwargs(e, args)
		if err != nil {
			return nil, err
		}
		tuple := make(pickle.Tuple, len(args))
		for i, arg := range args {
			var err error
			if tuple[i], err = e.Value(arg); err != nil {
				return nil, govalue.Within("args"+govalue.At(i), err)
			}
		}
		return pickle.Tuple{tuple, kwargs}, nil
	})
	if err == nil && numpy {
		if err = s.needNumPy(ctx); err != nil {
			s.refs.unuse(uses)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return parts[0], uses, nil
}

// splitKwargs takes the keyword arguments off the arguments of a call.
func splitKwargs(args []any) ([]any, Kwargs) {
	if n := len(args); n > 0 {
		if kwargs, ok := args[n-1].(Kwargs); ok {
			return args[:n-1], kwargs
		}
	}
	return args, nil
}

// encodeKwargs splits keyword arguments off, and encodes them.
func encodeKwargs(e *pyvalue.Encoder, args []any) (positional []any, kwargs map[string]any, err error) {
	args, named := splitKwargs(args)
	kwargs = make(map[string]any, len(named))
	for key, arg := range named {
		if !isIdentifier(key) {
			return nil, nil, fmt.Errorf("%w: keyword %q is not a Python name", ErrUnsupportedValue, key)
		}
		if kwargs[key], err = e.Value(arg); err != nil {
			return nil, nil, govalue.Within("args["+strconv.Quote(key)+"]", err)
		}
	}
	return args, kwargs, nil
}

// pickle runs an encoder, and ends the uses that it began if it fails. numpy tells that the server needs it. Where borrow is
// not 0, bytes of that size are parts of their own in the memory of the value; else there is one part.
func (s *Session) pickle(ctx context.Context, borrow int, form func(*pyvalue.Encoder) (any, error)) (parts [][]byte, uses []*tracked, numpy bool, err error) {
	e := &pyvalue.Encoder{MaxBytes: MaxObjectSize, Ref: func(v any) (any, bool, error) {
		var kind string
		var h *handle
		switch x := v.(type) {
		case *ObjectRef:
			kind, h = "Object", x.hold()
		case interface{ Untyped() *ObjectRef }: // *Ref
			kind, h = "Object", x.Untyped().hold()
		case *ActorHandle:
			kind, h = "Actor", x.hold()
		default:
			return nil, false, nil
		}
		t, err := s.refs.acquire(ctx, h, s)
		runtime.KeepAlive(v) // until it is in use
		if err != nil {
			return nil, true, &govalue.Error{Err: err}
		}
		uses = append(uses, t)
		return pickle.Persistent{ID: pickle.New{Class: stubClass, Args: pickle.Tuple{kind, s.id, []byte(t.id), nil, nil}}}, true, nil
	}}
	tree, err := form(e)
	if errors.Is(err, pyvalue.ErrUnsupported) {
		err = fmt.Errorf("%w: %w", ErrUnsupportedValue, err)
	}
	if err == nil {
		parts, err = marshalParts(tree, borrow)
	}
	if err != nil {
		s.refs.unuse(uses)
		return nil, nil, false, err
	}
	return parts, uses, e.NumPy, nil
}

func marshal(tree any) ([]byte, error) {
	parts, err := marshalParts(tree, 0)
	if err != nil {
		return nil, err
	}
	return parts[0], nil
}

func marshalParts(tree any, borrow int) ([][]byte, error) {
	parts, err := pickle.MarshalParts(tree, borrow)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupportedValue, err)
	}
	if size := total(parts); size > MaxObjectSize {
		return nil, fmt.Errorf("%w: %d bytes; a session carries %d at once", ErrUnsupportedValue, size, MaxObjectSize)
	}
	return parts, nil
}

// needNumPy makes sure that the server can import numpy.
func (s *Session) needNumPy(ctx context.Context) error {
	if _, err := s.once(ctx, "import numpy", pyvalue.NumPyArray); err != nil {
		if _, refused := errors.AsType[*TaskError](err); refused {
			return fmt.Errorf("%w: an array needs numpy in the cluster: %v", ErrUnsupportedValue, err) //nolint:errorlint // nothing of the called code failed
		}
		return err
	}
	return nil
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: a string that is not UTF-8; give []byte", ErrUnsupportedValue)
	}
	return nil
}

// stub is a ref or handle inside a value that the server sent, and the hold on it once it was adopted.
type stub struct {
	kind   refKind
	id     string
	handle *handle
	// value is the *ObjectRef or *ActorHandle made of it: one, however often the stub occurs.
	value any
}

// readStub is the hook for persistent ids.
func readStub(id any) (*stub, error) {
	// copyreg._reconstructor(PickleStub, tuple, (type, client id, ref id, name, options))
	object, ok := id.(*pickle.Object)
	if !ok || len(object.Args) < 3 || object.Args[0] != stubClass {
		return nil, fmt.Errorf("a persistent id that is no %v", stubClass)
	}
	fields, ok := object.Args[2].(pickle.Tuple)
	if !ok || len(fields) < 3 {
		return nil, fmt.Errorf("a %v without its fields", stubClass)
	}
	ref, ok := fields[2].([]byte)
	if !ok || len(ref) == 0 {
		return nil, fmt.Errorf("a %v without an id", stubClass)
	}
	switch fields[0] {
	case "Object":
		return &stub{kind: kindObject, id: string(ref)}, nil
	case "Actor":
		return &stub{kind: kindActor, id: string(ref)}, nil
	}
	return nil, fmt.Errorf("a %v of kind %v", stubClass, fields[0])
}

// load reads a pickle of the server. The refs in it are not held yet.
func load(data []byte) (v any, stubs []*stub, err error) {
	if len(data) < 4<<10 && !bytes.Contains(data, stubName) {
		// Mostly there is none, and one pass does without a place for them.
		if v, err = pickle.Unmarshal(data, pickle.Options{Persistent: noStub}); err == nil {
			return v, nil, nil
		}
	}
	v, err = pickle.Unmarshal(data, pickle.Options{Persistent: func(id any) (any, error) {
		st, err := readStub(id)
		if err == nil {
			stubs = append(stubs, st)
		}
		return st, err
	}})
	return v, stubs, err
}

// noStub is the hook for pickles without the name of the class of stubs in plain sight: one that has a persistent id all
// the same is read again.
func noStub(any) (any, error) { return nil, errStub }

var errStub = errors.New("ray: a ref in a value")

// toGo converts a decoded value whose refs are held; size is that of the pickle.
func (s *Session) toGo(v any, size int) (any, error) {
	switch x := v.(type) {
	case nil, bool, int64, float64, string:
		return v, nil
	case []byte:
		if len(x) != 1 { // as pyvalue.Decoder has it
			return v, nil
		}
	}
	return converted(s.decoder(size), v)
}

// decoder converts the parts of one pickle of size bytes, which share its bound on what comes out.
func (s *Session) decoder(size int) *pyvalue.Decoder {
	d := pyvalue.NewDecoder(size)
	d.Ref = func(v any) (any, bool) {
		x, ok := v.(*stub)
		if !ok {
			return nil, false
		}
		if x.value == nil && x.kind == kindActor {
			x.value = borrowedActor(x.handle)
		} else if x.value == nil {
			x.value = s.objectRef(x.handle)
		}
		return x.value, true
	}
	return d
}

func converted(d *pyvalue.Decoder, v any) (any, error) {
	out, err := d.Value(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupportedValue, err)
	}
	return out, nil
}
