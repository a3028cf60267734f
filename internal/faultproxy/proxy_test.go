package faultproxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/internal/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echoServer answers every byte with itself, and a greeting first, by which servers are told apart.
func echoServer(t *testing.T, greeting string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer func() { _ = conn.Close() }()
				if _, err := io.WriteString(conn, greeting); err == nil {
					_, _ = io.Copy(conn, conn) // ends with the connection
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	return listener.Addr().String()
}

// dial connects and reads the greeting.
func dial(t *testing.T, address, greeting string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, greeting)
	return conn
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q (%v), want %q", got, err, want)
	}
}

func say(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func TestForward(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conn := dial(t, proxy.Address(), "A")
	say(t, conn, "hello")
	expect(t, conn, "hello")
	if stats := proxy.Stats(); stats != (faultproxy.Stats{Accepted: 1, Open: 1, Up: 5, Down: 6}) {
		t.Errorf("stats %+v", stats)
	}

	// An end of file travels alone: what is on the way back still arrives.
	say(t, conn, "bye")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(conn); err != nil || string(rest) != "bye" {
		t.Errorf("read %q (%v) after the end of writing", rest, err)
	}
}

func TestCut(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conns := []net.Conn{dial(t, proxy.Address(), "A"), dial(t, proxy.Address(), "A")}
	if n := proxy.Cut(); n != 2 {
		t.Errorf("cut %d connections, want 2", n)
	}
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read after the cut: %v, want a reset", err)
		}
	}
	if open := proxy.Stats().Open; open != 0 {
		t.Errorf("%d connections are open after the cut", open)
	}
	dial(t, proxy.Address(), "A")
}

func TestStallAndResume(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conn := dial(t, proxy.Address(), "A")
	before := proxy.Stats()
	proxy.Stall()
	say(t, conn, "held")
	if err := conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes (%v) passed a stalled proxy", n, err)
	}
	if after := proxy.Stats(); after != before {
		t.Errorf("stats changed from %+v to %+v", before, after)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	proxy.Resume()
	expect(t, conn, "held")
}

func TestStalledConnectionCanBeCutAndClosed(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conn := dial(t, proxy.Address(), "A")
	proxy.Stall()
	say(t, conn, "held")
	proxy.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read after the cut: %v, want a reset", err)
	}
	// Accepted in spite of the stall, silent, and no obstacle to Close.
	silent, err := net.Dial("tcp", proxy.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	if err := proxy.Close(); err != nil {
		t.Error(err)
	}
	if err := proxy.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestRefuse(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conn := dial(t, proxy.Address(), "A")
	proxy.Refuse(true)
	refused, err := net.Dial("tcp", proxy.Address())
	if err == nil {
		defer func() { _ = refused.Close() }()
		_, err = refused.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("new connection: %v, want a reset", err)
	}
	say(t, conn, "still here")
	expect(t, conn, "still here")
	proxy.Refuse(false)
	dial(t, proxy.Address(), "A")
	if refused := proxy.Stats().Refused; refused != 1 {
		t.Errorf("%d refused, want 1", refused)
	}
}

func TestSetTarget(t *testing.T) {
	proxy := faultproxy.New(t, echoServer(t, "A"))
	old := dial(t, proxy.Address(), "A")
	proxy.SetTarget(echoServer(t, "B"))
	dial(t, proxy.Address(), "B")
	say(t, old, "x")
	expect(t, old, "x")

	// A target that is not there refuses, as it would without a proxy.
	proxy.SetTarget("127.0.0.1:1")
	conn, err := net.Dial("tcp", proxy.Address())
	if err == nil {
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connection to nowhere: %v, want a reset", err)
	}
}

func TestDelay(t *testing.T) {
	const delay = 100 * time.Millisecond
	proxy := faultproxy.New(t, echoServer(t, "A"))
	conn := dial(t, proxy.Address(), "A")
	proxy.Delay(delay)
	start := time.Now()
	say(t, conn, "x")
	expect(t, conn, "x")
	// A lower bound: the timers cannot fire early, however busy the machine is.
	if took := time.Since(start); took < 2*delay {
		t.Errorf("the round trip took %v, want %v at least", took, 2*delay)
	}
	proxy.Delay(0)
	say(t, conn, "y")
	expect(t, conn, "y")
}
