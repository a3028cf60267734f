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

// actorClass is what a caller must know of an actor's class.
type actorClass struct {
	module, name string
	methods      []string // sorted
	descriptors  map[string]*corepb.FunctionDescriptor
	taskNames    map[string]string // of calls, by method, as Ray names them
}

// newActorClass leaves out what Ray adds to every class and what is not for callers: __ray_terminate__ ends the actor,
// __ray_call__ runs code of the caller's.
func newActorClass(module, name string, methods []string) *actorClass {
	methods = slices.DeleteFunc(methods, func(m string) bool {
		return m == "__init__" || strings.HasPrefix(m, "__ray_") && m != "__ray_ready__"
	})
	slices.Sort(methods)
	c := &actorClass{module: module, name: name, methods: methods, descriptors: make(map[string]*corepb.FunctionDescriptor, len(methods)), taskNames: make(map[string]string, len(methods))}
	for _, m := range methods {
		c.taskNames[m] = name + "." + m
		c.descriptors[m] = &corepb.FunctionDescriptor{FunctionDescriptor: &corepb.FunctionDescriptor_PythonFunctionDescriptor{
			PythonFunctionDescriptor: &corepb.PythonFunctionDescriptor{ModuleName: module, ClassName: name, FunctionName: m},
		}}
	}
	return c
}

// accepts checks a call before it is sent. size is that of its arguments.
func (c *actorClass) accepts(method string, args []*corepb.TaskArg, size int64) error {
	if c.descriptors[method] == nil {
		return &NoSuchMethodError{Method: method, Class: c.name, Methods: slices.Clone(c.methods)}
	}
	if size <= MaxGoValue || c.module != goModule {
		return nil
	}
	for i, arg := range args {
		if n := len(arg.GetData()); n > MaxGoValue {
			return fmt.Errorf("%w: argument %d has %d bytes, the limit is %d: pass it in parts, or its place in a store that both sides reach",
				ErrTooLarge, i/2, n, MaxGoValue)
		}
	}
	return nil
}

func (c *actorClass) descriptor(method string) *corepb.FunctionDescriptor {
	return c.descriptors[method]
}

func (c *actorClass) taskName(method string) string { return c.taskNames[method] }

// maxClasses bounds the classes that are remembered.
const maxClasses = 4096

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
	if t.known == nil || len(t.known) >= maxClasses {
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
