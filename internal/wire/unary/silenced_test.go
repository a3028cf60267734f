package unary_test

import (
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/codes"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// mute is a connection on which nothing can be written once it is broken; what came before can be read.
type mute struct {
	net.Conn
	broken atomic.Bool
}

var errBroken = errors.New("broken pipe")

func (m *mute) Write(b []byte) (int, error) {
	if m.broken.Load() {
		return 0, errBroken
	}
	return m.Conn.Write(b)
}

// muted is scripted, on a connection that can be broken.
func muted(t *testing.T) (*unary.Conn, *peer, *mute) {
	t.Helper()
	p, nc := newPeer(t)
	m := &mute{Conn: nc}
	c := connect(t, m, unary.Options{})
	<-p.greeted
	return c, p, m
}

// A server that ends says what there is to say and closes its end. The client often learns of that by a write that fails, before it
// has read the rest.
func TestAnswersBeforeTheEndAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, m := muted(t)
		answered, unanswered := start(c, "ping"), start(c, "ping")
		p.sent()
		m.broken.Store(true)
		late := start(c, "ping")
		synctest.Wait()
		wantError(t, start(c, "ping"), codes.Unavailable, "broken pipe", false)
		p.answer(1, "pong")
		synctest.Wait()
		wantReply(t, "pong", answered)
		<-c.Done()
		wantError(t, unanswered, codes.Unavailable, "broken pipe", true)
		wantError(t, late, codes.Unavailable, "broken pipe", true)
	})
}

// Of a server that looks at no more requests that is known, though nothing can be written to it.
func TestWhatWasNotLookedAtIsKnownAfterAWriteThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, m := muted(t)
		seen := start(c, "ping")
		p.sent()
		m.broken.Store(true)
		unseen := start(c, "ping")
		synctest.Wait()
		p.check(p.WriteGoAway(1, 0, []byte("bye")))
		synctest.Wait()
		wantError(t, unseen, codes.Unavailable, "bye", false)
		p.answer(1, "pong")
		synctest.Wait()
		wantReply(t, "pong", seen)
	})
}

// The server's pings are answered, and bounded, for themselves: calls that end at the same time do not count.
func TestManyCancelledCallsAreNoPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{}, window(1<<20))
		p.check(p.WriteWindowUpdate(0, 1<<30))
		calls := make([]*unary.Call, unary.MaxOwed+100)
		for i := range calls {
			calls[i] = start(c, "ping")
		}
		p.sent()
		p.hold()
		for _, call := range calls {
			call.Cancel()
		}
		p.check(p.WritePing(false, [8]byte{7}))
		p.release()
		p.sent()
		again := start(c, "ping")
		p.sent()
		p.answer(uint32(2*len(calls)+1), "pong")
		wantReply(t, "pong", again)
	})
}
