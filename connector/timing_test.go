package connector_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// inBubble runs a test of a rule about time on a connection that is up, in virtual time.
func inBubble(t *testing.T, cfg func(*connector.Config), test func(t *testing.T, m *memory, conn *connector.Connector, log *safeBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		c := m.config()
		if cfg != nil {
			cfg(&c)
		}
		conn, log := newConnector(t, c)
		if err := conn.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, m, conn, log)
	})
}

// becomes tells how long it takes until the connection is as it should be.
func becomes(t *testing.T, conn *connector.Connector, limit time.Duration, is func(connector.Info) bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		took := time.Since(began)
		if is(conn.Info()) {
			return took
		}
		if took > limit {
			t.Fatalf("after %v: %+v", took, conn.Info())
		}
	}
}

// Checks are as far apart as they should be, whatever the intervals are.
func TestHealthIsCheckedAtItsInterval(t *testing.T) {
	for _, interval := range []time.Duration{connector.DefaultHealthInterval, 10 * time.Second} {
		inBubble(t, func(c *connector.Config) { c.HealthInterval = interval }, func(t *testing.T, m *memory, _ *connector.Connector, _ *safeBuffer) {
			time.Sleep(10 * time.Minute)
			m.mu.Lock()
			defer m.mu.Unlock()
			if n, want := len(m.asked), int(10*time.Minute/interval); n < want-1 || n > want+3 {
				t.Errorf("%d checks in ten minutes, every %v", n, interval)
			}
			for i := 3; i < len(m.asked); i++ {
				if pause := m.asked[i].Sub(m.asked[i-1]); pause > interval+100*time.Millisecond {
					t.Errorf("a pause of %v", pause)
				}
			}
		})
	}
}

// A link on which nothing comes any more is noticed within 20 s also with checks every 10 s, each link by itself.
func TestSilenceIsNoticedInTime(t *testing.T) {
	for name, c := range map[string]struct {
		stall   func(*memory)
		noticed func(connector.Info) bool
		state   connector.State
	}{
		"session": {func(m *memory) { m.session.stall() }, func(i connector.Info) bool { return !i.Session.Answers && i.GCS.Answers }, connector.StateDegraded},
		"GCS":     {func(m *memory) { m.gcs.stall() }, func(i connector.Info) bool { return i.Session.Answers && !i.GCS.Answers }, connector.StateDegraded},
		"cluster": {func(m *memory) { m.setMute(true) }, func(i connector.Info) bool { return !i.Session.Answers && !i.GCS.Answers }, connector.StateReconnecting},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(c *connector.Config) { c.HealthInterval = 10 * time.Second }, func(t *testing.T, m *memory, conn *connector.Connector, _ *safeBuffer) {
				time.Sleep(12 * time.Second) // between two checks
				c.stall(m)
				took := becomes(t, conn, 20*time.Second, c.noticed)
				if info := conn.Info(); info.State != c.state || info.LastError == "" || info.NextStep == "" {
					t.Errorf("after %v: %+v", took, info)
				}
				m.session.heal()
				m.gcs.heal()
				m.setMute(false)
				becomes(t, conn, 20*time.Second, func(i connector.Info) bool { return i.State == connector.StateConnected && i.Epoch == 1 })
			})
		})
	}
}

// A cut that is shorter than the grace period costs nothing, a longer one costs the session, and no sooner.
func TestTheGracePeriod(t *testing.T) {
	for _, out := range []time.Duration{25 * time.Second, 40 * time.Second} {
		t.Run(fmt.Sprint(out), func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, m *memory, conn *connector.Connector, _ *safeBuffer) {
				m.session.refuse()
				time.Sleep(25 * time.Second)
				if info := conn.Info(); info.State != connector.StateDegraded || info.SessionID == "" {
					t.Errorf("within the grace period: %+v", info)
				}
				time.Sleep(out - 25*time.Second)
				if lost := conn.Info().SessionID == ""; lost != (out > 30*time.Second) {
					t.Errorf("%+v", conn.Info())
				}
				m.session.heal()
				becomes(t, conn, time.Minute, func(i connector.Info) bool { return i.State == connector.StateConnected })
				if want := uint64(1 + out/(30*time.Second)); conn.Info().Epoch != want {
					t.Errorf("epoch %d instead of %d", conn.Info().Epoch, want)
				}
			})
		})
	}
}

// The cause of failures is told when it changes, and not at every try.
func TestACauseIsToldOnceAChange(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, conn *connector.Connector, log *safeBuffer) {
		told := func() int { return strings.Count(log.String(), "level=WARN msg=\"ray connection\" state=disconnected") }
		m.session.refuse()
		time.Sleep(10 * time.Minute)
		attempts := conn.Info().Attempts
		if n := told(); n != 1 || attempts < 50 {
			t.Errorf("told %d times in %d attempts", n, attempts)
		}
		m.setFull(true)
		m.session.heal()
		time.Sleep(10 * time.Minute)
		if n := told(); n != 2 || conn.Info().Attempts < attempts+20 {
			t.Errorf("told %d times after the cause changed, in %d attempts", n, conn.Info().Attempts-attempts)
		}
	})
}

// Figures of the cluster that nothing brought up to date are called so, and in time.
func TestFiguresOfTheClusterGetOld(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, conn *connector.Connector, _ *safeBuffer) {
		becomes(t, conn, 15*time.Second, func(i connector.Info) bool { return i.Cluster.Status == connector.ClusterCurrent })
		seen := conn.Info().Cluster.Observed
		m.setMute(true)
		took := becomes(t, conn, time.Minute, func(i connector.Info) bool { return i.Cluster.Status != connector.ClusterCurrent })
		if c := conn.Info().Cluster; took < 5*time.Second || c.Observed.Sub(seen) > 15*time.Second {
			t.Errorf("after %v: %+v", took, c)
		}
		m.setMute(false)
		becomes(t, conn, time.Minute, func(i connector.Info) bool { return i.Cluster.Status == connector.ClusterCurrent })
	})
}

// Another cluster behind the same address is told from the one before by the second signal, within a check.
func TestAReplacedClusterIsNoticedInTime(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, m *memory, conn *connector.Connector, _ *safeBuffer) {
		before := conn.Info().ClusterID
		m.mu.Lock()
		m.version++ // the session goes on: only the GCS shows it
		m.mu.Unlock()
		m.gcs.cut()
		becomes(t, conn, 15*time.Second, func(i connector.Info) bool {
			return i.State == connector.StateConnected && i.Epoch == 2 && i.ClusterID != before && i.ClusterID != ""
		})
	})
}

// All callers of Connect share one attempt and its outcome, each under its own context; a failure is not kept for the next;
// and without Start nothing goes on after it.
func TestCallersShareOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.session.stall()
		conn, _ := newConnector(t, m.config())
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				switch i % 4 {
				case 1: // in a hurry
					ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
					defer cancel()
				case 2: // leaves in the middle
					time.AfterFunc(time.Second, cancel)
				case 3: // comes late
					time.Sleep(3 * time.Second)
				}
				began := time.Now()
				err := conn.Connect(ctx)
				took := time.Since(began)
				switch {
				case i%4 == 1 && (!errors.Is(err, context.DeadlineExceeded) || took > time.Second || !strings.Contains(err.Error(), "attempt at head:10001 has neither")):
				case i%4 == 2 && (!errors.Is(err, context.Canceled) || took > time.Second):
				case i%4 != 1 && i%4 != 2 && err != nil:
				default:
					return
				}
				t.Errorf("caller %d after %v: %v", i, took, err)
			})
		}
		time.Sleep(5 * time.Second)
		m.session.heal()
		all.Wait()
		m.mu.Lock()
		opened := m.opened
		m.mu.Unlock()
		if info, stat := conn.Info(), conn.Stat(); opened != 1 || stat.Attempts != 1 || info.Epoch != 1 {
			t.Errorf("%d sessions, %d attempts, epoch %d", opened, stat.Attempts, info.Epoch)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.session.refuse()
		conn, _ := newConnector(t, m.config())
		for n := range uint64(2) {
			if _, ok := errors.AsType[*connector.ConnectError](conn.Connect(t.Context())); !ok {
				t.Error("a connection where none can be")
			}
			time.Sleep(time.Hour)
			if tries := conn.Stat().Attempts; tries != n+1 {
				t.Errorf("%d attempts after %d calls", tries, n+1)
			}
		}
		conn.Start()
		time.Sleep(time.Hour)
		if n := conn.Stat().Attempts; n < 100 {
			t.Errorf("%d attempts in an hour of the background", n)
		}
		m.session.heal()
		becomes(t, conn, 10*time.Second, func(i connector.Info) bool { return i.State == connector.StateConnected })
	})
}

// Pauses of hours go on as those of seconds do, however often they were doubled.
func TestVeryLongPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.session.refuse()
		cfg := m.config()
		cfg.FirstBackoff, cfg.SlowestBackoff = 3*time.Hour, 4*time.Hour
		conn, _ := newConnector(t, cfg)
		conn.Start()
		time.Sleep(30 * 24 * time.Hour)
		if n := conn.Stat().Attempts; n < 200 || n > 1000 {
			t.Errorf("%d attempts in a month", n)
		}
	})
}

// Without a session, a Ray Client server that is gone is told from a cluster that is gone, for as long as that lasts.
func TestBetweenSessionsTheGCSIsStillAsked(t *testing.T) {
	const alone = "the cluster is up, since its GCS answers"
	inBubble(t, nil, func(t *testing.T, m *memory, conn *connector.Connector, log *safeBuffer) {
		m.session.refuse()
		becomes(t, conn, time.Minute, func(i connector.Info) bool { return i.State == connector.StateDisconnected })
		time.Sleep(10 * time.Minute)
		info := conn.Info()
		if !info.GCS.Answers || time.Since(info.GCS.LastHealthy) > 20*time.Second || info.Cluster.Status != connector.ClusterCurrent {
			t.Errorf("the GCS answers, and it is %+v, the cluster %+v", info.GCS, info.Cluster)
		}
		if !strings.Contains(info.NextStep, alone) || !strings.Contains(info.NextStep, "ray start --head") || strings.Count(log.String(), alone) == 0 {
			t.Errorf("%q", info.NextStep)
		}
		m.gcs.stall()
		becomes(t, conn, 20*time.Second, func(i connector.Info) bool { return !i.GCS.Answers && i.State == connector.StateDisconnected })
		time.Sleep(time.Minute)
		if info := conn.Info(); info.GCS.Answers || strings.Contains(info.NextStep, alone) || info.Cluster.Status != connector.ClusterUnknown {
			t.Errorf("the GCS is silent: %+v", info)
		}
		m.gcs.heal()
		becomes(t, conn, 30*time.Second, func(i connector.Info) bool { return i.GCS.Answers && strings.Contains(i.NextStep, alone) })
		m.session.heal()
		becomes(t, conn, 10*time.Second, func(i connector.Info) bool { return i.State == connector.StateConnected && i.NextStep == "" })
	})
}

// What is said of the cluster is what was asked: without a way to the GCS a silent session says nothing of it.
func TestNobodySpeaksForAClusterThatIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.gcs.refuse()
		conn, _ := newConnector(t, m.config())
		if err := conn.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.session.stall()
		becomes(t, conn, 20*time.Second, func(i connector.Info) bool { return i.State == connector.StateReconnecting })
		if step := conn.Info().NextStep; strings.Contains(step, "the cluster itself answers") || !strings.Contains(step, "is not known") {
			t.Errorf("%q", step)
		}
	})
}

// A server that keeps its connections up and answers nothing has no thread to spare, or hangs: which of them cannot be told.
func TestAServerThatAnswersNothingCountsAsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.setMute(true)
		conn, _ := newConnector(t, m.config())
		began := time.Now()
		problem := failsToConnect(t, conn, connector.KindFull, ray.ErrServerFull, "restart the head's Ray Client server")
		if full, ok := errors.AsType[*ray.FullError](problem); !ok || full.Sign != ray.FullSilent || time.Since(began) > 20*time.Second {
			t.Errorf("after %v: %v", time.Since(began), problem)
		}
		m.setMute(false)
		if err := conn.Connect(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
