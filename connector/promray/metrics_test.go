package promray_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/connector/promray"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

var row = regexp.MustCompile("(?m)^\\| `(seedcore_ray_\\w+)` \\| (\\w+) \\| ?([\\w, ]*?) ?\\| ")

// measured connects with metrics. The connection is closed at the end of the test, and the context ends after 90 s.
func measured(t *testing.T, cfg connector.Config) (context.Context, *connector.Connector, *prometheus.Registry) {
	t.Helper()
	m := promray.New()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	cfg.Metrics = m
	conn, err := connector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	// The test's own context is over when its clean-up begins.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 90*time.Second)
	t.Cleanup(func() {
		defer cancel()
		if err := conn.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := conn.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx, conn, registry
}

// docs/metrics.md has every name with its type and labels, and a run on a real Ray has them all.
func TestTheDocumentHasEveryMetric(t *testing.T) {
	head := raytest.Head(t)
	ctx, conn, registry := measured(t, connector.Config{
		Address: "ray://" + head.ClientAddress(), Namespace: raytest.Namespace(t), HealthInterval: 200 * time.Millisecond,
	})
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	class, err := client.Session().PythonClass(ctx, "seedtest", "Counter")
	if err != nil {
		t.Fatal(err)
	}
	actor, err := client.Session().CreateActor(ctx, class, ray.ActorOptions{Name: "counter"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Call(ctx, "counter", "get"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Session().Put(ctx, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := conn.WithBulk(ctx, func(s *ray.Session) error {
		ref, err := s.Put(ctx, make([]byte, 2000))
		if err == nil {
			_, err = s.Get(ctx, ref)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Call(ctx, "nobody", "get"); err == nil {
		t.Fatal("an actor that is not there answered")
	}
	for conn.Info().Cluster.Status != connector.ClusterCurrent || !conn.Info().GCS.Answers || conn.Stat().Checks == 0 {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%+v", conn.Info())
		}
	}
	first := gather(t, registry)
	if sent := first[`seedcore_ray_bytes_total{direction="sent"}`]; sent < 1000 {
		t.Errorf("%v bytes sent", sent)
	}
	for _, direction := range []string{"sent", "received"} {
		if n := first[`seedcore_ray_bulk_bytes_total{direction="`+direction+`"}`]; n < 2000 || n > 10_000 {
			t.Errorf("%v bytes %s in the bulk lane", n, direction)
		}
	}
	for _, series := range []string{
		`seedcore_ray_sessions{state="bulk_idle"}`, `seedcore_ray_rpc_duration_seconds{code="ok",method="direct_call"}`, `seedcore_ray_rpc_duration_seconds{code="actor_not_found",method="direct_call"}`,
		`seedcore_ray_rpc_duration_seconds{code="ok",method="put"}`, `seedcore_ray_connect_attempts_total{outcome="ok"}`,
		`seedcore_ray_connected{}`, `seedcore_ray_refs{}`, `seedcore_ray_nodes{state="alive"}`, `seedcore_ray_sessions{state="main"}`,
		`seedcore_ray_state{state="connected"}`, `seedcore_ray_calls_total{path="direct",reason=""}`,
	} {
		if first[series] < 1 {
			t.Errorf("%s is %v", series, first[series])
		}
	}

	if err := conn.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	if client, err = conn.Client(); err != nil {
		t.Fatal(err)
	}
	if err := client.Session().Kill(ctx, actor, true); err == nil {
		t.Error("a handle of the session before was taken")
	}
	second := gather(t, registry)
	for _, series := range []string{`seedcore_ray_reconnects_total{reason="reset"}`, `seedcore_ray_stale_ref_total{}`} {
		if second[series] != 1 {
			t.Errorf("%s is %v", series, second[series])
		}
	}
	if second[`seedcore_ray_session_epoch{}`] != 2 {
		t.Errorf("epoch %v", second[`seedcore_ray_session_epoch{}`])
	}

	text, err := os.ReadFile(filepath.Join(raytest.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented, seen []string
	for _, r := range row.FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, r[1]+" "+r[2]+" "+r[3])
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		seen = append(seen, f.GetName()+" "+strings.ToLower(f.GetType().String())+" "+strings.Join(labels, ", "))
	}
	slices.Sort(documented)
	slices.Sort(seen)
	if !slices.Equal(documented, seen) {
		t.Errorf("documented\n%s\nseen\n%s", strings.Join(documented, "\n"), strings.Join(seen, "\n"))
	}
}

// gather returns the value of every series, of histograms the number of observations.
func gather(t *testing.T, registry prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			v := m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			values[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return values
}

// What goes wrong is counted: a cut that the session outlives, checks without an answer, and a session that is lost.
func TestTroubleIsCounted(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	ctx, _, registry := measured(t, connector.Config{
		Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t),
		HealthInterval: 100 * time.Millisecond, HealthTimeout: 500 * time.Millisecond, ReconnectGrace: 5 * time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 100 * time.Millisecond,
	})
	// until waits for all of the series to have at least those values.
	until := func(want map[string]float64) {
		t.Helper()
		for {
			got := gather(t, registry)
			missing := ""
			for series, least := range want {
				if v, there := got["seedcore_ray_"+series]; !there || v < least {
					missing += " " + series
				}
			}
			if missing == "" {
				return
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("too few:%s in %v", missing, got)
			}
		}
	}
	before := gather(t, registry)
	for _, series := range []string{`state_changes_total{state="degraded"}`, `reconnects_total{reason="lost"}`, `session_resumptions_total{}`} {
		if v, there := before["seedcore_ray_"+series]; !there || v != 0 {
			t.Errorf("before anything went wrong %s is %v, %v", series, v, there)
		}
	}
	proxy.Stall()
	until(map[string]float64{`health_check_failures_total{link="session"}`: 1, `state_changes_total{state="degraded"}`: 1, `link_answers{link="gcs"}`: 1})
	if got := gather(t, registry); got[`seedcore_ray_connected{}`] != 0 || got[`seedcore_ray_link_answers{link="session"}`] != 0 || got[`seedcore_ray_health_check_failures_total{link="gcs"}`] != 0 {
		t.Errorf("while the session is silent: %v", got)
	}
	proxy.Cut()
	proxy.Resume()
	until(map[string]float64{`session_resumptions_total{}`: 1, `state_changes_total{state="connected"}`: 2, `connected{}`: 1})
	proxy.Refuse(true)
	proxy.Cut()
	until(map[string]float64{`state_changes_total{state="lost"}`: 1, `connect_attempts_total{outcome="not_ray"}`: 1, `link_answers{link="gcs"}`: 1})
	proxy.Refuse(false)
	until(map[string]float64{`reconnects_total{reason="lost"}`: 1, `session_epoch{}`: 2, `connected{}`: 1})
}

func TestDirectCallsNeedALink(t *testing.T) {
	up := connector.Link{Answers: true}
	for _, c := range []struct {
		info connector.Info
		want bool
	}{
		{connector.Info{Direct: true, Session: up, GCS: up}, true},
		{connector.Info{Direct: true, Session: up}, true}, // known targets need no GCS
		{connector.Info{Direct: true, GCS: up}, true},
		{connector.Info{Direct: true}, false},
		{connector.Info{Session: up}, false},
	} {
		if got := promray.CallsDirectly(c.info); got != c.want {
			t.Errorf("%+v: %t", c.info, got)
		}
	}
}
