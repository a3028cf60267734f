package organism_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// With the defaults, an actor that stands still is told within 20 s.
func TestSilenceIsToldInTime(t *testing.T) {
	if limit := organism.DefaultProbeInterval + 2*organism.DefaultCallTimeout; limit >= 20*time.Second {
		t.Errorf("told after %s", limit)
	}
}

// What counts as silence: the same process, probe after probe, without an answer.
func TestWhatCountsAsSilence(t *testing.T) {
	type probe struct {
		worker string
		missed bool
		want   int // missed in a row, after it
	}
	for name, probes := range map[string][]probe{
		"a process that stands still": {{"w", true, 1}, {"w", true, 2}, {"w", true, 3}},
		"an answer ends it":           {{"w", true, 1}, {"w", true, 2}, {"w", false, 0}, {"w", true, 1}},
		"another process":             {{"w", true, 1}, {"w", true, 2}, {"v", true, 1}},
	} {
		s := organism.NewSilence()
		for i, p := range probes {
			if got := s.Probe(p.worker, p.missed); got != p.want {
				t.Errorf("%s, probe %d: %d missed in a row, want %d", name, i, got, p.want)
			}
		}
	}
	for _, c := range []struct {
		silent, actors int
		want           bool
	}{{1, 1, false}, {1, 2, false}, {2, 4, true}, {2, 5, false}, {3, 5, true}} {
		if organism.TooMany(c.silent, c.actors) != c.want {
			t.Errorf("%d of %d are too many: %v", c.silent, c.actors, !c.want)
		}
	}
}

// What was met is forgotten with its cluster, not when the cluster of a session becomes known.
func TestWhatWasMetIsForgottenWithItsCluster(t *testing.T) {
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	const name = organism.MwStoreName
	type place struct {
		session, cluster string
		kept             bool
	}
	for what, places := range map[string][]place{
		"the cluster becomes known":   {{"s", "", false}, {"s", "c", true}, {"t", "c", true}},
		"its GCS is not reachable":    {{"s", "c", false}, {"s", "", true}, {"s", "c", true}, {"t", "c", true}},
		"another cluster":             {{"s", "c", false}, {"t", "d", false}},
		"a session on it knows not":   {{"s", "c", false}, {"t", "", false}, {"t", "c", true}},
		"two sessions that know none": {{"s", "", false}, {"t", "", false}},
	} {
		org, err := organism.New(conn, organism.DefaultConfig(), organism.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range places {
			org.Enter(p.session, p.cluster)
			if err := org.Ours(name); (err == nil) != p.kept || err != nil && !errors.Is(err, organism.ErrNotReady) {
				t.Errorf("%s, place %d: %v", what, i, err)
			}
			org.Meet(name, nil)
		}
	}
}
