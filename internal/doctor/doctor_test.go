package doctor_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/doctor"
	"github.com/seedcore/seedcore/internal/raytest"
)

func TestMain(m *testing.M) { raytest.Main(m, raytest.WithLeakCheck()) }

func examine(t *testing.T, address string) []doctor.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	return doctor.Examine(ctx, connector.Config{Address: address, Namespace: raytest.Namespace(t)})
}

// Each disease shows at its step, with a cure, and the steps behind it are not guessed at.
func TestDiseases(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := listener.Addr().String()
	_ = listener.Close()
	if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	other := grpc.NewServer() // as the GCS, it knows nothing of Ray Client
	var serving sync.WaitGroup
	serving.Go(func() { _ = other.Serve(listener) })
	defer serving.Wait()
	defer other.Stop()
	for name, c := range map[string]struct{ address, step, cure string }{
		"address":    {"http://head:8265", "address", "RAY_ADDRESS"},
		"name":       {"ray://no-such-head.invalid", "name", "RAY_ADDRESS"},
		"no head":    {"ray://" + dead, "TCP", "ray start --head"},
		"wrong port": {"ray://" + listener.Addr().String(), "session", "10001"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := examine(t, c.address)
			if doctor.Healthy(findings) || len(findings) != 11 {
				t.Errorf("%d findings: %+v", len(findings), findings)
			}
			reached := false
			for _, f := range findings {
				switch {
				case f.Step == c.step:
					reached = true
					if f.Status != doctor.Failed || !strings.Contains(f.Cure, c.cure) {
						t.Errorf("%+v", f)
					}
				case reached && f.Status != doctor.Skipped, !reached && f.Status != doctor.OK:
					t.Errorf("%+v", f)
				}
			}
			if !reached {
				t.Errorf("no step %s in %+v", c.step, findings)
			}
		})
	}
}

// One server of several is enough; the others are told of.
func TestOneServerOfSeveral(t *testing.T) {
	findings := examine(t, "ray://no-such-head.invalid,ray://"+raytest.Head(t).ClientAddress())
	if !doctor.Healthy(findings) || len(findings) != 11 {
		t.Errorf("%+v", findings)
	}
	for _, f := range findings {
		if want := f.Step == "name"; want != (f.Status == doctor.Warning) {
			t.Errorf("%+v", f)
		}
	}
}
