package worker

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"unicode"
)

// Method is one method of an actor class in the form that everything else is brought into. A method expression of the
// actor's type fits, as in (*Counter).Incr. It reads its arguments from args, by position or by name.
//
// A result of type []byte reaches the caller as Python bytes and is handed over: it must not be changed afterwards.
// Any other result has to be nil, a boolean, an integer, a float, a string, or a slice, a map with text or integer keys or a
// struct (by its json tags) of these, an [Async], or an iter.Seq[T] or iter.Seq2[T, error] of these. A caller that asked
// for several return values needs a []any of that length.
//
// An iter.Seq or iter.Seq2 is a stream: callers get its items one by one, with num_returns="streaming" in Python and
// [ray.Direct.Stream] in Go, and no other call gets anything from it (ErrStreaming). The sequence is ranged over on the
// slot of the call; it waits while the caller has not taken as many items as the caller allows, and is left when the
// caller cancels the call or goes away. An error in it, or a panic, comes to the caller after the items before it.
//
// An error, and a panic with its stack, reach the caller as an exception; the process lives on. ctx ends when the actor
// exits or the caller cancels the call, but not when the caller goes away: Ray runs what it has accepted.
type Method[A any] func(actor A, ctx context.Context, args Args) (any, error)

// Methods is the table of a class's methods by the names that callers use. As an option of [Register] it takes the place
// of the methods that Register would find by reflection, and a call then costs no reflection:
//
//	worker.Register("Counter", NewCounter, worker.Methods[*Counter]{
//		"add":  worker.Takes1((*Counter).Add), // func (c *Counter) Add(ctx context.Context, delta int64) (int64, error)
//		"read": (*Counter).read,               // func (c *Counter) read(ctx context.Context, args worker.Args) (any, error)
//	})
type Methods[A any] map[string]Method[A]

// Takes0 makes a Method of one without arguments.
func Takes0[A, R any](f func(actor A, ctx context.Context) (R, error)) Method[A] {
	if f == nil {
		return nil
	}
	return func(actor A, ctx context.Context, args Args) (any, error) {
		if err := args.expect(0, false); err != nil {
			return nil, err
		}
		return f(actor, ctx)
	}
}

// Takes1 makes a Method of one with one argument, which is decoded as [Args.Decode] does.
func Takes1[A, P, R any](f func(actor A, ctx context.Context, p P) (R, error)) Method[A] {
	if f == nil {
		return nil
	}
	return func(actor A, ctx context.Context, args Args) (any, error) {
		var p P
		if err := args.all(&p); err != nil {
			return nil, err
		}
		return f(actor, ctx, p)
	}
}

// Takes2 makes a Method of one with two arguments. For more, a struct or [Args] is the better argument.
func Takes2[A, P, Q, R any](f func(actor A, ctx context.Context, p P, q Q) (R, error)) Method[A] {
	if f == nil {
		return nil
	}
	return func(actor A, ctx context.Context, args Args) (any, error) {
		var p P
		var q Q
		if err := args.all(&p, &q); err != nil {
			return nil, err
		}
		return f(actor, ctx, p, q)
	}
}

// Async is a result that comes later. A method that returns one gives its slot up: the next call starts, in order, while
// the function runs beside it, and what the function returns is the result of the call. An actor that handles one call
// at a time can so begin calls in order and wait for slow things at once. The function must not touch the actor's state
// without a lock. ctx is that of the method.
//
// At most 10,000 run at a time in one actor; further ones fail.
type Async func(ctx context.Context) (any, error)

func (m Methods[A]) apply(c *class) error {
	if want := reflect.TypeFor[A](); c.actor != want {
		return fmt.Errorf("the methods are those of a %v and the constructor makes a %v", want, c.actor)
	}
	c.methods = make(map[string]binder, len(m))
	for name, f := range m {
		if f == nil {
			return fmt.Errorf("method %s is nil", name)
		}
		c.methods[name] = func(actor any) bound {
			a := actor.(A)
			return func(ctx context.Context, args Args) (any, error) { return f(a, ctx, args) }
		}
	}
	return nil
}

// bound is a method of one actor, and binder makes one of an actor.
type (
	bound  func(ctx context.Context, args Args) (any, error)
	binder func(actor any) bound
)

var (
	contextType = reflect.TypeFor[context.Context]()
	argsType    = reflect.TypeFor[Args]()
	errorType   = reflect.TypeFor[error]()
)

// methodsOf finds the methods of an actor's type that callers may use: the exported ones whose first parameter is a
// context, by their names in snake_case. One of them that cannot be called is an error.
func methodsOf(actor reflect.Type) (map[string]binder, error) {
	if actor.Kind() == reflect.Interface {
		return nil, fmt.Errorf("the constructor returns the interface %v: name the methods with an option of type worker.Methods[%v]", actor, actor)
	}
	methods := make(map[string]binder)
	for i := range actor.NumMethod() {
		m := actor.Method(i)
		if m.Name == exitMethod || m.Type.NumIn() < 2 || m.Type.In(1) != contextType {
			continue
		}
		s, err := signatureOf(m.Type, 1)
		if err != nil {
			return nil, fmt.Errorf("method %s: %w", m.Name, err)
		}
		name := snakeCase(m.Name)
		if methods[name] != nil {
			return nil, fmt.Errorf("two methods are called %s in snake_case", name)
		}
		methods[name] = func(actor any) bound {
			receiver := reflect.ValueOf(actor)
			return func(ctx context.Context, args Args) (any, error) {
				return s.call(m.Func, []reflect.Value{receiver}, ctx, args)
			}
		}
	}
	if len(methods) == 0 {
		return nil, fmt.Errorf("%v has no exported method whose first parameter is a context.Context, so there is nothing to call", actor)
	}
	return methods, nil
}

// signature is how a function is called with the arguments of a task.
type signature struct {
	context  bool           // takes a context first
	raw      bool           // takes Args
	params   []reflect.Type // what follows; the last one is the element's type when variadic
	variadic bool
	results  int // beside an error
	fails    bool
}

// signatureOf reads the type of a function, from parameter skip on.
func signatureOf(f reflect.Type, skip int) (*signature, error) {
	s := &signature{variadic: f.IsVariadic()}
	for i := skip; i < f.NumIn(); i++ {
		p := f.In(i)
		switch {
		case p == contextType && i == skip:
			s.context = true
			continue
		case p == argsType:
			if i != f.NumIn()-1 || len(s.params) > 0 || s.variadic {
				return nil, fmt.Errorf("parameter %d is worker.Args, which stands for all arguments, and there are others", i-skip+1)
			}
			s.raw = true
			continue
		case s.variadic && i == f.NumIn()-1:
			p = p.Elem()
		}
		if err := travels(p, 0); err != nil {
			return nil, fmt.Errorf("parameter %d: %w", i-skip+1, err)
		}
		s.params = append(s.params, p)
	}
	s.results = f.NumOut()
	if n := f.NumOut(); n > 0 && f.Out(n-1) == errorType {
		s.fails, s.results = true, n-1
	}
	for i := range s.results {
		if f.Out(i) == errorType {
			return nil, fmt.Errorf("result %d is an error: only the last one can be", i+1)
		}
		result := f.Out(i)
		if result == reflect.TypeFor[Async]() {
			continue
		}
		if streams(result) {
			if s.results > 1 {
				return nil, fmt.Errorf("result %d is a stream: it has to be the only one beside an error", i+1)
			}
			result = itemType(result)
		}
		if err := travels(result, 0); err != nil {
			return nil, fmt.Errorf("result %d: %w", i+1, err)
		}
	}
	return s, nil
}

// travels tells whether values of a type can be arguments or results. Structs are not looked into: their tags may leave
// fields out.
func travels(t reflect.Type, depth int) error {
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return fmt.Errorf("a %v cannot travel between processes", t)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		if depth > 10 {
			return nil // a type that contains itself
		}
		return travels(t.Elem(), depth+1)
	default:
		return nil
	}
}

// call runs f with its first parameters given and the others taken from ctx and args. Several results are a []any.
func (s *signature) call(f reflect.Value, in []reflect.Value, ctx context.Context, args Args) (any, error) { //nolint:revive // the context is a parameter among others here
	if s.context {
		in = append(in, reflect.ValueOf(ctx))
	}
	if s.raw {
		in = append(in, reflect.ValueOf(args))
	} else if err := s.decode(&in, args); err != nil {
		return nil, err
	}
	out := f.Call(in)
	if s.fails {
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			return nil, err
		}
	}
	switch s.results {
	case 0:
		return nil, nil
	case 1:
		return out[0].Interface(), nil
	}
	values := make([]any, s.results)
	for i := range values {
		values[i] = out[i].Interface()
	}
	return values, nil
}

func (s *signature) decode(in *[]reflect.Value, args Args) error {
	fixed := len(s.params)
	if s.variadic {
		fixed--
	}
	if err := args.expect(fixed, s.variadic); err != nil {
		return err
	}
	for i := range args.Len() {
		into := reflect.New(s.params[min(i, len(s.params)-1)])
		if err := args.Decode(i, into.Interface()); err != nil {
			return err
		}
		*in = append(*in, into.Elem())
	}
	return nil
}

// snakeCase turns ExecuteTask into execute_task and GetHTTPCode2 into get_http_code2: a word begins at a capital that
// follows a small letter or a digit, or that a small letter follows.
func snakeCase(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) {
			before, after := runes[i-1], 'A'
			if i+1 < len(runes) {
				after = runes[i+1]
			}
			if before != '_' && (!unicode.IsUpper(before) || unicode.IsLower(after)) {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
