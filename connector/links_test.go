package connector_test

import (
	"context"
	"flag"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
)

// The walks are on a real Ray, and each step waits for what it causes: few and short ones, unless the command line says
// -rapid.checks and -rapid.steps. Both are rapid's own, and the command line is read after this.
const realChecks = "2"

func init() {
	for name, value := range map[string]string{"rapid.checks": realChecks, "rapid.steps": "12", "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
}

// links is the model of a connection: what was done to its two links, and how many sessions there should have been.
type links struct {
	conn         *connector.Connector
	session, gcs *link
	epoch        uint64
}

type link struct {
	proxy *faultproxy.Proxy
	down  time.Time // since when; zero: it is up
}

func (l *link) up() bool { return l.down.IsZero() }

// fault breaks a link that is up.
func (l *link) fault(fault func(*faultproxy.Proxy)) func(*rapid.T) {
	return func(t *rapid.T) {
		if !l.up() {
			t.Skip("it is down")
		}
		fault(l.proxy)
		l.down = time.Now()
	}
}

func (l *link) heal(*rapid.T) {
	l.proxy.Refuse(false)
	l.proxy.Resume()
	l.down = time.Time{}
}

// cut breaks what is open, and lets it come back at once.
func (l *link) cut(*rapid.T) { l.proxy.Cut() }

func refuse(p *faultproxy.Proxy) {
	p.Refuse(true)
	p.Cut()
}

func (l *links) state() connector.State {
	switch session, gcs := l.session.up(), l.gcs.up(); {
	case session && gcs:
		return connector.StateConnected
	case session || gcs:
		return connector.StateDegraded
	default:
		return connector.StateReconnecting
	}
}

// holds waits until the connection is what the model says.
func (l *links) holds(t *rapid.T) {
	// A session resumes within its grace period of 30 s; the model knows no other end of a fault.
	if !l.session.up() && time.Since(l.session.down) > 10*time.Second {
		l.session.heal(t)
	}
	want := l.state()
	var info connector.Info
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		info = l.conn.Info()
		if info.State == want && info.Session.Answers == l.session.up() && info.GCS.Answers == l.gcs.up() && info.Epoch == l.epoch {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("want %s in epoch %d, session %v, GCS %v: %+v", want, l.epoch, l.session.up(), l.gcs.up(), info)
		}
	}
	if (info.LastError == "") != (want == connector.StateConnected) {
		t.Errorf("%s, and the last error is %q", want, info.LastError)
	}
}

// within is the time that a caller has; one whose link is down has to end by it, too.
func (l *links) within() (context.Context, context.CancelFunc) {
	if l.session.up() {
		return context.WithTimeout(context.Background(), 30*time.Second)
	}
	return context.WithTimeout(context.Background(), 100*time.Millisecond)
}

func (l *links) ping(t *rapid.T) {
	client, err := l.conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := l.within()
	defer cancel()
	if err := client.Session().Ping(ctx); (err == nil) != l.session.up() {
		t.Errorf("ping: %v", err)
	}
}

func (l *links) connect(t *rapid.T) {
	ctx, cancel := l.within()
	defer cancel()
	if err := l.conn.Connect(ctx); (err == nil) != l.session.up() {
		t.Errorf("connect: %v", err)
	}
}

// renew ends the session, in one of two ways, where a new one can be had.
func (l *links) renew(end func(context.Context) error) func(*rapid.T) {
	return func(t *rapid.T) {
		if !l.session.up() {
			t.Skip("there is no way to a new one")
		}
		ctx, cancel := l.within()
		defer cancel()
		if err := end(ctx); err != nil {
			t.Fatal(err)
		}
		l.epoch++
	}
}

func (l *links) close(ctx context.Context) error {
	client, err := l.conn.Client()
	if err != nil {
		return err
	}
	return client.Session().Close(ctx)
}

// Whatever happens to the two links and the session, in any order, the state is what they do. Every change is told as an
// event, and is one that the table has.
func TestTheStateFollowsTheLinks(t *testing.T) {
	head := raytest.Head(t)
	session, gcs := faultproxy.New(t, head.ClientAddress()), faultproxy.New(t, head.GCSAddress())
	// The two proxies are on one host, as the two ports of an address are.
	conn, _ := newConnector(t, connector.Config{
		Address: gcs.Address(), ClientPort: portOf(t, session.Address()), Namespace: raytest.Namespace(t),
		HealthInterval: 50 * time.Millisecond, HealthTimeout: 500 * time.Millisecond,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
	events := conn.Subscribe(100_000)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	model := &links{conn: conn, session: &link{proxy: session}, gcs: &link{proxy: gcs}, epoch: 1}
	rapid.Check(t, func(t *rapid.T) {
		model.session.heal(t)
		model.gcs.heal(t)
		model.epoch = conn.Info().Epoch // a walk that failed leaves another one
		// Every state is met, whatever the random steps are.
		for _, step := range []func(*rapid.T){
			model.session.fault(refuse), model.gcs.fault((*faultproxy.Proxy).Stall), model.gcs.heal, model.session.heal, model.renew(conn.Reset),
		} {
			step(t)
			model.holds(t)
		}
		t.Repeat(map[string]func(*rapid.T){
			"":                 model.holds,
			"session refused":  model.session.fault(refuse),
			"session silent":   model.session.fault((*faultproxy.Proxy).Stall),
			"session cut":      model.session.cut,
			"session heals":    model.session.heal,
			"GCS refused":      model.gcs.fault(refuse),
			"GCS silent":       model.gcs.fault((*faultproxy.Proxy).Stall),
			"GCS cut":          model.gcs.cut,
			"GCS heals":        model.gcs.heal,
			"ping":             model.ping,
			"connect":          model.connect,
			"reset":            model.renew(conn.Reset),
			"session is ended": model.renew(model.close),
		})
	})

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
		if s != connector.StateDisconnected && !slices.Contains(walked, s) {
			t.Errorf("%s is not among %v", s, walked)
		}
	}
}
