package connector_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
)

// nameServer answers every question with the address that it has at the moment, or that there is no such name.
type nameServer struct {
	address atomic.Pointer[netip.Addr]
	asked   atomic.Int64
}

// startNameServer makes the names of this process those of a server of the test's own, until the test ends.
func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, done := &nameServer{}, make(chan struct{})
	go func() {
		defer close(done)
		s.serve(conn)
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return s
}

func (s *nameServer) serve(conn net.PacketConn) {
	question := make([]byte, 512)
	for {
		n, from, err := conn.ReadFrom(question)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		var m dnsmessage.Message
		if err != nil || m.Unpack(question[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		s.asked.Add(1)
		m.Response, m.Authoritative, m.Additionals = true, true, nil
		q := m.Questions[0]
		switch address := s.address.Load(); {
		case address == nil:
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 3600},
				Body:   &dnsmessage.AResource{A: address.As4()},
			}}
		}
		if answer, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(answer, from) // as lossy as the real one
		}
	}
}

func (s *nameServer) moveTo(address string) {
	a := netip.MustParseAddr(address)
	s.address.Store(&a)
}

// A name is looked up at every dial, whatever its time to live: a head that gets its name late is found, and one that
// moved is followed, by the session and by the GCS.
func TestNamesAreLookedUpAtEveryDial(t *testing.T) {
	names := startNameServer(t)
	head := raytest.Head(t)
	here, gcsHere := faultproxy.New(t, head.ClientAddress()), faultproxy.New(t, head.GCSAddress())
	there := faultproxy.NewAt(t, net.JoinHostPort("127.0.0.2", strconv.Itoa(portOf(t, here.Address()))), head.ClientAddress())
	gcsThere := faultproxy.NewAt(t, net.JoinHostPort("127.0.0.2", strconv.Itoa(portOf(t, gcsHere.Address()))), head.GCSAddress())

	conn, _ := newConnector(t, connector.Config{
		Address: net.JoinHostPort("head.seedcore.test", strconv.Itoa(portOf(t, gcsHere.Address()))), ClientPort: portOf(t, here.Address()),
		Namespace: raytest.Namespace(t), HealthInterval: 200 * time.Millisecond, HealthTimeout: 2 * time.Second,
		FirstBackoff: 50 * time.Millisecond, SlowestBackoff: 200 * time.Millisecond,
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := conn.Connect(ctx)
	if failed, ok := errors.AsType[*connector.ConnectError](err); !ok || failed.Kind != connector.KindUnresolvable {
		t.Fatalf("a name that does not exist: %v", err)
	}
	conn.Start()
	names.moveTo("127.0.0.1")
	waitState(t, conn, 30*time.Second, connector.StateConnected)
	if here.Stats().Accepted == 0 || gcsHere.Stats().Accepted == 0 || there.Stats().Accepted != 0 {
		t.Errorf("through %+v, %+v, %+v", here.Stats(), gcsHere.Stats(), there.Stats())
	}

	names.moveTo("127.0.0.2")
	for _, old := range []*faultproxy.Proxy{here, gcsHere} {
		old.Refuse(true)
		old.Cut()
	}
	for begin := time.Now(); there.Stats().Accepted == 0 || gcsThere.Stats().Accepted == 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("nobody followed the name: %+v, %+v, asked %d times", there.Stats(), gcsThere.Stats(), names.asked.Load())
		}
	}
	if info := waitState(t, conn, 30*time.Second, connector.StateConnected); info.Epoch != 1 {
		t.Errorf("the session was not resumed where the name leads to: %+v", info)
	}
}
