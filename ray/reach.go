package ray

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// How long a silent peer may stay unnoticed by the operating system. It probes idle connections, and gives up when what
// was sent stays unacknowledged. The other side needs to agree to nothing, unlike with the pings of gRPC: a Python worker of
// Ray 2.60.0 ends the connection of a client that sends one every 30 s, and every call on it, while a method runs. A
// process that is stopped acknowledges, since its kernel does.
const (
	probeAfter = 10 * time.Second
	probeEvery = 3 * time.Second
	probes     = 3
	// unacknowledged is TCP_USER_TIMEOUT where there is one; elsewhere the system's retransmissions end after minutes.
	unacknowledged = probeAfter + probes*probeEvery
)

// Dialer opens the connections to a cluster in place of TCP, through a tunnel or a jump host, say. It is given host:port as it was
// configured, or as the cluster names it, is called from several goroutines, and has to return when ctx ends.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// open connects to address.
func (d Dialer) open(ctx context.Context, address string) (net.Conn, error) {
	if d == nil {
		return dialTCP(ctx, address)
	}
	return d(ctx, address)
}

// dialTCP connects to address. No proxy is asked: clusters are near.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes},
		Control:         limitUnacknowledged,
	}
	return dialer.DialContext(ctx, "tcp", address)
}

// visit makes a connection to a process of the cluster for a question or two. Nothing is dialled before the first.
func visit(address string, c *Credentials, d Dialer) (*grpc.ClientConn, error) {
	secured, _ := c.DialOptions(address)
	conn, err := grpc.NewClient("passthrough:///"+address, append(secured,
		grpc.WithContextDialer(d.open), grpc.WithNoProxy(), grpc.WithDisableServiceConfig())...)
	if err != nil {
		return nil, fmt.Errorf("ray: address %q of a process of the cluster: %w", address, err)
	}
	return conn, nil
}

// silentAddresses is how many addresses of a host have to swallow connections until the host is taken to be filtered.
const silentAddresses = 3

// hostTable remembers the hosts to which connections vanish, so that not every actor there costs a wait of its own.
type hostTable struct {
	recheck time.Duration

	mu     sync.Mutex // guards silent
	silent map[string]*silentHost
}

type silentHost struct {
	addresses map[string]struct{} // at most silentAddresses
	err       error
	next      time.Time // when one connection may try again
}

// allow returns an error for an address on a host that swallows connections, except for one attempt from time to time.
func (h *hostTable) allow(address string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.silent[hostOf(address)]
	if s == nil || len(s.addresses) < silentAddresses {
		return nil
	}
	if now := time.Now(); !now.Before(s.next) {
		s.next = now.Add(h.recheck)
		return nil
	}
	return fmt.Errorf("%w at %s: nothing on its host answers: %w", ErrUnreachable, address, s.err)
}

// report takes the outcome of a connection in. Whatever answers, be it with a refusal, shows that the host is not silent.
func (h *hostTable) report(address string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	host := hostOf(address)
	if !isTimeout(err) {
		delete(h.silent, host)
		return
	}
	s := h.silent[host]
	if s == nil {
		if h.silent == nil || len(h.silent) >= maxSilentHosts {
			h.silent = map[string]*silentHost{}
		}
		s = &silentHost{addresses: map[string]struct{}{}}
		h.silent[host] = s
	}
	s.err, s.next = err, time.Now().Add(h.recheck)
	if len(s.addresses) < silentAddresses {
		s.addresses[address] = struct{}{}
	}
}

const maxSilentHosts = 4096

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// isTimeout reports whether a connection was swallowed, as by a packet filter.
func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
