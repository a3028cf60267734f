package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Method is one method of a Go actor. A method expression of the actor's type fits, as in (*Counter).Incr.
//
// A result of type []byte reaches the caller as Python bytes and is handed over: it must not be changed afterwards.
// Any other result has to be nil, a boolean, an integer, a float, a string, or a slice, a map with string keys or a
// struct (by its json tags) of these. A caller that asked for several return values needs a []any of that length.
//
// An error, and a panic with its stack, reach the caller as an exception; the process lives on. ctx ends when the actor
// exits or the caller cancels the call, but not when the caller goes away: Ray runs what it has accepted.
type Method[A any] func(actor A, ctx context.Context, args Args) (any, error)

// Class names a registered actor class and its methods: what a driver needs to make handles for it.
type Class struct {
	Name    string
	Methods []string // sorted
}

// Register makes a Go type available as an actor class. It is meant for func init or the first lines of main, before
// Main, and like http.Handle it panics when the program is wrong: on an invalid or duplicate name, a nil function, or
// no methods. Names have to be valid in Python, for drivers there use them as they are; names that begin with two
// underscores belong to Ray.
//
// construct runs once a process, with the arguments of the actor's creation. When it fails, Ray marks the actor dead
// and callers see the error; nothing else runs.
//
// Unless the actor was created with max_concurrency above 1, methods run one at a time, those of one caller in the
// order of its calls. Otherwise up to that many run at once, in no order, and the actor has to be safe for that.
func Register[A any](name string, construct func(ctx context.Context, args Args) (A, error), methods map[string]Method[A]) {
	if err := register(&classes, name, construct, methods); err != nil {
		panic("worker.Register: " + err.Error())
	}
}

// Classes returns what was registered, sorted by name. It is safe for concurrent use.
func Classes() []Class { return classes.list() }

// classes is what Register fills and Main serves.
var classes registry

type registry struct {
	mu     sync.Mutex // guards byName
	byName map[string]*class
}

type class struct {
	Class
	construct func(ctx context.Context, args Args) (instance, error)
}

// instance holds the methods of one constructed actor by name.
type instance map[string]func(ctx context.Context, args Args) (any, error)

func register[A any](r *registry, name string, construct func(ctx context.Context, args Args) (A, error), methods map[string]Method[A]) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("class: %w", err)
	}
	if construct == nil {
		return fmt.Errorf("class %s: no constructor", name)
	}
	if len(methods) == 0 {
		return fmt.Errorf("class %s: no methods", name)
	}
	for method, f := range methods {
		if err := checkName(method); err != nil {
			return fmt.Errorf("class %s: method: %w", name, err)
		}
		if f == nil {
			return fmt.Errorf("class %s: method %s is nil", name, method)
		}
	}
	methods = maps.Clone(methods)
	c := &class{
		Class: Class{Name: name, Methods: slices.Sorted(maps.Keys(methods))},
		construct: func(ctx context.Context, args Args) (instance, error) {
			actor, err := construct(ctx, args)
			if err != nil {
				return nil, err
			}
			bound := make(instance, len(methods))
			for method, f := range methods {
				bound[method] = func(ctx context.Context, args Args) (any, error) { return f(actor, ctx, args) }
			}
			return bound, nil
		},
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

func (r *registry) list() []Class {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Class, 0, len(r.byName))
	for _, name := range slices.Sorted(maps.Keys(r.byName)) {
		c := r.byName[name].Class
		c.Methods = slices.Clone(c.Methods)
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
