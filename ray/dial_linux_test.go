package ray_test

import (
	"net"
	"syscall"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

// A peer that went silent is noticed by the operating system, without a word of ours.
func TestConnectionsAreProbed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := ray.DialTCP(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const userTimeout = 0x12 // TCP_USER_TIMEOUT
	for _, c := range []struct{ level, option, want int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 10},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 3},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 3},
		{syscall.IPPROTO_TCP, userTimeout, 19_000},
	} {
		err := raw.Control(func(fd uintptr) {
			if got, err := syscall.GetsockoptInt(int(fd), c.level, c.option); err != nil || got != c.want {
				t.Errorf("option %d.%d is %d instead of %d: %v", c.level, c.option, got, c.want, err)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}
