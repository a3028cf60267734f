package connector_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// step is one thing that is done to a connection, or to what it leads to.
type step struct {
	do    string
	after time.Duration // the pause before it
}

func (s step) String() string { return fmt.Sprintf("%v %s", s.after, s.do) }

// machine is the model: what was done, and what has to be true of the connection because of it.
type machine struct {
	t       *testing.T
	memory  *memory
	conn    *connector.Connector
	log     *safeBuffer
	all     *connector.Subscription
	few     *connector.Subscription
	fewSeen int
	work    sync.WaitGroup

	sessionDown, gcsDown, full, mute, ending bool

	mu       sync.Mutex // guards what follows
	problems []string
	tried    map[uint64]int // how often the hook ran, by epoch
}

func (m *machine) complain(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = append(m.problems, fmt.Sprintf(format, args...))
}

// callTimeout is Config.CallTimeout of the model's connection.
const callTimeout = 20 * time.Second

// steps are what may happen.
var steps = map[string]func(*machine){
	"session refused":   func(m *machine) { m.memory.session.refuse(); m.sessionDown = true },
	"session silent":    func(m *machine) { m.memory.session.stall(); m.sessionDown = true },
	"session cut":       func(m *machine) { m.memory.session.cut() },
	"session heals":     func(m *machine) { m.memory.session.heal(); m.sessionDown = false },
	"GCS refused":       func(m *machine) { m.memory.gcs.refuse(); m.gcsDown = true },
	"GCS silent":        func(m *machine) { m.memory.gcs.stall(); m.gcsDown = true },
	"GCS cut":           func(m *machine) { m.memory.gcs.cut() },
	"GCS heals":         func(m *machine) { m.memory.gcs.heal(); m.gcsDown = false },
	"cluster replaced":  func(m *machine) { m.memory.replace() },
	"session forgotten": func(m *machine) { m.memory.forget() },
	"session hangs":     func(m *machine) { m.memory.hang() },
	"server full":       func(m *machine) { m.memory.setFull(true); m.full = true },
	"server has room":   func(m *machine) { m.memory.setFull(false); m.full = false },
	"cluster mute":      func(m *machine) { m.memory.setMute(true); m.mute = true },
	"cluster speaks":    func(m *machine) { m.memory.setMute(false); m.mute = false },

	"start": func(m *machine) { m.conn.Start() },
	"connect": func(m *machine) {
		m.call(10*time.Second, func(ctx context.Context) error { return m.conn.Connect(ctx) })
	},
	"reset": func(m *machine) {
		m.call(10*time.Second, func(ctx context.Context) error { return m.conn.Reset(ctx) })
	},
	"wait ready": func(m *machine) {
		m.call(time.Second, func(ctx context.Context) error { return m.conn.WaitReady(ctx) })
	},
	"wait session": func(m *machine) {
		m.call(time.Second, func(ctx context.Context) error {
			_, _, err := m.conn.WaitSession(ctx, m.conn.Info().Epoch)
			return err
		})
	},
	"call": func(m *machine) {
		m.call(0, func(ctx context.Context) error {
			_, err := m.conn.Call(ctx, "nobody", "nothing")
			if errors.Is(err, ray.ErrActorNotFound) {
				err = nil
			}
			return err
		})
	},
	"ping": func(m *machine) {
		m.onSession(time.Second, func(ctx context.Context, s *ray.Session) error { return s.Ping(ctx) })
	},
	"put": func(m *machine) {
		m.onSession(0, func(ctx context.Context, s *ray.Session) error {
			ref, err := s.Put(ctx, 1)
			if err == nil {
				ref.Release()
			}
			return err
		})
	},
	"ask": func(m *machine) {
		m.onSession(0, func(ctx context.Context, s *ray.Session) error {
			_, err := s.KVExists(ctx, "", "k")
			return err
		})
	},
	"in bulk": func(m *machine) {
		m.call(5*time.Second, func(ctx context.Context) error {
			return m.conn.WithBulk(ctx, func(s *ray.Session) error { return s.Ping(ctx) })
		})
	},
	"look":    func(m *machine) { m.look(m.conn.Info()) },
	"settles": (*machine).settles,
	"drain": func(m *machine) {
		m.end(m.conn.Drain)
	},
	"close": func(m *machine) {
		m.end(m.conn.Close)
	},
}

// call runs something in the background that has to end in time: by its deadline, or without one by CallTimeout for each of
// the two paths that it may take. What it fails with has to be of a kind that callers know.
func (m *machine) call(within time.Duration, do func(context.Context) error) {
	limit := within
	if within == 0 {
		limit = 2 * callTimeout
	}
	m.callFor(within, limit, do)
}

// end is call for Close and Drain: gRPC takes its leave of a connection on which not a byte can be written for 5 s.
func (m *machine) end(do func(context.Context) error) {
	m.ending = true
	m.callFor(10*time.Second, 15*time.Second, do)
}

func (m *machine) callFor(within, limit time.Duration, do func(context.Context) error) {
	m.work.Go(func() {
		ctx := context.Background()
		if within > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, within)
			defer cancel()
		}
		began := time.Now()
		err := do(ctx)
		if took := time.Since(began); took > limit+time.Second {
			m.complain("a call took %v instead of %v: %v", took, limit, err)
		}
		if err != nil && !typed(err) {
			m.complain("an error of no known kind: %v", err)
		}
	})
}

func typed(err error) bool {
	if _, ok := errors.AsType[*connector.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*ray.CallError](err); ok {
		return true
	}
	for _, kind := range []error{
		connector.ErrClosed, connector.ErrNotConnected, connector.ErrNotReady, context.DeadlineExceeded, ray.ErrOverloaded, ray.ErrClosed, ray.ErrSessionLost,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// onSession is call on the session of the moment, if there is one.
func (m *machine) onSession(within time.Duration, do func(context.Context, *ray.Session) error) {
	client, err := m.conn.Client()
	if err != nil {
		if !typed(err) {
			m.complain("no client: %v", err)
		}
		return
	}
	m.call(within, func(ctx context.Context) error { return do(ctx, client.Session()) })
}

// hook has to be tried again in every epoch.
func (m *machine) hook(ctx context.Context, client *ray.Client, epoch uint64) error {
	if got := client.Session().Info().Epoch; got != epoch {
		m.complain("a hook of epoch %d has a session of epoch %d", epoch, got)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tried[epoch]++
	if m.tried[epoch] < 2 {
		return errors.New("not yet")
	}
	return ctx.Err()
}

// look checks what is told of one moment.
func (m *machine) look(i connector.Info) {
	if _, err := json.Marshal(i); err != nil {
		m.complain("%s: %v", i.State, err)
	}
	if i.LastError != "" && i.NextStep == "" {
		m.complain("%s: nothing is said about what to do about %q", i.State, i.LastError)
	}
	m.mu.Lock()
	tried := m.tried[i.Epoch]
	m.mu.Unlock()
	if i.Ready && tried != 2 {
		m.complain("ready in epoch %d, and the hook ran %d times", i.Epoch, tried)
	}
	hasSession := i.State == connector.StateConnected || i.State == connector.StateDegraded || i.State == connector.StateReconnecting
	if hasSession != (i.SessionID != "") && i.State != connector.StateClosing {
		m.complain("%s, and the session is %q", i.State, i.SessionID)
	}
	if i.State == connector.StateReconnecting && (i.Session.Answers || i.GCS.Answers) || i.State == connector.StateConnected && !i.Session.Answers {
		m.complain("%s, with session %v and GCS %v", i.State, i.Session.Answers, i.GCS.Answers)
	}
}

// settles waits until whatever is under way has come to an end, and compares.
func (m *machine) settles() {
	time.Sleep(3 * time.Minute)
	i := m.conn.Info()
	m.look(i)
	switch {
	case m.ending:
		if i.State != connector.StateClosed {
			m.complain("ended, and %s", i.State)
		}
	case m.sessionDown, m.mute:
		if i.Session.Answers || i.State == connector.StateConnected {
			m.complain("without a server that answers: %s, %+v", i.State, i.Session)
		}
	case m.gcsDown && i.Session.Answers:
		// One that was never reached is no link.
		if i.GCS.Answers || i.State != connector.StateDegraded && (i.State != connector.StateConnected || i.ClusterID != "") {
			m.complain("without a GCS: %s, %+v", i.State, i.GCS)
		}
	}
}

// run takes the steps, mends everything, and returns what was wrong. walked is told of every change.
func run(t *testing.T, todo []step, walked func(from, to connector.State)) (problems []string) {
	synctest.Test(t, func(t *testing.T) {
		memory := newMemory(t)
		cfg := memory.config()
		cfg.CallTimeout, cfg.MaxSilence = callTimeout, 2*time.Minute
		var changes meter
		cfg.Metrics = &changes
		conn, log := newConnector(t, cfg)
		m := &machine{t: t, memory: memory, conn: conn, log: log, all: conn.Subscribe(100_000), few: conn.Subscribe(3), tried: map[uint64]int{}}
		conn.OnSession("second try", m.hook)
		for _, s := range todo {
			time.Sleep(s.after)
			steps[s.do](m)
			if len(m.few.Events()) > 1 && len(s.do)%2 == 0 { // reads now and then
				<-m.few.Events()
				m.fewSeen++
			}
		}
		m.memory.session.heal()
		m.memory.gcs.heal()
		m.memory.setFull(false)
		m.memory.setMute(false)
		if !m.ending {
			m.conn.Start()
			time.Sleep(5 * time.Minute)
			if i := conn.Info(); i.State != connector.StateConnected || !i.Session.Answers || !i.GCS.Answers || !i.Ready || i.LastError != "" {
				m.complain("nothing is wrong any more, and the connection is %s: %+v", i.State, i)
			}
		}
		m.work.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			m.complain("close: %v", err)
		}
		if i := conn.Info(); i.State != connector.StateClosed {
			m.complain("closed, and %s", i.State)
		}
		m.told(&changes, walked)
		if strings.Contains(log.String(), "level=ERROR") {
			m.complain("%s", log)
		}
		problems = m.problems
	})
	return problems
}

// told checks what subscribers and the metrics were told of: every change, in order, each one that the table has.
func (m *machine) told(changes *meter, walked func(from, to connector.State)) {
	last, epoch, count := connector.StateDisconnected, uint64(0), 0
	for e := range m.all.Events() {
		count++
		if e.From != last || e.To != e.Info.State || e.From != e.To && !e.From.CanBecome(e.To) {
			m.complain("from %s to %s after %s", e.From, e.To, last)
		}
		if comes := e.From == connector.StateConnecting && e.Info.SessionID != ""; e.Info.Epoch != epoch && (!comes || e.Info.Epoch != epoch+1) {
			m.complain("epoch %d after %d, from %s to %s", e.Info.Epoch, epoch, e.From, e.To)
		} else if comes && e.Info.Epoch == epoch {
			m.complain("a new session in the old epoch %d", epoch)
		}
		m.look(e.Info)
		if e.From != e.To {
			walked(e.From, e.To)
		}
		last, epoch = e.To, e.Info.Epoch
	}
	if last != connector.StateClosed || m.all.Dropped() != 0 {
		m.complain("the last event is of %s, and %d were dropped", last, m.all.Dropped())
	}
	for e := range m.few.Events() {
		m.fewSeen++
		last = e.To
	}
	if last != connector.StateClosed || m.fewSeen+int(m.few.Dropped()) != count {
		m.complain("of %d events a slow subscriber saw %d and missed %d, the last is of %s", count, m.fewSeen, m.few.Dropped(), last)
	}
	changes.mu.Lock()
	defer changes.mu.Unlock()
	if len(changes.changes) != count {
		m.complain("%d events, and %d for the metrics", count, len(changes.changes))
	}
}

// Whatever happens, and whatever is asked, in any order and at any moment: see machine.
func TestTheMachineKeepsItsPromises(t *testing.T) {
	// The flag's default in this package is for walks on a real Ray, which are slow.
	if checks := flag.Lookup("rapid.checks").Value.String(); checks == realChecks {
		if err := flag.Set("rapid.checks", "100"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = flag.Set("rapid.checks", realChecks) }()
	}
	var names []string
	for name := range steps {
		if name != "close" && name != "drain" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = append(names, names...)
	names = append(names, names...)
	names = append(names, "close", "drain") // rarely, since nothing comes after them
	one := rapid.Custom(func(t *rapid.T) step {
		return step{
			do: rapid.SampledFrom(names).Draw(t, "do"),
			after: rapid.SampledFrom([]time.Duration{
				0, 0, 0, time.Millisecond, 50 * time.Millisecond, time.Second, 7 * time.Second, 20 * time.Second, 35 * time.Second, 2 * time.Minute,
			}).Draw(t, "after"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		todo := rapid.SliceOfN(one, 10, 50).Draw(rt, "steps")
		for _, problem := range run(t, todo, func(connector.State, connector.State) {}) {
			rt.Error(problem)
		}
	})
}

// Steps that a random walk found: two connections on which not a byte could be written, each of which gRPC gives 5 s, were
// closed one after the other. Every second walk did so.
func TestConnectionsAreClosedTogether(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	steps := []step{
		{"GCS silent", 0},
		{"session forgotten", 0},
		{"connect", 7 * s},
		{"put", 0},
		{"ask", ms},
		{"in bulk", 120 * s},
		{"ping", 20 * s},
		{"GCS cut", 0},
		{"cluster speaks", 50 * ms},
		{"wait ready", 7 * s},
		{"session cut", 0},
		{"GCS heals", 0},
		{"cluster mute", 0},
		{"GCS cut", s},
		{"drain", 7 * s},
		{"call", ms},
		{"start", 0},
		{"GCS refused", 0},
		{"settles", 0},
		{"GCS silent", 0},
		{"cluster mute", ms},
		{"GCS refused", 0},
		{"look", ms},
	}
	for range 20 {
		for _, problem := range run(t, steps, func(connector.State, connector.State) {}) {
			t.Fatal(problem)
		}
	}
}
