package connector_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// Of several addresses the one that worked last is tried first, then those behind it in the list, round and round.
func TestTheNextAddressIsTriedAfterAFailure(t *testing.T) {
	head := raytest.Head(t).ClientAddress()
	a, b := faultproxy.New(t, head), faultproxy.New(t, head)
	dead := deadAddress(t)
	list := "ray://" + dead + ", ray://" + a.Address() + ",ray://" + b.Address()
	var m meter
	conn, log := newConnector(t, connector.Config{
		Address: list, Namespace: raytest.Namespace(t), ReconnectGrace: time.Second, Metrics: &m,
		HealthInterval: 200 * time.Millisecond, HealthTimeout: time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	expect := func(epoch uint64, at *faultproxy.Proxy, outcomes ...string) {
		t.Helper()
		if _, _, err := conn.WaitSession(deadline(t), epoch-1); err != nil {
			t.Fatal(err)
		}
		if info := conn.Info(); info.Epoch != epoch || info.Address != list || info.Resolved != at.Address() || info.State != connector.StateConnected {
			t.Errorf("%+v", info)
		}
		if err := session(t, conn).Ping(deadline(t)); err != nil {
			t.Error(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if !slices.Equal(m.outcomes, outcomes) {
			t.Errorf("attempts %v, want %v", m.outcomes, outcomes)
		}
		m.outcomes = nil
	}
	expect(1, a, string(connector.KindAbsent), "ok")
	old := session(t, conn)
	a.Refuse(true)
	a.Cut()
	expect(2, b, string(connector.KindNotRay), "ok")
	if err := old.Ping(deadline(t)); !errors.Is(err, ray.ErrSessionLost) {
		t.Errorf("the session of the address before: %v", err)
	}
	a.Refuse(false)
	b.Refuse(true)
	b.Cut()
	expect(3, a, string(connector.KindNotRay), string(connector.KindAbsent), "ok")
	if text := log.String(); strings.Count(text, "connected to another address") != 3 || !strings.Contains(text, dead) {
		t.Error(text)
	}
}

// Without a way to any of them the error tells of each, and the kind is that of the one that is nearest to working.
func TestEachOfSeveralAddressesHasItsReason(t *testing.T) {
	gcs, dead := raytest.Head(t).GCSAddress(), deadAddress(t)
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + gcs + ",ray://" + dead})
	err := conn.Connect(deadline(t))
	problem, ok := errors.AsType[*connector.ConnectError](err)
	if !ok || problem.Kind != connector.KindWrongServer || !errors.Is(err, ray.ErrOtherServer) || !errors.Is(err, ray.ErrNotListening) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"ray://" + gcs + ": ", "ray://" + dead + ": "} {
		if !strings.Contains(problem.Err.Error(), part) || !strings.Contains(problem.NextStep, part) {
			t.Errorf("%v; %s", err, problem.NextStep)
		}
	}
}
