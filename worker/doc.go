// Package worker runs Go code as Ray actors: the raylet starts this program in place of a Python worker, and the actor
// is scheduled, named, restarted, called and killed like any other. The process holds neither Python nor C++.
//
// A program registers its classes and lets the package take over when it is started by a raylet:
//
//	type Counter struct{ n int64 }
//
//	func (c *Counter) Add(ctx context.Context, args worker.Args) (any, error) {
//		var delta int64
//		if err := args.Decode(0, &delta); err != nil {
//			return nil, err
//		}
//		c.n += delta
//		return c.n, nil
//	}
//
//	func main() {
//		worker.Register("Counter", func(context.Context, worker.Args) (*Counter, error) { return &Counter{}, nil },
//			map[string]worker.Method[*Counter]{"add": (*Counter).Add})
//		if worker.Requested(os.Args) {
//			worker.Main()
//		}
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
// # Limits
//
// Arguments and results travel by value: Ray's drivers turn arguments above 100 KiB into object references, which a Go
// actor refuses with an exception. There are no streamed results, no concurrency groups of their own (all share the
// actor's max_concurrency), and no retry_exceptions. At most 10,000 calls, and 1 GiB of arguments, wait in an actor;
// further ones fail with RESOURCE_EXHAUSTED. Token authentication and TLS of Ray are refused at start. Ray 2.60 is
// tested; a version that registers workers in another way is refused.
package worker
