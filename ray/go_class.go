package ray

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// goModule is the module that stub classes say they come from. It must not be importable: Ray then sends the class along
// by value.
const goModule = "seedcore_go"

// MaxGoValue bounds one argument and one result of a Go actor, in bytes of its encoded form. Ray's drivers keep values above
// max_direct_call_object_size (100 KiB unless it is raised, see package worker) in the object store instead, which a Go
// actor does not read.
const MaxGoValue = 16 << 20

// pythonKeywords cannot be names of classes or methods.
var pythonKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
	"else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
	"pass", "raise", "return", "try", "while", "with", "yield",
}

// GoClass makes a class for actors whose process is a Go program (see package worker and GoRuntimeEnv). For
// Ray and for Python drivers it is a class with these methods, which take any arguments; in a Python process, where it
// ends up when RuntimeEnv is missing, its constructor raises. Names must be Python identifiers, and methods must not
// begin with two underscores. Every actor of the class has its groups; ActorOptions may change how many calls run at once
// in one, and add others.
func (s *Session) GoClass(ctx context.Context, name string, methods []string, groups ...ConcurrencyGroup) (*ActorClass, error) {
	target := "go class " + name
	source, err := stubSource(name, methods, groups...)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	class, err := s.class(ctx, target, name, defined(goModule, source, name))
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if class.groups == nil {
			class.groups = map[string]int{}
		}
		class.groups[g.Name] = g.MaxConcurrency
	}
	return class, nil
}

// ConcurrencyGroup is a part of a class: calls of its methods run beside those of others, at most MaxConcurrency at once.
type ConcurrencyGroup struct {
	Name           string
	MaxConcurrency int
	Methods        []string
}

// stubSource returns the Python source of a class whose methods exist by name only.
func stubSource(name string, methods []string, groups ...ConcurrencyGroup) (string, error) {
	var errs []error
	if !isDefinable(name) {
		errs = append(errs, fmt.Errorf("class name %q is not a Python identifier", name))
	}
	for _, m := range methods {
		if !isDefinable(m) || strings.HasPrefix(m, "__") {
			errs = append(errs, fmt.Errorf("method name %q is not a Python identifier, or begins with two underscores", m))
		}
	}
	groupOf := map[string]string{}
	for _, g := range groups {
		if !isDefinable(g.Name) || g.MaxConcurrency < 1 || g.MaxConcurrency > math.MaxInt32 {
			errs = append(errs, fmt.Errorf("concurrency group %q is not a Python identifier, or its max concurrency of %d is none", g.Name, g.MaxConcurrency))
		}
		for _, m := range g.Methods {
			if groupOf[m] != "" || !slices.Contains(methods, m) {
				errs = append(errs, fmt.Errorf("concurrency group %q: method %q does not exist or is in a group twice", g.Name, m))
			}
			groupOf[m] = g.Name
		}
	}
	if len(errs) > 0 {
		return "", fmt.Errorf("%w: %w", ErrUnsupportedValue, errors.Join(errs...))
	}
	methods = slices.Compact(slices.Sorted(slices.Values(methods)))
	var b strings.Builder
	fmt.Fprintf(&b, "class %s:\n", name)
	b.WriteString("    def __init__(self, *args, **kwargs):\n" +
		"        raise RuntimeError(\"this is a Go actor; create it with the runtime_env of its Go program\")\n")
	for _, m := range methods {
		fmt.Fprintf(&b, "    def %s(self, *args, **kwargs):\n        raise NotImplementedError\n", m)
		if g := groupOf[m]; g != "" { // what ray.method does, which cannot be imported before Ray is there
			fmt.Fprintf(&b, "    %s.__ray_concurrency_group__ = %q\n", m, g)
		}
	}
	return b.String(), nil
}

func isDefinable(s string) bool { return isIdentifier(s) && !slices.Contains(pythonKeywords, s) }

// goProgram starts the program of a package. Ray before 2.54 drops the mode of what it unpacks, and only the shell in which
// a raylet starts it can put that right. While it is unpacked, a process that was forked at that moment may hold it open for
// writing, and Linux refuses to start it ("text file busy"): that passes within milliseconds. Bash gives 126 for it, as for
// some lasting refusals, which are therefore seen after two seconds. Where a package has programs for several platforms, the
// node takes its own.
const goProgram = "bash -c 'shopt -s execfail; p=./" + PackagedBinary + `; [ -e $p ] || p=$p-$(uname -m); ` +
	`[ -e $p ] || { echo "no program for $(uname -m) in $PWD" >&2; exit 127; }; [ -x $p ] || chmod +x $p; ` +
	`for pause in 0.1 0.4 0.5 1 0; do exec $p "$@"; s=$?; [ $s = 126 ] || break; sleep $pause; done; exit $s' ` + PackagedBinary

// GoRuntimeEnv is the runtime environment of an actor whose process is the program of a package, by the URI that
// UploadPackage returned. It is for actors only, and refused elsewhere (ErrActorsOnly): in the runtime environment of a
// session, a job or a task, Ray would start the program for tasks, too.
func GoRuntimeEnv(uri string) *RuntimeEnv {
	return &RuntimeEnv{WorkingDir: uri, PyExecutable: goProgram}
}

// goActorVersions are the versions of Ray, by their first two numbers, on which Go actors were tested.
var goActorVersions = []string{"2.48", "2.54", "2.60"}

// GoActorVersions returns the versions of Ray on which Go actors were tested, by their first two numbers, such as "2.60".
func GoActorVersions() []string { return slices.Clone(goActorVersions) }

// goLayoutVariable is what package worker reads: see its documentation.
const goLayoutVariable = "SEEDCORE_RAY_LAYOUT"

// checkGoActor refuses a Go actor on a version of Ray where its process would not come up: an earlier one starts Python
// instead, and on others package worker ends.
func (e *RuntimeEnv) checkGoActor(rayVersion string) error {
	if e == nil || e.PyExecutable != goProgram || e.EnvVars[goLayoutVariable] != "" {
		return nil
	}
	major, rest, _ := strings.Cut(rayVersion, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if slices.Contains(goActorVersions, major+"."+minor) {
		return nil
	}
	return fmt.Errorf("%w: Go actors are tested on Ray %s, and the cluster runs %s; %s in RuntimeEnv.EnvVars may name the one that it is like",
		ErrUnsupportedVersion, strings.Join(goActorVersions, ", "), rayVersion, goLayoutVariable)
}
