package connector_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// withGCS is a connector whose GCS is asked for at an address of the test's, and whose session goes to a client port on
// the same host. Its checks are quick.
func withGCS(t *testing.T, gcs string, clientPort int) (*connector.Connector, *safeBuffer) {
	t.Helper()
	return newConnector(t, connector.Config{
		Address: gcs, ClientPort: clientPort, Namespace: raytest.Namespace(t),
		HealthInterval: 200 * time.Millisecond, HealthTimeout: 2 * time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 500 * time.Millisecond,
	})
}

// throughGCSProxy is such a connector to the shared head, with the GCS behind a proxy. It is not connected yet.
func throughGCSProxy(t *testing.T) (*faultproxy.Proxy, *connector.Connector) {
	t.Helper()
	head := raytest.Head(t)
	proxy := faultproxy.New(t, head.GCSAddress())
	conn, _ := withGCS(t, proxy.Address(), portOf(t, head.ClientAddress()))
	return proxy, conn
}

// The loss of one link is told from the loss of both.
func TestTheGCSAloneIsDegraded(t *testing.T) {
	proxy, conn := throughGCSProxy(t)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if info := conn.Info(); info.GCSAddress != proxy.Address() || !info.Direct || !info.GCS.Answers || !info.Session.Answers {
		t.Fatalf("%+v", info)
	}
	proxy.Refuse(true)
	proxy.Cut()
	info := waitState(t, conn, 20*time.Second, connector.StateDegraded)
	if !strings.Contains(info.LastError, "GCS") || !info.Session.Answers || info.GCS.Answers || info.GCS.LastHealthy.IsZero() {
		t.Errorf("%+v", info)
	}
	proxy.Refuse(false)
	if info := waitState(t, conn, 20*time.Second, connector.StateConnected); info.Epoch != 1 || info.LastError != "" || !info.GCS.Answers {
		t.Errorf("%+v", info)
	}
}

// Without a way to the GCS there are no direct calls, and the reason is there to read. They begin when there is a way,
// with the same session, for those who hold its client.
func TestDirectCallsBeginWhenTheGCSIsReachable(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end func(*faultproxy.Proxy) }{
		"silent": {(*faultproxy.Proxy).Stall, func(p *faultproxy.Proxy) {
			p.Cut()
			p.Resume()
		}},
		"refused": {func(p *faultproxy.Proxy) { p.Refuse(true) }, func(p *faultproxy.Proxy) { p.Refuse(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, conn := throughGCSProxy(t)
			fault.begin(proxy)
			if err := conn.Connect(deadline(t)); err != nil {
				t.Fatal(err)
			}
			info := conn.Info()
			if info.Direct || info.NoDirect == "" || info.State != connector.StateConnected || info.GCS.Answers {
				t.Errorf("%+v", info)
			}
			client, err := conn.Client()
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Call(deadline(t), info.Namespace, "nobody", "nothing")
			if paths := client.Paths(); !errors.Is(err, ray.ErrActorNotFound) || paths.Detours[ray.DetourNoPath] != 1 || paths.Direct != 0 {
				t.Errorf("%v by %+v", err, paths)
			}
			fault.end(proxy)
			until(t, func() bool { return conn.Info().Direct })
			if after, err := conn.Client(); err != nil || after != client {
				t.Errorf("another client in the same epoch, or %v", err)
			}
			_, err = client.Call(deadline(t), info.Namespace, "nobody", "nothing")
			if paths := client.Paths(); !errors.Is(err, ray.ErrActorNotFound) || paths.Detours[ray.DetourNoPath] != 1 || paths.Direct != 1 {
				t.Errorf("%v by %+v", err, paths)
			}
			if info := conn.Info(); info.Epoch != 1 || info.NoDirect != "" || !info.GCS.Answers || info.ClusterID == "" {
				t.Errorf("%+v", info)
			}
		})
	}
}

// The modes of direct calls are those of the client, and Info tells of them. A port forward in front of the GCS and of the
// actors is dialled instead of what the cluster names.
func TestDirectModes(t *testing.T) {
	head := raytest.Head(t)
	for _, mode := range []ray.DirectMode{ray.DirectAuto, ray.DirectOff, ray.DirectRequire} {
		t.Run(mode.String(), func(t *testing.T) {
			var mapped sync.Map // the address that was dialled for one that the cluster named
			cfg, err := connector.FromLookup(lookup(map[string]string{
				"RAY_ADDRESS": "ray://" + head.ClientAddress(), "RAY_NAMESPACE": raytest.Namespace(t), "SEEDCORE_DIRECT": mode.String(),
			}))
			if err != nil {
				t.Fatal(err)
			}
			cfg.AddressMap = func(named string) string {
				forward, known := mapped.Load(named)
				if !known {
					forward, _ = mapped.LoadOrStore(named, faultproxy.New(t, named).Address())
				}
				return forward.(string)
			}
			conn, _ := newConnector(t, cfg)
			if err := conn.Connect(deadline(t)); err != nil {
				t.Fatal(err)
			}
			info := conn.Info()
			gcs, _ := mapped.Load(head.GCSAddress())
			if off := mode == ray.DirectOff; info.DirectMode != mode || info.Direct == off || strings.Contains(info.NoDirect, "SEEDCORE_DIRECT") != off {
				t.Errorf("%+v", info)
			}
			if !info.GCS.Answers || info.GCSAddress == head.GCSAddress() || info.GCSAddress != gcs {
				t.Errorf("the GCS at %s instead of %v: %+v", info.GCSAddress, gcs, info.GCS)
			}
			client, err := conn.Client()
			if err != nil {
				t.Fatal(err)
			}
			class, err := client.Session().PythonClass(deadline(t), "seedtest", "Counter")
			if err != nil {
				t.Fatal(err)
			}
			actor, err := client.Session().CreateActor(deadline(t), class, ray.ActorOptions{Name: "counter", NumCPUs: 0.1})
			if err != nil {
				t.Fatal(err)
			}
			defer actor.Release()
			if _, err := conn.Call(deadline(t), "counter", "incr"); err != nil {
				t.Error(err)
			}
			ref, err := client.Session().Put(deadline(t), 1)
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.Call(deadline(t), "counter", "incr", ref) // which only the session carries
			if refused := errors.Is(err, ray.ErrUnsupportedValue); refused != (mode == ray.DirectRequire) || !refused && err != nil {
				t.Error(err)
			}
			forwards := 0
			mapped.Range(func(_, _ any) bool { forwards++; return true })
			paths := client.Paths()
			if mode == ray.DirectOff && (paths.Detours[ray.DetourOff] != 2 || forwards != 1) || mode != ray.DirectOff && (paths.Direct == 0 || forwards != 2) {
				t.Errorf("%+v through %d forwards", paths, forwards)
			}
		})
	}
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to that")
		}
	}
}

// A GCS that is silent while the session is renewed keeps its place: direct calls are not given up for the new epoch.
func TestASilentGCSOutlastsANewSession(t *testing.T) {
	proxy, conn := throughGCSProxy(t)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	proxy.Stall()
	if err := conn.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	info := waitState(t, conn, 20*time.Second, connector.StateDegraded)
	if info.Epoch != 2 || !info.Direct || info.GCS.Answers || !strings.Contains(info.LastError, "GCS") {
		t.Errorf("%+v", info)
	}
	after, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	if after.GCS() != before.GCS() || after.Session() == before.Session() {
		t.Error("the link of the same cluster was given up, or the session is the same")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	direct, _ := after.Direct()
	if _, err := direct.Call(ctx, "nowhere", "nobody", "nothing"); errors.Is(err, ray.ErrClosed) {
		t.Error(err)
	}
	proxy.Resume()
	if info := waitState(t, conn, 30*time.Second, connector.StateConnected); info.Epoch != 2 || !info.GCS.Answers {
		t.Errorf("%+v", info)
	}
}

// The state speaks of both links from the moment at which the second is taken in.
func TestTheStateIsThatOfBothLinks(t *testing.T) {
	head := raytest.Head(t)
	gcs, client := faultproxy.New(t, head.GCSAddress()), faultproxy.New(t, head.ClientAddress())
	conn, _ := withGCS(t, gcs.Address(), portOf(t, client.Address()))
	gcs.Refuse(true)
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	client.Stall()
	defer client.Resume()
	waitState(t, conn, 30*time.Second, connector.StateReconnecting)
	events := conn.Subscribe(100)
	defer events.Close()
	gcs.Refuse(false)
	for {
		select {
		case e := <-events.Events():
			if !e.Info.GCS.Answers {
				continue
			}
			if !e.Info.Session.Answers && e.To != connector.StateDegraded {
				t.Errorf("%s, %+v", e.To, e.Info)
			}
			return
		case <-deadline(t).Done():
			t.Fatal("the GCS was not found")
		}
	}
}

// Direct calls were tested on some versions only. A cluster that comes back with another one is looked at anew, and
// callers meet the new client, or the old one with a typed error, and never one that is closed.
func TestTheVersionIsCheckedAgainWhenTheClusterChanges(t *testing.T) {
	head := raytest.Head(t)
	var upgraded atomic.Bool
	gcs := editProxy(t, head.GCSAddress(), func(method string, answer []byte) []byte {
		if method != corepb.NodeInfoGcsService_CheckAlive_FullMethodName || !upgraded.Load() {
			return answer
		}
		return edited(t, answer, &corepb.CheckAliveReply{}, func(m *corepb.CheckAliveReply) { m.RayVersion = "2.99.0" })
	})
	conn, _ := withGCS(t, gcs, portOf(t, head.ClientAddress()))
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	before, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	direct, reason := before.Direct()
	if direct == nil {
		t.Fatal(reason)
	}
	upgraded.Store(true)
	if err := conn.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return !conn.Info().Direct })
	after, _, err := conn.WaitSession(deadline(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	if d, reason := after.Direct(); d != nil || !errors.Is(reason, ray.ErrUnsupportedVersion) {
		t.Errorf("a version that was not tested: %v", reason)
	}
	if _, err := direct.Call(deadline(t), "nowhere", "nobody", "nothing"); !errors.Is(err, ray.ErrActorNotFound) {
		t.Errorf("a caller with the client before: %v", err)
	}
	if info := conn.Info(); info.Direct || !strings.Contains(info.NoDirect, "2.99.0") || !info.GCS.Answers {
		t.Errorf("%+v", info)
	}
}

// A cluster that the driver was not tested with is told of, once a session.
func TestAnUntestedVersionIsToldOnce(t *testing.T) {
	head := raytest.Head(t)
	server := editProxy(t, head.ClientAddress(), func(method string, answer []byte) []byte {
		if method != raypb.RayletDataStreamer_Datapath_FullMethodName {
			return answer
		}
		return edited(t, answer, &raypb.DataResponse{}, func(m *raypb.DataResponse) {
			if info := m.GetConnectionInfo(); info != nil {
				info.RayVersion = "2.99.0"
			}
		})
	})
	conn, log := newConnector(t, connector.Config{Address: "ray://" + server, Namespace: raytest.Namespace(t), HealthInterval: 50 * time.Millisecond})
	for session := 1; session <= 2; session++ {
		if err := conn.Reset(deadline(t)); err != nil {
			t.Fatal(err)
		}
		first := conn.Info().Session.LastHealthy
		until(t, func() bool { return conn.Info().Session.LastHealthy.After(first.Add(100 * time.Millisecond)) })
		told := strings.Count(log.String(), "level=WARN msg=\"the cluster is not one")
		if told != session || !strings.Contains(log.String(), "runs Ray 2.99.0, this driver was tested with") {
			t.Errorf("told %d times in %d sessions:\n%s", told, session, log)
		}
	}
}

// Without a session nothing is said of one.
func TestALostSessionLeavesNoTrace(t *testing.T) {
	proxy, conn, _ := throughProxy(t)
	proxy.Refuse(true)
	if err := session(t, conn).Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	info := waitState(t, conn, 30*time.Second, connector.StateDisconnected)
	if info.SessionID+info.JobID+info.NodeID+info.ClusterID+info.RayVersion+info.PythonVersion+info.GCSAddress+info.NoDirect != "" || info.Direct {
		t.Errorf("what is gone: %+v", info)
	}
	if info.Session.Answers || info.Session.LastHealthy.IsZero() || info.Epoch != 1 || info.LastError == "" {
		t.Errorf("%+v", info)
	}
	proxy.Refuse(false)
	if info := waitState(t, conn, 60*time.Second, connector.StateConnected); info.SessionID == "" || !info.Session.Answers || !info.GCS.Answers || !info.Direct || info.Epoch != 2 {
		t.Errorf("%+v", info)
	}
}

// An address of the GCS at which another server is, such as the Ray Client server's without its ray://, costs no direct
// calls: the cluster knows where its GCS is.
func TestAnAddressThatIsNoGCS(t *testing.T) {
	address := raytest.Head(t).ClientAddress()
	conn, log := withGCS(t, address, portOf(t, address))
	for range 2 {
		if err := conn.Reset(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if info := conn.Info(); !info.Direct || info.GCSAddress == address || !info.GCS.Answers || info.State != connector.StateConnected {
			t.Errorf("%+v", info)
		}
	}
	if !strings.Contains(log.String(), "begins with ray://") {
		t.Error("nothing tells of it")
	}
}
