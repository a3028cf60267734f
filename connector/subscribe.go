package connector

import (
	"sync"
	"sync/atomic"
)

// Subscription delivers events until it is closed or the connector is.
type Subscription struct {
	events  chan Event
	dropped atomic.Uint64
	of      *subscribers
}

// Subscribe delivers every Event from now on, in order, through a channel that holds as many as capacity, at least one. The
// connection never waits for a subscriber: when the channel is full the oldest event is dropped, and counted. The channel is
// closed after the last event, by Subscription.Close or when the connector is closed.
func (c *Connector) Subscribe(capacity int) *Subscription {
	s := &Subscription{events: make(chan Event, max(capacity, 1)), of: &c.subscribers}
	c.subscribers.add(s)
	return s
}

// Events is the channel; it is always the same.
func (s *Subscription) Events() <-chan Event { return s.events }

// Dropped is the number of events that had no room.
func (s *Subscription) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription and closes its channel. It is idempotent.
func (s *Subscription) Close() { s.of.remove(s) }

// subscribers are the open subscriptions of a connector.
type subscribers struct {
	mu     sync.Mutex // guards what follows, and sending on their channels, which does not block
	open   map[*Subscription]struct{}
	closed bool
}

func (s *subscribers) add(one *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		close(one.events)
		return
	}
	if s.open == nil {
		s.open = map[*Subscription]struct{}{}
	}
	s.open[one] = struct{}{}
}

func (s *subscribers) remove(one *Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[one]; ok {
		delete(s.open, one)
		close(one.events)
	}
}

func (s *subscribers) publish(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for one := range s.open {
		one.send(e)
	}
	if e.To == StateClosed {
		s.closed = true
		for one := range s.open {
			close(one.events)
		}
		clear(s.open)
	}
}

// send makes room by dropping the oldest. Nobody else sends, so that two rounds are enough.
func (s *Subscription) send(e Event) {
	for {
		select {
		case s.events <- e:
			return
		default:
		}
		select {
		case <-s.events:
			s.dropped.Add(1)
		default:
		}
	}
}
