package worker

import (
	"errors"
	"fmt"
)

// MaxValue bounds one argument and one result, in bytes of its encoded form. Ray's drivers keep values above
// max_direct_call_object_size (100 KiB unless it is raised, see package doc) in the object store instead, which a Go
// actor does not read.
const MaxValue = 16 << 20

var (
	// ErrTooLarge is wrapped by the refusal of an argument or a result above MaxValue.
	ErrTooLarge = errors.New("value too large for a Go actor")
	// ErrByReference is wrapped by the refusal of an argument that is an object reference.
	ErrByReference = errors.New("argument by reference")
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
