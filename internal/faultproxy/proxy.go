package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	bufferSize  = 32 << 10
)

// Proxy forwards TCP connections to a target. Its methods may be called from any goroutine.
type Proxy struct {
	listener net.Listener
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	group    sync.WaitGroup // accept, and every link's goroutines

	mu      sync.Mutex // guards the fields below
	target  string
	refuse  bool
	delay   time.Duration
	stalled chan struct{} // nil: not stalled; closed by Resume
	links   map[*link]struct{}

	accepted, refused, up, down atomic.Int64
}

// Stats are counts since the proxy was opened.
type Stats struct {
	// Accepted counts the connections that were forwarded, Refused those that were turned away, by Refuse or because
	// the target did not answer.
	Accepted, Refused int64
	// Open is the number of connections that are open now.
	Open int
	// Up and Down count the bytes that were passed on, to the target and from it, or were about to be when the
	// connection broke.
	Up, Down int64
}

// New opens a proxy to the target (host:port) that is closed at the end of the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	return NewAt(t, "127.0.0.1:0", target)
}

// NewAt is New with the address to listen at.
func NewAt(t testing.TB, address, target string) *Proxy {
	t.Helper()
	p, err := open(address, target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// Open opens a proxy to the target (host:port), on a free port of 127.0.0.1. The caller closes it.
func Open(target string) (*Proxy, error) { return open("127.0.0.1:0", target) }

func open(address, target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, links: map[*link]struct{}{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.group.Go(p.accept)
	return p, nil
}

// Address returns the host:port to connect to.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// SetTarget changes where new connections lead. Those that are open stay.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut resets all connections, on both sides: each end gets "connection reset by peer", and bytes on the way are lost.
// New connections are welcome. It returns how many it cut.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
	n := len(p.links)
	clear(p.links)
	return n
}

// Stall makes a black hole: connections stay open and new ones are accepted, but nothing passes until Resume. Bytes that
// arrive meanwhile are held, in the buffers of the proxy and of the kernel.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled == nil {
		p.stalled = make(chan struct{})
	}
}

// Resume ends Stall: what was held is passed on.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled != nil {
		close(p.stalled)
		p.stalled = nil
	}
}

// Refuse makes the proxy reset every new connection, or stops that. Those that are open stay.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Delay holds every piece of data for that long, each way, before it is passed on. Pieces wait one after another, so it
// slows a stream down as well. 0 ends it.
func (p *Proxy) Delay(delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = delay
}

// Stats returns the counts.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	open := len(p.links)
	p.mu.Unlock()
	return Stats{Accepted: p.accepted.Load(), Refused: p.refused.Load(), Open: open, Up: p.up.Load(), Down: p.down.Load()}
}

// Close resets all connections and returns when every goroutine of the proxy has ended. It may be called again.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.listener.Close()
	p.Cut()
	p.group.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("faultproxy: %w", err)
	}
	return nil
}

// accept ends when the listener is closed.
func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // one connection that failed before it was accepted
		}
		p.group.Go(func() { p.forward(conn) })
	}
}

// forward opens the other half of a connection and moves bytes until one side ends.
func (p *Proxy) forward(client net.Conn) {
	p.mu.Lock()
	target, refuse := p.target, p.refuse
	p.mu.Unlock()
	if refuse {
		p.refused.Add(1)
		reset(client)
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(p.ctx, "tcp", target)
	if err != nil {
		p.refused.Add(1)
		reset(client)
		return
	}
	l := &link{proxy: p, client: client, server: server, gone: make(chan struct{})}
	if !p.add(l) {
		l.reset()
		return
	}
	p.accepted.Add(1)
	p.group.Go(func() { l.move(server, client, &p.up) })
	l.move(client, server, &p.down)
}

// add is false when the proxy is closed: Close has cut its last connection then.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// fault returns what new data has to wait for.
func (p *Proxy) fault() (stalled <-chan struct{}, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stalled, p.delay
}
