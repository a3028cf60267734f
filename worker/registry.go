package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Class names a registered actor class and its methods: what a driver needs to make handles for it.
type Class struct {
	Name    string
	Methods []string           // sorted
	Groups  []ConcurrencyGroup // sorted by name
}

// ConcurrencyGroup is an option of [Register]: calls of its methods run beside those of others, at most MaxConcurrency
// at once. The other methods share the actor's own max_concurrency. A driver that made the class itself, as Python can,
// decides for itself: what the creation of the actor says counts.
type ConcurrencyGroup struct {
	Name           string // a caller in Python may also choose it for a call, as in method.options(concurrency_group="io")
	MaxConcurrency int
	Methods        []string // by the names that callers use
}

// Option changes what Register makes: [Methods] and [ConcurrencyGroup] are options.
type Option interface{ apply(c *class) error }

// Register makes a Go type available as an actor class. It is meant for func init or the first lines of main, before
// Main, and like http.Handle it panics when the program is wrong: on an invalid or duplicate name, a function that
// cannot be called by others, or no methods. Names have to be valid in Python, for drivers there use them as they are;
// names that begin with two underscores belong to Ray.
//
// construct is a function that makes the actor: func NewCounter(ctx context.Context, start int64) (*Counter, error). The
// context, the parameters and the error may be missing. It runs once a process, with the arguments of the actor's
// creation. When it fails, Ray marks the actor dead and callers see the error; nothing else runs.
//
// Callers may use the exported methods of the type whose first parameter is a context.Context, by their names in
// snake_case: func (c *Counter) AddAll(ctx context.Context, deltas ...int64) (int64, error) is add_all. Parameters are
// filled as [Args.Decode] does, or the only one is [Args]; what may be returned, and what ctx means, is told at [Method].
// An option of type [Methods] names the methods instead, and saves the reflection of each call.
//
// An actor that has a method OnExit(context.Context) is told when its process ends in order, see [Exiter].
//
// Unless the actor was created with max_concurrency above 1, methods run one at a time, those of one caller in the
// order of its calls. Otherwise up to that many run at once, in no order, and the actor has to be safe for that.
func Register(name string, construct any, options ...Option) {
	if err := register(&classes, name, construct, options...); err != nil {
		panic("worker.Register: " + err.Error())
	}
}

// Exiter is an actor that wants to know of its end. OnExit runs once, when the actor is terminated, goes out of scope, or its
// process gets SIGTERM: the contexts of the methods that run are ended first, and they have
// 2 seconds to return; one that ignores its context may still run beside OnExit. It has until its own ctx ends, 3 seconds
// later, then the process ends regardless. It does not run when the process is killed or crashes, nor when its node ends,
// drained or not: it is no place for what must not be lost.
type Exiter interface{ OnExit(ctx context.Context) }

const exitMethod = "OnExit"

// Classes returns what was registered, sorted by name. It is safe for concurrent use.
func Classes() []Class { return classes.list() }

// classes is what Register fills and Main serves.
var classes registry

type registry struct {
	mu     sync.Mutex // guards the fields below
	byName map[string]*class
	tracer Tracer // may be nil
}

type class struct {
	Class
	actor     reflect.Type // what the constructor makes
	construct func(ctx context.Context, args Args) (any, error)
	methods   map[string]binder
}

// instance is a constructed actor.
type instance struct {
	methods map[string]bound
	onExit  func(ctx context.Context) // may be nil
}

func register(r *registry, name string, construct any, options ...Option) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("class: %w", err)
	}
	c, err := newClass(name, construct, options)
	if err != nil {
		return fmt.Errorf("class %s: %w", name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[name] != nil {
		return fmt.Errorf("class %s: registered twice", name)
	}
	if r.byName == nil {
		r.byName = make(map[string]*class)
	}
	r.byName[name] = c
	return nil
}

func newClass(name string, construct any, options []Option) (*class, error) {
	c := &class{Class: Class{Name: name}}
	if err := c.setConstructor(construct); err != nil {
		return nil, fmt.Errorf("constructor: %w", err)
	}
	for _, o := range options {
		if o == nil {
			return nil, errors.New("an option is nil")
		}
		if err := o.apply(c); err != nil {
			return nil, err
		}
	}
	if c.methods == nil {
		var err error
		if c.methods, err = methodsOf(c.actor); err != nil {
			return nil, err
		}
	}
	if len(c.methods) == 0 {
		return nil, errors.New("no methods")
	}
	c.Methods = slices.Sorted(maps.Keys(c.methods))
	for _, method := range c.Methods {
		if err := checkName(method); err != nil {
			return nil, fmt.Errorf("method: %w", err)
		}
	}
	return c, c.checkGroups()
}

func (c *class) setConstructor(construct any) error {
	f := reflect.ValueOf(construct)
	if construct == nil || f.Kind() != reflect.Func || f.IsNil() {
		return fmt.Errorf("a function is needed, not a %T", construct)
	}
	s, err := signatureOf(f.Type(), 0)
	if err != nil {
		return err
	}
	if s.results != 1 {
		return fmt.Errorf("a %v does not return the actor and, if it may fail, an error", f.Type())
	}
	c.actor = f.Type().Out(0)
	c.construct = func(ctx context.Context, args Args) (any, error) { return s.call(f, nil, ctx, args) }
	return nil
}

func (g ConcurrencyGroup) apply(c *class) error {
	c.Groups = append(c.Groups, g)
	return nil
}

func (c *class) checkGroups() error {
	slices.SortFunc(c.Groups, func(a, b ConcurrencyGroup) int { return strings.Compare(a.Name, b.Name) })
	names, methods := map[string]bool{}, map[string]bool{}
	for _, g := range c.Groups {
		if err := checkName(g.Name); err != nil {
			return fmt.Errorf("concurrency group: %w", err)
		}
		if names[g.Name] || g.MaxConcurrency < 1 || g.MaxConcurrency > math.MaxInt32 {
			return fmt.Errorf("concurrency group %s: it is there twice, or its max concurrency of %d is none", g.Name, g.MaxConcurrency)
		}
		names[g.Name] = true
		for _, m := range g.Methods {
			if c.methods[m] == nil || methods[m] {
				return fmt.Errorf("concurrency group %s: method %q does not exist or is in a group twice", g.Name, m)
			}
			methods[m] = true
		}
	}
	return nil
}

// create runs the constructor and binds the methods to what it made.
func (c *class) create(ctx context.Context, args Args) (*instance, error) {
	actor, err := c.construct(ctx, args)
	if err != nil {
		return nil, err
	}
	i := &instance{methods: make(map[string]bound, len(c.methods))}
	for name, bind := range c.methods {
		i.methods[name] = bind(actor)
	}
	if e, ok := actor.(Exiter); ok {
		i.onExit = e.OnExit
	}
	return i, nil
}

func (r *registry) list() []Class {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Class, 0, len(r.byName))
	for _, name := range slices.Sorted(maps.Keys(r.byName)) {
		c := r.byName[name].Class
		c.Methods = slices.Clone(c.Methods)
		c.Groups = slices.Clone(c.Groups)
		for i := range c.Groups {
			c.Groups[i].Methods = slices.Clone(c.Groups[i].Methods)
		}
		list = append(list, c)
	}
	return list
}

// find returns the class that a creation task names. Python gives the qualified name, so a stub class that a driver
// defines inside a function arrives as "f.<locals>.Counter".
func (r *registry) find(qualified string) (*class, error) {
	name := qualified[strings.LastIndexByte(qualified, '.')+1:]
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.byName[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("this binary has no Go actor class %q; it has %q: register it before worker.Main, or ship another binary",
		name, slices.Sorted(maps.Keys(r.byName)))
}

// pythonKeywords cannot be class or method names in a driver's source text.
var pythonKeywords = strings.Fields(`False None True and as assert async await break class continue def del elif else
	except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield`)

func checkName(name string) error {
	if name == "" {
		return fmt.Errorf("the name is empty")
	}
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q is not an identifier of ASCII letters, digits and underscores", name)
		}
	}
	if slices.Contains(pythonKeywords, name) {
		return fmt.Errorf("%q is a keyword of Python", name)
	}
	if strings.HasPrefix(name, "__") || strings.HasPrefix(name, "_ray_") {
		return fmt.Errorf("%q is reserved for Ray", name)
	}
	return nil
}
