package worker

import "sync/atomic"

// idleRunners is how many goroutines wait for the next call.
const idleRunners = 64

// runners run methods, on goroutines that are used again: the stack of a new one is too small for a method and has to be copied
// more than once while it grows. One that has run a call goes on with the one that gets its slot. They are no goroutines of
// gRPC, which would never answer a call whose method ends its goroutine.
type runners struct {
	idle    chan *call
	ended   <-chan struct{} // closed when they are not to wait any more
	waiting atomic.Int32
}

// start has a call run that has a slot. It does not wait.
func (r *runners) start(s *scheduler, c *call) {
	select {
	case r.idle <- c:
	default:
		go r.run(s, c)
	}
}

func (r *runners) run(s *scheduler, c *call) {
	defer func() {
		if c != nil { // the method called runtime.Goexit, which ends this goroutine
			if next := r.ran(s, c); next != nil {
				r.start(s, next)
			}
		}
	}()
	for c != nil {
		c.run()
		if c = r.ran(s, c); c == nil {
			c = r.await()
		}
	}
}

// ran ends a call and returns the next one.
func (r *runners) ran(s *scheduler, c *call) *call {
	next := s.succeed(c)
	c.granted <- nil
	return next
}

// await returns a call, or nil when the goroutine should end.
func (r *runners) await() *call {
	if r.waiting.Add(1) > idleRunners {
		r.waiting.Add(-1)
		return nil
	}
	defer r.waiting.Add(-1)
	select {
	case c := <-r.idle:
		return c
	case <-r.ended:
		return nil
	}
}
