package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one forwarded connection.
type link struct {
	proxy          *Proxy
	client, server net.Conn
	gone           chan struct{} // closed by the first reset or end
	once           sync.Once
	ended          atomic.Int32 // directions that saw their end of file
}

// move passes on what comes from one side until it ends or the link does. An end of file is passed on alone, so that
// the other direction may go on.
func (l *link) move(to, from net.Conn, count *atomic.Int64) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := from.Read(buffer)
		if !l.hold() {
			return
		}
		if n > 0 {
			count.Add(int64(n)) // first, so that what has arrived is counted
			if _, err := to.Write(buffer[:n]); err != nil {
				l.end()
				return
			}
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			l.reset() // a reset is passed on as one
			l.proxy.remove(l)
			return
		}
		if half, ok := to.(*net.TCPConn); ok && half.CloseWrite() == nil && l.ended.Add(1) < 2 {
			return
		}
		l.end()
		return
	}
}

// hold waits as long as the proxy's faults want. It is false when the link ended meanwhile.
func (l *link) hold() bool {
	stalled, delay := l.proxy.fault()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.gone:
			return false
		}
		stalled, _ = l.proxy.fault()
	}
	for stalled != nil {
		select {
		case <-stalled:
		case <-l.gone:
			return false
		}
		stalled, _ = l.proxy.fault()
	}
	return true
}

// reset ends both halves with a RST. It takes no lock: Cut calls it under the proxy's.
func (l *link) reset() {
	l.once.Do(func() {
		close(l.gone)
		reset(l.client)
		reset(l.server)
	})
}

// end closes both halves in order, and forgets the link.
func (l *link) end() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.client.Close()
		_ = l.server.Close()
	})
	l.proxy.remove(l)
}

// reset closes a connection with a RST instead of a FIN. Its errors would say that it is closed already.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
