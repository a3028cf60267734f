package connector_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// byCallsAlone is a connection whose own checks are an hour apart.
func byCallsAlone(t *testing.T, gcs, session string) (*connector.Connector, *ray.Client) {
	t.Helper()
	conn, _ := newConnector(t, connector.Config{
		Address: gcs, ClientPort: portOf(t, session), Namespace: raytest.Namespace(t), ReconnectGrace: 5 * time.Second,
		HealthInterval: time.Hour, HealthTimeout: 500 * time.Millisecond,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 100 * time.Millisecond, CallTimeout: 300 * time.Millisecond,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	return conn, client.WithDirect(ray.DirectOff)
}

// What calls and the session meet is looked into at once, and not at the next check; and what is known to be gone is not
// tried.
func TestTheSessionsHealthIsSeenFromItsUse(t *testing.T) {
	head := raytest.Head(t)
	proxy := faultproxy.New(t, head.ClientAddress())
	conn, client := byCallsAlone(t, head.GCSAddress(), proxy.Address())
	events := conn.Subscribe(1000)
	defer events.Close()
	if info := conn.Info(); info.NamespaceAsked == "" || info.Namespace != info.NamespaceAsked || info.Protocol != "ray-client+core" {
		t.Errorf("%+v", info)
	}
	namespace := client.Session().Info().Namespace
	call := func() error {
		_, err := client.Call(context.Background(), namespace, "nobody", "nothing")
		return err
	}
	if err := call(); !errors.Is(err, ray.ErrActorNotFound) {
		t.Fatal(err)
	}
	// A black hole is seen by a call that had no answer within the deadline which every call has.
	proxy.Stall()
	if err := call(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call without a deadline of its own: %v", err)
	}
	if info := waitState(t, conn, 20*time.Second, connector.StateDegraded); info.Session.Answers || !info.GCS.Answers {
		t.Errorf("%+v", info)
	}
	proxy.Resume()
	waitState(t, conn, 20*time.Second, connector.StateConnected)

	// A cut is seen without a call.
	proxy.Refuse(true)
	proxy.Cut()
	waitState(t, conn, 20*time.Second, connector.StateDegraded)
	info := waitState(t, conn, 30*time.Second, connector.StateDisconnected)
	if info.Epoch != 1 {
		t.Errorf("%+v", info)
	}
	first := call()
	if !errors.Is(first, ray.ErrSessionLost) || ray.SentOf(first) != ray.SentNo {
		t.Errorf("a call on a session that is lost: %v", first)
	}
	if again := call(); again == nil || again.Error() != first.Error() {
		t.Errorf("%v became %v", first, again)
	}

	seen := map[connector.State]bool{}
	for len(events.Events()) > 0 {
		info := (<-events.Events()).Info
		seen[info.State] = true
		if _, err := json.Marshal(info); err != nil {
			t.Errorf("%s: %v", info.State, err)
		}
		if info.LastError != "" && info.NextStep == "" {
			t.Errorf("%s: nothing is said about what to do about %q", info.State, info.LastError)
		}
	}
	for _, s := range []connector.State{connector.StateDegraded, connector.StateLost, connector.StateDisconnected} {
		if !seen[s] {
			t.Errorf("there was no event of %s in %v", s, seen)
		}
	}
}

func TestTheGCSsHealthIsSeenFromItsUse(t *testing.T) {
	head := raytest.Head(t)
	proxy := faultproxy.New(t, head.GCSAddress())
	conn, _ := byCallsAlone(t, proxy.Address(), head.ClientAddress())
	proxy.Refuse(true)
	proxy.Cut()
	// The look-up fails, and the call takes the session, which knows that there is no such actor.
	if _, err := conn.Call(deadline(t), "nobody", "nothing"); !errors.Is(err, ray.ErrActorNotFound) {
		t.Errorf("%v", err)
	}
	if info := waitState(t, conn, 20*time.Second, connector.StateDegraded); !info.Session.Answers || info.GCS.Answers {
		t.Errorf("%+v", info)
	}
	proxy.Refuse(false)
	waitState(t, conn, 20*time.Second, connector.StateConnected)
}
