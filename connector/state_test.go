package connector_test

import (
	"net"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
)

var allStates = []connector.State{
	connector.StateDisconnected, connector.StateConnecting, connector.StateConnected, connector.StateDegraded,
	connector.StateReconnecting, connector.StateLost, connector.StateClosing, connector.StateClosed,
}

// following lists the states that may follow s.
func following(s connector.State) []connector.State {
	var next []connector.State
	for _, n := range allStates {
		if s.CanBecome(n) {
			next = append(next, n)
		}
	}
	return next
}

// The table has no trap and no orphan: every state is reached from the start, and from every state the end is.
func TestTheTableOfTransitions(t *testing.T) {
	reach := func(from connector.State) map[connector.State]bool {
		seen := map[connector.State]bool{from: true}
		for todo := []connector.State{from}; len(todo) > 0; todo = todo[1:] {
			for _, next := range following(todo[0]) {
				if !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
		return seen
	}
	fromStart := reach(connector.StateDisconnected)
	for _, s := range allStates {
		if !fromStart[s] {
			t.Errorf("%s is never reached", s)
		}
		if s.CanBecome(s) {
			t.Errorf("%s follows itself", s)
		}
		if s != connector.StateClosing && s != connector.StateClosed && !s.CanBecome(connector.StateClosing) {
			t.Errorf("%s cannot be closed", s)
		}
		if !reach(s)[connector.StateClosed] {
			t.Errorf("%s has no end", s)
		}
		if s != connector.StateConnecting && s.CanBecome(connector.StateDisconnected) {
			t.Errorf("only an attempt ends in disconnected, not %s", s)
		}
	}
	if next := following(connector.StateClosed); len(next) != 0 {
		t.Errorf("after the end: %v", next)
	}
}

// A subscriber that does not read delays nobody, keeps the newest events, and knows how many it missed.
func TestASlowSubscriberLosesTheOldest(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + deadAddress(t), FirstBackoff: time.Millisecond, SlowestBackoff: 2 * time.Millisecond,
	})
	slow, all, gone := conn.Subscribe(2), conn.Subscribe(10_000), conn.Subscribe(0)
	gone.Close()
	gone.Close()
	conn.Start()
	waitAttempts(t, conn, 10)
	if err := conn.Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	count := 0
	for range all.Events() {
		count++
	}
	var kept []connector.State
	for e := range slow.Events() {
		kept = append(kept, e.To)
	}
	if len(kept) != 2 || kept[0] != connector.StateClosing || kept[1] != connector.StateClosed || int(slow.Dropped()) != count-2 || count < 20 {
		t.Errorf("kept %v and dropped %d of %d", kept, slow.Dropped(), count)
	}
	if _, open := <-gone.Events(); open || gone.Dropped() != 0 {
		t.Error("a closed subscription got something")
	}
	if _, open := <-conn.Subscribe(1).Events(); open {
		t.Error("an event after the end")
	}
}

// freePort is one that nothing listens on, on this host.
func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(deadAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
