package ray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// goModule is the module that stub classes say they come from. It must not be importable: Ray then sends the class along
// by value.
const goModule = "seedcore_go"

// pythonKeywords cannot be names of classes or methods.
var pythonKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
	"else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
	"pass", "raise", "return", "try", "while", "with", "yield",
}

// GoClass makes a class for actors whose process is a Go program (see package worker and RuntimeEnv.PyExecutable). For
// Ray and for Python drivers it is a class with these methods, which take any arguments; in a Python process, where it
// ends up when RuntimeEnv is missing, its constructor raises. Names must be Python identifiers, and methods must not
// begin with two underscores.
func (s *Session) GoClass(ctx context.Context, name string, methods []string) (*ActorClass, error) {
	target := "go class " + name
	source, err := stubSource(name, methods)
	if err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	return s.class(ctx, target, name, defined(goModule, source, name))
}

// stubSource returns the Python source of a class whose methods exist by name only.
func stubSource(name string, methods []string) (string, error) {
	var errs []error
	if !isDefinable(name) {
		errs = append(errs, fmt.Errorf("class name %q is not a Python identifier", name))
	}
	for _, m := range methods {
		if !isDefinable(m) || strings.HasPrefix(m, "__") {
			errs = append(errs, fmt.Errorf("method name %q is not a Python identifier, or begins with two underscores", m))
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
	}
	return b.String(), nil
}

func isDefinable(s string) bool { return isIdentifier(s) && !slices.Contains(pythonKeywords, s) }

// goProgram starts the program of a package. Ray before 2.54 drops the mode of what it unpacks, and only the shell in which
// a raylet starts it can put that right.
const goProgram = "bash -c '[ -x " + PackagedBinary + " ] || chmod +x " + PackagedBinary + "; exec ./" + PackagedBinary + ` "$@"' ` + PackagedBinary

// GoRuntimeEnv is the runtime environment of an actor whose process is the program of a package, by the URI that
// UploadPackage returned. Use it for actors only: in the runtime environment of a job or a task, Ray would start the
// program for tasks, too.
func GoRuntimeEnv(uri string) *RuntimeEnv {
	return &RuntimeEnv{WorkingDir: uri, PyExecutable: goProgram}
}
