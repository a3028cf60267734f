package connector_test

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
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

// The state is what the links do: whichever of them goes or comes, in any order. Every change is told as an event, and is
// one that the table has.
func TestTheStateFollowsTheLinks(t *testing.T) {
	head := raytest.Head(t)
	session, gcs := faultproxy.New(t, head.ClientAddress()), faultproxy.New(t, head.GCSAddress())
	// The two proxies are on one host, as the two ports of an address are.
	conn, _ := newConnector(t, connector.Config{
		Address: gcs.Address(), ClientPort: portOf(t, session.Address()), Namespace: raytest.Namespace(t),
		HealthInterval: 50 * time.Millisecond, HealthTimeout: time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
	events := conn.Subscribe(1000)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}

	down := func(p *faultproxy.Proxy, down bool) {
		p.Refuse(down)
		if down {
			p.Cut()
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	sessionDown, gcsDown := false, false
	// All four settings of the links are met, the random ones after them.
	for step, change := range append([]int{0, 1, 0, 1}, random.IntN(2), random.IntN(2)) {
		if change == 0 {
			sessionDown = !sessionDown
			down(session, sessionDown)
		} else {
			gcsDown = !gcsDown
			down(gcs, gcsDown)
		}
		want := connector.StateConnected
		switch {
		case sessionDown && gcsDown:
			want = connector.StateReconnecting
		case sessionDown || gcsDown:
			want = connector.StateDegraded
		}
		until(t, func() bool {
			info := conn.Info()
			return info.State == want && info.Session.Answers == !sessionDown && info.GCS.Answers == !gcsDown
		})
		info := conn.Info()
		if (info.LastError == "") != (want == connector.StateConnected) || info.Epoch != 1 {
			t.Errorf("step %d, %s: %+v", step, want, info)
		}
	}

	// The session goes for good.
	down(session, false)
	down(gcs, false)
	waitState(t, conn, 30*time.Second, connector.StateConnected)
	if err := conn.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	var walked []connector.State
	last := connector.StateDisconnected
	for e := range events.Events() {
		if e.From != last || e.To != e.Info.State || e.From != e.To && !e.From.CanBecome(e.To) {
			t.Errorf("from %s to %s after %v", e.From, e.To, walked)
		}
		last = e.To
		walked = append(walked, e.To)
	}
	if events.Dropped() != 0 || last != connector.StateClosed {
		t.Errorf("%d events dropped, the last of %v", events.Dropped(), walked)
	}
	for _, s := range allStates {
		if s != connector.StateDisconnected && !contains(walked, s) {
			t.Errorf("%s is not among %v", s, walked)
		}
	}
}

func contains(states []connector.State, s connector.State) bool {
	for _, x := range states {
		if x == s {
			return true
		}
	}
	return false
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
