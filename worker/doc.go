// Package worker runs Go code as Ray actors: the raylet starts this program in place of a Python worker, and the actor
// is scheduled, named, restarted, called and killed like any other. The process holds neither Python nor C++.
//
// A program registers its classes, and one line makes it an actor when Ray wants one:
//
//	type Counter struct{ n int64 }
//
//	func NewCounter(start int64) *Counter { return &Counter{n: start} }
//
//	func (c *Counter) Add(_ context.Context, delta int64) (int64, error) {
//		c.n += delta
//		return c.n, nil
//	}
//
//	func main() {
//		worker.Register("Counter", NewCounter)
//		worker.Main() // does not return where a raylet started this process
//		... // what the program does otherwise
//	}
//
// The binary reaches the cluster as a package, and an actor's runtime_env names it:
// {"working_dir": "gcs://_ray_pkg_X.zip", "py_executable": "./program"}. A driver in any language then creates an actor
// of a class called Counter and calls add; in Python, a class of that name with empty methods will do.
//
// # Order
//
// Where max_concurrency is 1, the calls of one caller start in the order in which it made them, whatever the transport
// does; calls of different callers interleave. A call that gets lost on the way holds up those behind it for at most
// 30 seconds, then they fail without having run, as with Python actors; a retry (attempt_number above 0) does not wait,
// fills the place of the call that it repeats, and runs again what ran before, since that is what its caller asked for.
//
// # Failure
//
// The error or panic of a method is an exception for its caller, with the text and, for a panic, the stack. The error
// of the constructor makes the actor die for good, and callers see it. A process that dies otherwise is restarted by Ray
// as max_restarts says, with a new process and no state. When the raylet goes away, the process ends at once.
//
// # Large values
//
// An argument or a result may have [MaxValue] bytes, 16 MiB. A direct call from Go just sends them. Ray's own drivers
// keep values above their max_direct_call_object_size, 100 KiB, in the object store and send a reference, which a Go
// actor refuses with [ErrByReference] in the exception's text: raise the limit in the environment of the calling process
// (RAY_max_direct_call_object_size and RAY_task_rpc_inlined_bytes_limit) before it starts Ray.
//
// # Access
//
// Where Ray runs with token authentication or TLS, so does the actor, by the variables that its raylet hands on: it sends
// the token, and refuses callers without it.
//
// # Tracing
//
// [Trace] tells a tracer of every method, with the headers by which a direct caller in Go names its trace; ray/otelray makes
// spans of that.
//
// # Limits
//
// There is no retry_exceptions, and there are streams on Ray 2.60 only (ErrStreamsUntested). At most 10,000 calls, and
// 1 GiB of arguments, wait in an actor; further ones fail with RESOURCE_EXHAUSTED.
//
// Ray 2.48, 2.54 and 2.60 are tested. On a version between the last two the constructor fails with an error that says so,
// which is the actor's death cause. On any other the process ends before it talks to the raylet, which does not survive
// a message that it does not know: its error is in Ray's log and on the driver's terminal as a line of (raylet), and the
// actor stays in PENDING_CREATION. The actor's env_vars may name in SEEDCORE_RAY_LAYOUT the tested version that another
// one is like.
package worker
