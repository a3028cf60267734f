package ray

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// TaskOptions say how a task is run. The zero value is Ray's defaults: one CPU, three retries after a crash, one result.
// Wrong values are ErrInvalidOption before anything is sent; what only Ray knows to be wrong, such as a label that it does
// not allow, is a *TaskError.
type TaskOptions struct {
	// Name of the task in Ray's dashboard and state API; empty: the function's.
	Name string
	// NumCPUs is reserved while the task runs; nil: Ray's default, 1.
	NumCPUs *float64
	// NumGPUs is reserved while the task runs. Above 1 it must be whole.
	NumGPUs float64
	// Memory is reserved while the task runs, in bytes; 0: none.
	Memory int64
	// Resources are custom resources of the cluster by name. CPU, GPU and memory have fields of their own.
	Resources map[string]float64
	// AcceleratorType is the kind of accelerator that the node must have, such as "A100"; empty: any.
	AcceleratorType string
	// LabelSelector restricts the nodes to those with such labels.
	LabelSelector map[string]string
	// FallbackLabels are selectors that are tried in turn where no node has the labels of LabelSelector. Earlier versions of
	// Ray than 2.60 may refuse them.
	FallbackLabels []map[string]string
	// NoTaskEvents keeps the task out of the state API, the timeline and Ray's metrics, which costs less.
	NoTaskEvents bool
	// MaxRetries is how often Ray runs the task again when its process or node ends; -1 for ever; nil: Ray's default, 3.
	MaxRetries *int
	// RetryExceptions makes Ray also retry when the function raises one of these classes, of which "Exception" is the base
	// of most. Without a module a name is one of Python's own.
	RetryExceptions []Function
	// MaxCalls is after how many tasks of this function its worker process is replaced; 0: never. Functions count as
	// different ones for each number. What Python declares with num_gpus has 1 there, so that the memory of the GPU is given
	// back; here it has to be said.
	MaxCalls int
	// NumReturns is the number of results that the function returns as a tuple or list, 0 for none; nil: one result.
	NumReturns *int
	// DynamicReturns is for a generator that yields as many results as it wants: there is one ref then, whose value is for
	// Session.DynamicRefs. It excludes NumReturns.
	DynamicReturns bool
	// SchedulingStrategy chooses the node; nil: Ray's default.
	SchedulingStrategy SchedulingStrategy
	// RuntimeEnv of the task's process; nil: the session's.
	RuntimeEnv *RuntimeEnv
}

// MethodOptions say how a method of an actor is called. The zero value is Ray's defaults.
type MethodOptions struct {
	// Name of the call in Ray's dashboard and state API; empty: the method's.
	Name string
	// NumReturns and DynamicReturns are as in TaskOptions.
	NumReturns     *int
	DynamicReturns bool
	// ConcurrencyGroup in which the method runs; empty: that of its declaration. One that the actor does not have ends the
	// actor's process. CreateActor knows the groups of what it made, so that its handles refuse others; Ray does not tell
	// those of an actor that GetActor or GetIfExists found.
	ConcurrencyGroup string
	// MaxTaskRetries is how often Ray calls again when the actor restarted, or raised one of RetryExceptions, in place of the
	// actor's own; nil: the actor's; -1 for ever. Where the actor's own is 0, an attempt that finds the actor still
	// restarting fails, and counts: with 1 the call is as good as not repeated, as in Python.
	MaxTaskRetries *int
	// RetryExceptions are as in TaskOptions.
	RetryExceptions []Function
}

// ActorOptions say how an actor is made. The zero value makes an actor without a name that needs no CPU, is not
// restarted, and ends with its last handle or with the session. Wrong values are ErrInvalidOption before anything is sent,
// or a *TaskError as with TaskOptions.
type ActorOptions struct {
	// Name makes the actor known in its namespace; empty: no name.
	Name string
	// Namespace of the name; empty: the session's.
	Namespace string
	// Detached lets the actor outlive its handles and the session.
	Detached bool
	// GetIfExists returns the actor of that name if there is one, whatever its class and options.
	GetIfExists bool
	// MaxRestarts is how often Ray restarts the actor's process; -1 for ever.
	MaxRestarts int
	// MaxTaskRetries is how often Ray repeats a call whose process ended under it; -1 for ever. Calls then may run more than
	// once.
	MaxTaskRetries int
	// MaxPendingCalls bounds the calls that wait at each caller; 0: no bound. Above it calls fail with ErrOverloaded.
	MaxPendingCalls int
	// NumCPUs is reserved while the actor lives. It is always sent, also as 0.
	NumCPUs float64
	// NumGPUs, Memory (bytes), Resources, AcceleratorType, LabelSelector and FallbackLabels are as in TaskOptions, while the
	// actor lives; NoTaskEvents is that of its calls.
	NumGPUs         float64
	Memory          int64
	Resources       map[string]float64
	AcceleratorType string
	LabelSelector   map[string]string
	FallbackLabels  []map[string]string
	NoTaskEvents    bool
	// OutOfOrder lets a call whose arguments are there start before an earlier one of the same caller whose are not.
	OutOfOrder bool
	// MaxConcurrency is how many calls run at once; 0: Ray's default, one for classes without async methods.
	MaxConcurrency int
	// ConcurrencyGroups are groups of methods by name, with how many calls of each run at once, beside those of the class.
	ConcurrencyGroups map[string]int
	// SchedulingStrategy chooses the node; nil: Ray's default.
	SchedulingStrategy SchedulingStrategy
	// RuntimeEnv of the actor's process; nil: the session's.
	RuntimeEnv *RuntimeEnv
}

// demand is what tasks and actors ask of the cluster alike.
type demand struct {
	numCPUs         *float64
	numGPUs         float64
	memory          int64
	resources       map[string]float64
	acceleratorType string
	labels          map[string]string
	fallback        []map[string]string
	noEvents        bool
	strategy        SchedulingStrategy
	env             *RuntimeEnv
}

// option is a check that failed, or nil.
func option(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func isAmount(x float64) bool { return x >= 0 && !math.IsInf(x, 0) }

// isDemand is isAmount for what a task or an actor asks for: Ray counts in ten thousandths, and refuses what would be none.
func isDemand(x float64) bool { return isAmount(x) && (x == 0 || x >= 1e-4) }

func isCount(n, least int) bool { return n >= least && n <= math.MaxInt32 }

// put checks d and adds it to Ray's keyword arguments.
func (d demand) put(kwargs map[string]any) error {
	var errs []error
	if d.numCPUs != nil {
		errs = append(errs, option(isDemand(*d.numCPUs), "num cpus: %v is no amount, of which the least is 0.0001", *d.numCPUs))
		kwargs["num_cpus"] = *d.numCPUs
	}
	errs = append(errs,
		option(isDemand(d.numGPUs) && (d.numGPUs <= 1 || d.numGPUs == math.Trunc(d.numGPUs)), "num gpus: %v is neither a fraction of one nor whole", d.numGPUs),
		option(d.memory >= 0, "memory: %d is negative", d.memory))
	if d.numGPUs > 0 {
		kwargs["num_gpus"] = d.numGPUs
	}
	if d.memory > 0 {
		kwargs["memory"] = d.memory
	}
	for _, name := range slices.Sorted(maps.Keys(d.resources)) {
		amount := d.resources[name]
		switch {
		case name == "" || name == "CPU" || name == "GPU" || name == "memory" || name == "object_store_memory":
			errs = append(errs, fmt.Errorf("resources: %q is no custom resource", name))
		case !isDemand(amount):
			errs = append(errs, fmt.Errorf("resources: %v of %s is no amount, of which the least is 0.0001", amount, name))
		}
	}
	if len(d.resources) > 0 {
		kwargs["resources"] = d.resources
	}
	if d.acceleratorType != "" {
		kwargs["accelerator_type"] = d.acceleratorType
	}
	if len(d.labels) > 0 {
		kwargs["label_selector"] = d.labels
	}
	if len(d.fallback) > 0 {
		errs = append(errs, option(len(d.labels) > 0, "fallback labels: need a label selector"))
		each := make([]any, len(d.fallback))
		for i, labels := range d.fallback {
			errs = append(errs, option(len(labels) > 0, "fallback labels[%d]: empty", i))
			each[i] = map[string]any{"label_selector": labels}
		}
		kwargs["fallback_strategy"] = each
	}
	if d.noEvents {
		kwargs["enable_task_events"] = false
	}
	if d.strategy != nil {
		var strategy any
		err := errors.New("nil")
		if v := reflect.ValueOf(d.strategy); v.Kind() != reflect.Pointer || !v.IsNil() {
			strategy, err = d.strategy.strategy()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("scheduling strategy: %w", err))
		}
		kwargs["scheduling_strategy"] = strategy
	}
	if d.env != nil {
		env, err := d.env.processOptions()
		if err != nil {
			errs = append(errs, fmt.Errorf("runtime env: %w", err))
		}
		kwargs["runtime_env"] = env
	}
	return errors.Join(errs...)
}

// putReturns checks and adds what tasks and methods have in common.
func putReturns(kwargs map[string]any, name string, numReturns *int, dynamic bool, retry []Function) error {
	var errs []error
	if name != "" {
		kwargs["name"] = name
	}
	if numReturns != nil {
		errs = append(errs, option(isCount(*numReturns, 0), "num returns: %d is no count", *numReturns),
			option(!dynamic, "num returns: excluded by dynamic returns"))
		kwargs["num_returns"] = *numReturns
	}
	if dynamic {
		kwargs["num_returns"] = "dynamic"
	}
	if len(retry) > 0 {
		classes := make([]any, len(retry))
		for i, class := range retry {
			if class.Module == "" {
				class.Module = "builtins"
			}
			errs = append(errs, option(class.Source == "" && class.check() == nil, "retry exceptions: %q is no dotted Python name", class))
			classes[i] = pickle.Global{Module: class.Module, Name: class.Name}
		}
		kwargs["retry_exceptions"] = classes
	}
	return errors.Join(errs...)
}

// pickledOptions are options as Ray's keyword arguments, and their pickle; both are nil if all are the defaults.
type pickledOptions struct {
	kwargs map[string]any
	data   []byte
}

// pickled returns the options as Ray's keyword arguments.
func (o TaskOptions) pickled() (pickledOptions, error) {
	kwargs := map[string]any{}
	err := errors.Join(
		putReturns(kwargs, o.Name, o.NumReturns, o.DynamicReturns, o.RetryExceptions),
		demand{o.NumCPUs, o.NumGPUs, o.Memory, o.Resources, o.AcceleratorType, o.LabelSelector, o.FallbackLabels, o.NoTaskEvents, o.SchedulingStrategy, o.RuntimeEnv}.put(kwargs),
		option(isCount(o.MaxCalls, 0), "max calls: %d is no count", o.MaxCalls), o.RuntimeEnv.forActorsOnly(),
	)
	if o.MaxRetries != nil {
		err = errors.Join(err, option(isCount(*o.MaxRetries, -1), "max retries: %d is neither -1 nor a count", *o.MaxRetries))
		kwargs["max_retries"] = *o.MaxRetries
	}
	return pickleOptions("task", kwargs, err)
}

func (o MethodOptions) pickled() (pickledOptions, error) {
	kwargs := map[string]any{}
	err := putReturns(kwargs, o.Name, o.NumReturns, o.DynamicReturns, o.RetryExceptions)
	if o.ConcurrencyGroup != "" {
		kwargs["concurrency_group"] = o.ConcurrencyGroup
	}
	if o.MaxTaskRetries != nil {
		err = errors.Join(err, option(isCount(*o.MaxTaskRetries, -1), "max task retries: %d is neither -1 nor a count", *o.MaxTaskRetries))
		kwargs["max_task_retries"] = *o.MaxTaskRetries
	}
	return pickleOptions("method", kwargs, err)
}

func (o ActorOptions) pickled(namespace string) (pickledOptions, error) {
	kwargs := map[string]any{"max_restarts": o.MaxRestarts}
	err := errors.Join(
		option(!o.GetIfExists || o.Name != "", "get if exists: needs a name"),
		option(o.Namespace == "" || o.Name != "", "namespace: needs a name"),
		option(isCount(o.MaxRestarts, -1), "max restarts: %d is neither -1 nor a count", o.MaxRestarts),
		option(isCount(o.MaxTaskRetries, -1), "max task retries: %d is neither -1 nor a count", o.MaxTaskRetries),
		option(o.MaxTaskRetries == 0 || o.MaxRestarts != 0, "max task retries: need max restarts"),
		option(isCount(o.MaxPendingCalls, 0), "max pending calls: %d is no count", o.MaxPendingCalls),
		option(isCount(o.MaxConcurrency, 0), "max concurrency: %d is no count", o.MaxConcurrency),
		demand{&o.NumCPUs, o.NumGPUs, o.Memory, o.Resources, o.AcceleratorType, o.LabelSelector, o.FallbackLabels, o.NoTaskEvents, o.SchedulingStrategy, o.RuntimeEnv}.put(kwargs),
	)
	if o.Name != "" {
		kwargs["name"] = o.Name
		kwargs["namespace"] = namespace
	}
	if o.Detached {
		kwargs["lifetime"] = "detached"
	}
	if o.OutOfOrder {
		kwargs["allow_out_of_order_execution"] = true
	}
	if o.GetIfExists {
		kwargs["get_if_exists"] = true
	}
	if o.MaxTaskRetries != 0 {
		kwargs["max_task_retries"] = o.MaxTaskRetries
	}
	if o.MaxPendingCalls > 0 {
		kwargs["max_pending_calls"] = o.MaxPendingCalls
	}
	if o.MaxConcurrency > 0 {
		kwargs["max_concurrency"] = o.MaxConcurrency
	}
	for name, n := range o.ConcurrencyGroups {
		err = errors.Join(err, option(name != "" && isCount(n, 1), "concurrency groups: %q of %d is no group", name, n))
	}
	return pickleOptions("actor", kwargs, err)
}

func pickleOptions(of string, kwargs map[string]any, err error) (pickledOptions, error) {
	if err == nil && len(kwargs) == 0 {
		return pickledOptions{}, nil
	}
	var data []byte
	if err == nil {
		data, err = marshal(kwargs)
	}
	if err != nil {
		return pickledOptions{}, fmt.Errorf("%w: %s options: %w", ErrInvalidOption, of, err)
	}
	return pickledOptions{kwargs, data}, nil
}
