package ray_test

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/seedcore/seedcore/ray"
)

// leaver accepts connections in front of a worker. As many as the test wants meet a server that never looks at a request, as
// one does that ends; the others are the worker's.
type leaver struct {
	listener net.Listener
	worker   string
	left     atomic.Int64 // how many more connections are to be refused
	refuse   func(framer *http2.Framer, stream uint32) error
}

func (l *leaver) serve() {
	for {
		conn, err := l.listener.Accept()
		if err != nil {
			return // the test is over
		}
		go func() {
			defer func() { _ = conn.Close() }() // it ends as one likes
			if l.left.Add(-1) >= 0 {
				_ = l.leave(conn)
				return
			}
			worker, err := net.Dial("tcp", l.worker)
			if err != nil {
				return
			}
			defer func() { _ = worker.Close() }()
			go func() { _, _ = io.Copy(worker, conn) }()
			_, _ = io.Copy(conn, worker)
		}()
	}
}

func (l *leaver) leave(conn net.Conn) error {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.DataFrame: // the request has left
			if f.StreamEnded() {
				err = l.refuse(framer, f.StreamID)
			}
		}
		if err != nil {
			return err
		}
	}
}

// A worker that says of a request that it never looks at it, since it ends or wants no more, gets it again, or the caller
// learns that it was not sent.
func testCallsThatAreNeverProcessed(t *testing.T, x directSetup) {
	behind := x.address(t, "counter")
	for name, refuse := range map[string]func(*http2.Framer, uint32) error{
		"GOAWAY": func(f *http2.Framer, _ uint32) error { return f.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"GOAWAY twice": func(f *http2.Framer, _ uint32) error {
			return errors.Join(f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil), f.WriteGoAway(0, http2.ErrCodeNo, nil))
		},
		"REFUSED_STREAM": func(f *http2.Framer, stream uint32) error {
			return f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
		},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			l := &leaver{listener: listener, worker: behind, refuse: refuse}
			go l.serve()
			x := x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(address string) string {
				if address == behind {
					return listener.Addr().String()
				}
				return address
			}}, ray.DirectBounds{})
			l.left.Store(2)
			before, err := x.call(deadline(t), "counter", "get")
			if err != nil {
				t.Fatal(err)
			}
			if n := l.left.Load(); n >= 0 {
				t.Errorf("%d connections too many were to be refused", n+1)
			}
			v, err := x.call(deadline(t), "counter", "incr")
			if err != nil || v != before.(int64)+1 {
				t.Errorf("%v, %v; it was %v", v, err, before)
			}

			hopeless := x.over(t, x.gcs, ray.DirectOptions{AddressMap: func(string) string { return listener.Addr().String() }}, ray.DirectBounds{Refused: 1})
			l.left.Store(1 << 30)
			wantSent(t, second(hopeless.call(deadline(t), "counter", "incr")), ray.ErrUnreachable, ray.SentNo)
		})
	}
}
