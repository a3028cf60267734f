package worker

import (
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// MaxValue is ray.MaxGoValue.
const MaxValue = ray.MaxGoValue

var (
	// ErrTooLarge is wrapped by the refusal of an argument or a result above MaxValue. Callers in Go get it as such, others
	// see it as the beginning of the exception's text.
	ErrTooLarge = ray.ErrTooLarge
	// ErrByReference is wrapped by the refusal of an argument that is an object reference. Callers get it in the same way.
	ErrByReference = ray.ErrByReference
)

func tooLarge(what string, size int) error {
	return fmt.Errorf("%w: %s has %d bytes, the limit is %d: pass it in parts, or its place in a store that both sides reach",
		ErrTooLarge, what, size, MaxValue)
}

func byReference(i int) error {
	return fmt.Errorf("%w: argument %d is an object reference, or a value above the caller's limit for sending it along, which becomes one; "+
		"a Go actor takes values only: get the reference first, and for values up to %d MiB set RAY_max_direct_call_object_size=%d "+
		"and RAY_task_rpc_inlined_bytes_limit=%d in the environment of the calling process before ray.init, or in the env_vars "+
		"of its runtime_env where it connects through ray://; pass larger ones in parts",
		ErrByReference, i, MaxValue>>20, MaxValue+slack, 4*MaxValue)
}

// slack is room for the frame around a value of MaxValue.
const slack = 1 << 10
