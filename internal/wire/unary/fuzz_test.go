package unary_test

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// Whatever a server sends: the calls end, at the latest with the connection, and so does all that belongs to it. What the client sends
// makes sense all the time.
func FuzzServerBytes(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{MaxReply: 1 << 20})
			cancelled, calls := start(c, "ping"), []*unary.Call{newCall("ping"), newCall(large), newCall("ping")}
			for _, call := range calls { // streams 3, 5 and 7
				call.KeepTrailer = true
				c.Start(call)
			}
			p.sent()
			cancelled.Cancel()
			_, _ = p.nc.Write(b) // the client may have had enough
			calls = append(calls, start(c, "late"), cancelled)
			p.sent()
			_ = p.nc.Close()
			for i, call := range calls {
				if !isOver(call) {
					t.Errorf("call %d is not over", i)
				} else if call.Err == nil && call.Reply == nil || call.Err != nil && call.Reply != nil {
					t.Errorf("call %d: %v and %q", i, call.Err, call.Reply)
				}
			}
			<-c.Done()
			<-p.stopped
			if err := p.last; !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the client sent nonsense: %v", err)
			}
		})
	})
}

func lost(c *unary.Conn) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// Headers may be anything. As long as they do not end the connection, they do no harm to the next call.
func FuzzHeaders(f *testing.F) {
	f.Fuzz(func(t *testing.T, block []byte, trailers, last bool, size uint8) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{})
			p.encoder.SetMaxDynamicTableSize(0) // what the client has in its table is not known here
			call := newCall("ping")
			call.KeepTrailer = true
			c.Start(call)
			p.wantSent(sentWhole...)
			if trailers {
				p.begin(1)
				p.data(1, framed("pong"))
			}
			if p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: last}) != nil {
				return
			}
			for piece := range slices.Chunk(block, int(size)+1) {
				_ = p.WriteContinuation(1, false, piece)
			}
			_ = p.WriteContinuation(1, true, nil)
			synctest.Wait()
			if lost(c) {
				if !isOver(call) || call.Err == nil {
					t.Errorf("over: %v, %v", isOver(call), call.Err)
				}
				return
			}
			if last && !isOver(call) {
				t.Error("nothing comes any more")
			}
			p.sent()
			next := start(c, "ping")
			p.wantSent("HEADERS 3", "DATA 3 9 END")
			p.answer(3, "pong")
			wantReply(t, "pong", next)
		})
	})
}
