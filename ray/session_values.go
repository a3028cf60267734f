package ray

import (
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

const (
	maxValueDepth = 100
	maxValues     = 10_000_000
)

// stubClass is how refs and handles travel inside pickles: as persistent ids of this class.
var stubClass = pickle.Global{Module: "ray.util.client.client_pickler", Name: "PickleStub"}

// valueEncoder turns the values that a caller gives into what package pickle writes. It lets through only types that
// Python can read without importing anything: an argument that the server cannot read ends the whole session.
type valueEncoder struct {
	session *Session
	// uses are the refs in the values; they are in use when the encoder is done, unless it failed.
	uses []*tracked
	// size of all text and bytes, so that too much is refused before it is copied.
	size int
}

// encode pickles a tree of values and reports the refs in it, which are then in use.
func (s *Session) encode(v any) ([]byte, []*tracked, error) {
	e := &valueEncoder{session: s}
	data, err := e.pickle(v)
	if err != nil {
		s.refs.unuse(e.uses)
		return nil, nil, err
	}
	return data, e.uses, nil
}

// encodeArgs pickles positional arguments in the form of a task.
func (s *Session) encodeArgs(args []any) ([]byte, []*tracked, error) {
	e := &valueEncoder{session: s}
	tuple := make(pickle.Tuple, len(args))
	var err error
	for i, arg := range args {
		if tuple[i], err = e.value(arg, 0); err != nil {
			s.refs.unuse(e.uses)
			return nil, nil, fmt.Errorf("argument %d: %w", i, err)
		}
	}
	data, err := marshal(pickle.Tuple{tuple, map[string]any{}})
	if err != nil {
		s.refs.unuse(e.uses)
		return nil, nil, err
	}
	return data, e.uses, nil
}

func (e *valueEncoder) pickle(v any) ([]byte, error) {
	tree, err := e.value(v, 0)
	if err != nil {
		return nil, err
	}
	return marshal(tree)
}

func marshal(tree any) ([]byte, error) {
	data, err := pickle.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupportedValue, err)
	}
	if len(data) > MaxObjectSize {
		return nil, tooLarge(len(data))
	}
	return data, nil
}

func (e *valueEncoder) value(v any, depth int) (any, error) {
	if depth > maxValueDepth {
		return nil, fmt.Errorf("%w: nested deeper than %d, or a value holds itself", ErrUnsupportedValue, maxValueDepth)
	}
	switch x := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64, map[string]float64:
		return v, nil
	case []byte:
		return v, e.count(len(x))
	case string:
		return v, errors.Join(e.count(len(x)), checkText(x))
	case *big.Int:
		if x == nil {
			return nil, nil
		}
		return v, nil
	case []any:
		out := make([]any, len(x))
		for i, item := range x {
			var err error
			if out[i], err = e.value(item, depth+1); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(x))
		for key, item := range x {
			if err := checkText(key); err != nil {
				return nil, fmt.Errorf("key %q: %w", key, err)
			}
			var err error
			if out[key], err = e.value(item, depth+1); err != nil {
				return nil, fmt.Errorf("[%q]: %w", key, err)
			}
		}
		return out, nil
	case []string:
		for i, item := range x {
			if err := checkText(item); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return v, nil
	case map[string]string:
		for key, item := range x {
			if err := errors.Join(checkText(key), checkText(item)); err != nil {
				return nil, fmt.Errorf("[%q]: %w", key, err)
			}
		}
		return v, nil
	case *ObjectRef:
		return e.ref("Object", x.hold())
	case *ActorHandle:
		return e.ref("Actor", x.hold())
	}
	return nil, fmt.Errorf("%w: a %T; give nil, bool, numbers, string, []byte, []any, map[string]any, *ObjectRef or *ActorHandle",
		ErrUnsupportedValue, v)
}

// count adds to the size.
func (e *valueEncoder) count(n int) error {
	if e.size += n; e.size > MaxObjectSize {
		return tooLarge(e.size)
	}
	return nil
}

func tooLarge(n int) error {
	return fmt.Errorf("%w: at least %d bytes; a session carries %d at once", ErrUnsupportedValue, n, MaxObjectSize)
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%w: a string that is not UTF-8; give []byte", ErrUnsupportedValue)
	}
	return nil
}

// ref puts a ref or handle into the pickle, as long as the server has it.
func (e *valueEncoder) ref(kind string, h *handle) (any, error) {
	t, err := e.session.refs.acquire(h, e.session)
	if err != nil {
		return nil, err
	}
	e.uses = append(e.uses, t)
	return pickle.Persistent{ID: pickle.New{Class: stubClass, Args: pickle.Tuple{kind, e.session.id, []byte(t.id), nil, nil}}}, nil
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
	v, err = pickle.Unmarshal(data, pickle.Options{Persistent: func(id any) (any, error) {
		st, err := readStub(id)
		if err == nil {
			stubs = append(stubs, st)
		}
		return st, err
	}})
	return v, stubs, err
}

// goValue is a copy of a decoded value in the types that the package documents.
type goValue struct {
	session *Session
	left    int
}

// toGo converts a decoded value whose refs are held. A pickle can name a part again and again in a few bytes; what comes
// out has a copy at each place, so its size is bounded by that of the pickle.
func (s *Session) toGo(v any, size int) (any, error) {
	g := goValue{session: s, left: min(maxValues, 100_000+8*size)}
	return g.of(v, 0)
}

func (g *goValue) of(v any, depth int) (any, error) {
	if g.left--; g.left < 0 || depth > 2*maxValueDepth {
		return nil, fmt.Errorf("%w: the value repeats parts too often, is nested deeper than %d, or holds itself",
			ErrUnsupportedValue, 2*maxValueDepth)
	}
	switch x := v.(type) {
	case nil, bool, int64, float64, string, []byte:
		return v, nil
	case *big.Int:
		if x.IsUint64() {
			return x.Uint64(), nil
		}
		return x, nil
	case *pickle.ByteArray:
		return x.Data, nil
	case pickle.Tuple:
		return g.list(x, depth)
	case *pickle.List:
		return g.list(x.Items, depth)
	case *pickle.Set:
		return g.list(x.Items, depth)
	case *pickle.Dict:
		return g.dict(x, depth)
	case *stub:
		if x.value == nil && x.kind == kindActor {
			x.value = borrowedActor(x.handle)
		} else if x.value == nil {
			x.value = g.session.objectRef(x.handle)
		}
		return x.value, nil
	case pickle.Global:
		return nil, fmt.Errorf("%w: the Python object %v", ErrUnsupportedValue, x)
	case *pickle.Object:
		return nil, fmt.Errorf("%w: an instance of the Python class %s; return plain values instead", ErrUnsupportedValue, className(x.Class))
	}
	return nil, fmt.Errorf("%w: a %T", ErrUnsupportedValue, v)
}

func (g *goValue) list(items []any, depth int) (any, error) {
	out := make([]any, len(items))
	for i, item := range items {
		var err error
		if out[i], err = g.of(item, depth+1); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// dict gives a map[string]any where it can.
func (g *goValue) dict(d *pickle.Dict, depth int) (any, error) {
	named := make(map[string]any, len(d.Items))
	var mixed map[any]any
	for _, item := range d.Items {
		value, err := g.of(item.Value, depth+1)
		if err != nil {
			return nil, err
		}
		name, isName := item.Key.(string)
		if isName && mixed == nil {
			named[name] = value
			continue
		}
		if mixed == nil {
			mixed = make(map[any]any, len(d.Items))
			for k, v := range named {
				mixed[k] = v
			}
		}
		switch item.Key.(type) {
		case nil, bool, int64, float64, string:
			mixed[item.Key] = value
		default:
			return nil, fmt.Errorf("%w: a dict with a key of type %T", ErrUnsupportedValue, item.Key)
		}
	}
	if mixed != nil {
		return mixed, nil
	}
	return named, nil
}
