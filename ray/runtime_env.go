package ray

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seedcore/seedcore/internal/wire/pyvalue"
)

// RuntimeEnv is what Ray sets up for the processes of a session, a task or an actor. Empty fields are left out. Wrong
// values are ErrInvalidOption before anything is sent; what the cluster cannot set up is ErrRuntimeEnvSetup.
type RuntimeEnv struct {
	// WorkingDir is the URI of a package, such as Package.URI returns. A directory of this machine is packed with
	// FilePackage first.
	WorkingDir string
	// PyModules are URIs of packages whose modules can be imported.
	PyModules []string
	// PyExecutable is started in place of Python, relative to the working directory. The program of a Go actor (GoRuntimeEnv) is
	// for actors only, and refused elsewhere with ErrActorsOnly: Ray would start it for everything that inherits it.
	PyExecutable string
	// EnvVars are added to the environment of the processes.
	EnvVars map[string]string
	// Pip are requirements that the nodes install with pip. It excludes "conda" and "uv" in More.
	Pip []string
	// SetupTimeout bounds the setup, in whole seconds; 0: Ray's default of ten minutes.
	SetupTimeout time.Duration
	// More holds further fields of Ray's runtime environments by Ray's names, such as "conda", "uv", "container",
	// "image_uri", "nsight" and "worker_process_setup_hook". Values are as for Put, without refs. The hook is the dotted name
	// of a function that every process calls before its first task; where it raises, the process ends, and its tasks fail with
	// ErrWorkerCrashed. Python's client cannot give one: Ray leaves hooks of clients, and of single tasks and actors, out.
	More map[string]any
}

// furtherFields are the fields that go through More.
var furtherFields = []string{"conda", "container", "image_uri", "java_jars", "mpi", "nsight", "_nsight", "rocprof_sys", "uv", "worker_process_setup_hook"}

// maxMore bounds one field of More, in bytes.
const maxMore = 1 << 20

// packageSchemes are the protocols from which Ray's nodes fetch packages.
var packageSchemes = []string{"gcs", "http", "https", "s3", "gs", "azure", "abfss", "file"}

func checkPackageURI(field, uri string) error {
	scheme, _, ok := strings.Cut(uri, "://")
	switch {
	case !ok:
		return fmt.Errorf("%s: %q is no URI; pack a directory of this machine with FilePackage and upload it", field, uri)
	case !slices.Contains(packageSchemes, scheme):
		return fmt.Errorf("%s: %q: Ray fetches packages by %s", field, uri, strings.Join(packageSchemes, ", "))
	case !strings.HasSuffix(uri, ".zip") && !strings.HasSuffix(uri, ".whl") && !strings.HasSuffix(uri, ".jar") && !strings.HasSuffix(uri, ".tar.gz"):
		return fmt.Errorf("%s: %q does not end in .zip, .whl, .jar or .tar.gz", field, uri)
	}
	return checkText(uri)
}

// ErrActorsOnly means: the program of a Go actor was given as the runtime environment of a session, a task or a job, where
// Ray would start it in place of Python, for tasks that it cannot run. Nothing was sent. Give it in ActorOptions. It comes with
// ErrInvalidOption.
var ErrActorsOnly = errors.New("ray: a Go program runs actors only: give its RuntimeEnv in ActorOptions")

// forActorsOnly refuses the program of a Go actor in the environment of something else.
func (e *RuntimeEnv) forActorsOnly() error {
	if e != nil && e.PyExecutable == goProgram {
		return ErrActorsOnly
	}
	return nil
}

const (
	setupHook = "worker_process_setup_hook"
	// setupHookVariable is where Ray's processes find the hook. Only drivers that are no clients put it there, for their jobs.
	setupHookVariable = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"
)

// processOptions is options for what has processes of Python: all but submitted jobs, whose own driver sees to the hook.
func (e *RuntimeEnv) processOptions() (map[string]any, error) {
	env, err := e.options()
	if hook, ok := e.More[setupHook].(string); ok && err == nil {
		variables := maps.Clone(e.EnvVars)
		if variables == nil {
			variables = map[string]string{}
		}
		variables[setupHookVariable] = hook
		env["env_vars"] = variables
	}
	return env, err
}

// checkSetupHook refuses what is no function by name.
func checkSetupHook(hook any) error {
	name, ok := hook.(string)
	if ok {
		if i := strings.LastIndexByte(name, '.'); i > 0 && (Function{Module: name[:i], Name: name[i+1:]}).check() == nil {
			return nil
		}
	}
	return fmt.Errorf("more: %s: %.100q is not the dotted name of a function, such as module.function", setupHook, fmt.Sprint(hook))
}

// options checks e and returns it as Ray's dict.
func (e *RuntimeEnv) options() (map[string]any, error) {
	env := map[string]any{}
	var errs []error
	if e.WorkingDir != "" {
		errs = append(errs, checkPackageURI("working dir", e.WorkingDir))
		env["working_dir"] = e.WorkingDir
	}
	if len(e.PyModules) > 0 {
		for i, uri := range e.PyModules {
			errs = append(errs, checkPackageURI(fmt.Sprintf("py modules[%d]", i), uri))
		}
		env["py_modules"] = e.PyModules
	}
	if e.PyExecutable != "" {
		env["py_executable"] = e.PyExecutable
	}
	if len(e.EnvVars) > 0 {
		for _, name := range slices.Sorted(maps.Keys(e.EnvVars)) {
			errs = append(errs, option(name != "" && !strings.ContainsAny(name, "=\x00"), "env vars: %q is no name of a variable", name),
				option(!strings.Contains(e.EnvVars[name], "\x00"), "env vars: the value of %s has a zero byte", name),
				checkText(name), checkText(e.EnvVars[name]))
		}
		env["env_vars"] = e.EnvVars
	}
	if len(e.Pip) > 0 {
		for i, requirement := range e.Pip {
			errs = append(errs, option(strings.TrimSpace(requirement) != "", "pip[%d]: empty", i))
		}
		for _, other := range []string{"conda", "uv"} {
			_, also := e.More[other]
			errs = append(errs, option(!also, "pip: excluded by %s", other))
		}
		env["pip"] = e.Pip
	}
	if e.SetupTimeout != 0 {
		errs = append(errs, option(e.SetupTimeout >= time.Second, "setup timeout: %v is less than a second", e.SetupTimeout))
		env["config"] = map[string]any{"setup_timeout_seconds": int64(e.SetupTimeout / time.Second), "eager_install": true}
	}
	for _, name := range slices.Sorted(maps.Keys(e.More)) {
		if !slices.Contains(furtherFields, name) {
			errs = append(errs, fmt.Errorf("more: %q is none of %s", name, strings.Join(furtherFields, ", ")))
			continue
		}
		if name == setupHook {
			errs = append(errs, checkSetupHook(e.More[name]))
		}
		// Without a session: a ref makes no sense here.
		value, err := (&pyvalue.Encoder{MaxBytes: maxMore}).Value(e.More[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("more: %s: %w", name, err))
		}
		env[name] = value
	}
	return env, errors.Join(errs...)
}
