package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/seedcore/seedcore/internal/faultproxy"
)

// island is a network of the test's own, which has a loopback interface and nothing else. What listens outside is not
// reached from there until it is let in, one address after the other.
type island struct {
	t     *testing.T
	work  chan func()   // for the one thread that is there
	sunk  chan struct{} // closed when that thread is gone
	stats string        // the counters of the island's network
}

// newIsland needs a network namespace: as root, or in a process that isolate.sh started.
func newIsland(t *testing.T) *island {
	t.Helper()
	i := &island{t: t, work: make(chan func()), sunk: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(i.sunk)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		i.stats = fmt.Sprintf("/proc/self/task/%d/net/snmp", syscall.Gettid())
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			ready <- fmt.Errorf("a network namespace: %w", err)
			return
		}
		ready <- loopbackUp()
		for f := range i.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(i.work)
		<-i.sunk
	})
	return i
}

// loopbackUp switches the loopback interface of the thread's network on.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("the loopback interface: %w", errno)
	}
	return nil
}

// there runs f in the island: sockets that it opens and processes that it starts are of its network.
func (i *island) there(f func()) {
	i.t.Helper()
	done := make(chan struct{})
	select {
	case i.work <- func() { defer close(done); f() }:
		<-done
	case <-i.sunk:
		i.t.Fatal("the island is gone")
	}
}

// start runs `seedcore ARGS` in the island. What the test asks it goes there as well.
func (i *island) start(env []string, args ...string) *program {
	i.t.Helper()
	p := startAt(i.t, i.there, env, args...)
	transport := &http.Transport{DialContext: i.dial}
	i.t.Cleanup(transport.CloseIdleConnections)
	p.client = &http.Client{Transport: transport}
	return p
}

// dial connects from the island.
func (i *island) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	i.there(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
	return conn, err
}

// letIn makes what listens outside at an address reachable in the island, at the same address.
func (i *island) letIn(address string) *faultproxy.Proxy {
	i.t.Helper()
	var proxy *faultproxy.Proxy
	i.there(func() { proxy = faultproxy.NewAt(i.t, address, address) })
	if proxy == nil {
		i.t.FailNow()
	}
	return proxy
}

// swallow makes an address of the island silent, as a packet filter does: without it a connection is refused. It
// returns what ends that.
func (i *island) swallow(address string) (end func()) {
	i.t.Helper()
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		i.t.Fatal(err)
	}
	var fd int
	i.there(func() {
		if fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		// Of every packet the first zero bytes are kept.
		nothing := []syscall.SockFilter{{Code: syscall.BPF_RET | syscall.BPF_K}}
		err = errors.Join(
			syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
			syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}),
			attach(fd, nothing),
			syscall.Listen(fd, 16),
		)
	})
	if err != nil {
		i.t.Fatalf("swallow connections to %s: %v", address, err)
	}
	end = sync.OnceFunc(func() { _ = syscall.Close(fd) })
	i.t.Cleanup(end)
	return end
}

func attach(fd int, filter []syscall.SockFilter) error {
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := syscall.Syscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_ATTACH_FILTER,
		uintptr(unsafe.Pointer(&program)), unsafe.Sizeof(program), 0)
	runtime.KeepAlive(filter)
	if errno != 0 {
		return errno
	}
	return nil
}

// dials is how many connections were begun in the island so far, by any process, whatever became of them.
func (i *island) dials() int {
	i.t.Helper()
	text, err := os.ReadFile(i.stats)
	if err != nil {
		i.t.Fatal(err)
	}
	var names []string
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) == 0 || fields[0] != "Tcp:":
		case names == nil:
			names = fields
		default:
			for n, name := range names {
				if name == "ActiveOpens" {
					return atoi(i.t, fields[n])
				}
			}
		}
	}
	i.t.Fatalf("no count of connections in %s", text)
	return 0
}

// An island is what the tests below take it for.
func TestIsland(t *testing.T) {
	i := newIsland(t)
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outside.Close() }()
	address := outside.Addr().String()
	dial := func(want string) {
		t.Helper()
		before := i.dials()
		var conn net.Conn
		i.there(func() { conn, err = net.DialTimeout("tcp", address, time.Second) })
		if err == nil {
			_ = conn.Close()
		}
		if !strings.Contains(fmt.Sprint(err), want) || i.dials() != before+1 {
			t.Errorf("%v, want %s; %d connections, then %d", err, want, before, i.dials())
		}
	}
	dial("connection refused")
	end := i.swallow(address)
	dial("i/o timeout")
	end()
	i.letIn(address)
	dial("<nil>")
}
