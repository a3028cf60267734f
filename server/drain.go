package server

import (
	"errors"
	"sync"
)

// errStopping: the server was asked to stop. It is the answer to requests that come after that, and the cause with which
// those end that take too long.
var errStopping = errors.New("server: it is stopping")

// drain counts the requests under way, so that the server can wait for them with its listener open, where probes see that
// it stops.
type drain struct {
	mu       sync.Mutex // guards what follows
	active   int
	stopping bool
	idle     chan struct{} // made by stop; closed when none is under way
}

// enter counts a request in. It returns false when none is taken any more.
func (d *drain) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return false
	}
	d.active++
	return true
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.active--
	if d.stopping && d.active == 0 {
		close(d.idle)
	}
}

// stop takes no more requests. The channel is closed once those under way have ended.
func (d *drain) stop() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping {
		return d.idle
	}
	d.stopping, d.idle = true, make(chan struct{})
	if d.active == 0 {
		close(d.idle)
	}
	return d.idle
}

// now tells whether the server stops, and how many requests are under way.
func (d *drain) now() (stopping bool, active int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stopping, d.active
}
