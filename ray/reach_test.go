package ray_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// blackHole returns an address that swallows connections, as a packet filter would.
func blackHole(t *testing.T) (address string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 { // fill the queue of connections that nobody accepts
		conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the kernel accepts connections without bound")
	return ""
}

// Of a host that swallows connections, not every address is tried.
func TestSilentHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hosts := ray.NewHosts(time.Minute)
		for _, port := range []string{"1", "1", "2"} {
			hosts.Report("10.0.0.1:"+port, context.DeadlineExceeded)
			if err := hosts.Allow("10.0.0.1:4"); err != nil {
				t.Errorf("too early: %v", err)
			}
		}
		hosts.Report("10.0.0.1:3", context.DeadlineExceeded)
		err := hosts.Allow("10.0.0.1:4")
		if !errors.Is(err, ray.ErrUnreachable) || !strings.Contains(err.Error(), "10.0.0.1:4") {
			t.Errorf("three addresses were silent: %v", err)
		}
		if err := hosts.Allow("10.0.0.2:4"); err != nil {
			t.Errorf("another host: %v", err)
		}
		time.Sleep(time.Minute)
		if err := hosts.Allow("10.0.0.1:4"); err != nil {
			t.Errorf("nothing tries whether it answers again: %v", err)
		}
		if hosts.Allow("10.0.0.1:5") == nil {
			t.Error("more than one tries at once")
		}
		hosts.Report("10.0.0.1:4", syscall.ECONNREFUSED)
		if err := hosts.Allow("10.0.0.1:5"); err != nil {
			t.Errorf("it answers again: %v", err)
		}
	})
}
