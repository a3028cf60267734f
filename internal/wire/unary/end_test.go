package unary_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// A server that ends says which requests it still answers. The others fail, and have not been seen.
func TestGoAway(t *testing.T) {
	const leaving = "takes no more calls"
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 4})
		sent, half := start(c, "ping"), start(c, large)
		p.sent()
		unseen, unseenHalf, queued := start(c, "ping"), start(c, large), start(c, "ping")
		p.wantSent("HEADERS 5", "HEADERS 7")
		p.check(p.WriteWindowUpdate(0, 9+100))
		p.sent()

		p.check(p.WriteGoAway(1<<31-1, http2.ErrCodeNo, []byte("soon")))
		wantError(t, queued, codes.Unavailable, leaving, false)
		wantError(t, start(c, "ping"), codes.Unavailable, `"soon"`, false)
		for _, call := range []*unary.Call{sent, half, unseen, unseenHalf} {
			if isOver(call) {
				t.Errorf("%v", call.Err)
			}
		}

		p.check(p.WriteGoAway(3, http2.ErrCodeNo, []byte("now")))
		wantError(t, unseen, codes.Unavailable, leaving, false)
		wantError(t, unseenHalf, codes.Unavailable, leaving, false)
		wantError(t, start(c, "ping"), codes.Unavailable, `"now"`, false)
		p.wantSent()
		p.check(p.WriteWindowUpdate(0, 1<<20))
		p.check(p.WriteWindowUpdate(3, 1<<20))
		p.sent()
		if r := p.request(3); string(r.body) != string(framed(large)) || !r.ended {
			t.Errorf("got %d bytes, and the end: %v", len(r.body), r.ended)
		}
		p.answer(3, "pong")
		wantReply(t, "pong", half)
		select {
		case <-c.Done():
			t.Error("there is a call")
		default:
		}
		p.answer(1, "pong")
		wantReply(t, "pong", sent)
		p.wantOver()
		<-c.Done()
		wantError(t, start(c, "ping"), codes.Unavailable, "", false)
	})
}

func TestGoAwayWithoutCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		p.check(p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings")))
		p.wantOver()
		wantError(t, start(c, "ping"), codes.Unavailable, "too_many_pings", false)
	})
}

// However the last call ends, a connection that the server takes no more calls on is given up.
func TestGoAwayAndEnd(t *testing.T) {
	for name, end := range map[string]func(*peer, *unary.Call){
		"cancelled": func(_ *peer, call *unary.Call) { call.Cancel() },
		"reset":     func(p *peer, _ *unary.Call) { reset(http2.ErrCodeInternal)(p) },
		"aborted":   func(p *peer, _ *unary.Call) { p.data(1, nil) },
		"foreign":   func(p *peer, _ *unary.Call) { foreign("502")(p) },
		"unseen":    func(p *peer, _ *unary.Call) { p.check(p.WriteGoAway(0, http2.ErrCodeNo, nil)) },
		"cut":       func(p *peer, _ *unary.Call) { _ = p.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				call := start(c, "ping")
				p.wantSent(sentWhole...)
				p.check(p.WriteGoAway(1, http2.ErrCodeNo, nil))
				if isOver(call) {
					t.Error(call.Err)
				}
				end(p, call)
				p.wantOver()
				<-c.Done()
				if !isOver(call) || call.Err == nil || call.Left() != (name != "unseen") {
					t.Errorf("%v, %v", call.Err, call.Left())
				}
			})
		})
	}
}

// A call whose connection is lost knows whether the server may have it.
func TestCut(t *testing.T) {
	for name, cut := range map[string]func(*unary.Conn, *peer){
		"by the server": func(_ *unary.Conn, p *peer) { _ = p.nc.Close() },
		"here":          func(c *unary.Conn, _ *peer) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3})
				sent, half, begun, queued := start(c, "ping"), start(c, large), start(c, "ping"), start(c, "ping")
				p.sent()
				if r := p.request(5); !r.ended {
					t.Error("a small request is behind a large one")
				}
				cut(c, p)
				wantError(t, sent, codes.Unavailable, "the connection", true)
				wantError(t, half, codes.Unavailable, "the connection", false)
				wantError(t, begun, codes.Unavailable, "the connection", true)
				wantError(t, queued, codes.Unavailable, "the connection", false)
				p.wantOver()
				<-c.Done()
				c.Close()
				wantError(t, start(c, "ping"), codes.Unavailable, "the connection", false)
				sent.Cancel()
			})
		})
	}
}

// A connection that is closed says so, also when something was being written.
func TestCloseWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		p.hold()
		call := start(c, "ping")
		c.Close()
		wantError(t, call, codes.Unavailable, "closed here", false)
		wantError(t, start(c, "ping"), codes.Unavailable, "closed here", false)
	})
}

func TestLastStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		c.SkipTo(unary.LastStream)
		last, late, later := start(c, "ping"), start(c, "ping"), start(c, "ping")
		p.wantSent("HEADERS 2147483647", "DATA 2147483647 9 END")
		wantError(t, late, codes.Unavailable, "as many calls", false)
		wantError(t, later, codes.Unavailable, "as many calls", false)
		p.answer(unary.LastStream, "pong")
		wantReply(t, "pong", last)
		p.wantOver()
	})
}

// A connection that takes its time to close holds up nobody but who waits for it.
func TestSlowClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, nc := newPeer(t)
		slow := &slowlyClosed{Conn: nc, closed: make(chan struct{})}
		c, err := unary.New(t.Context(), slow, unary.Options{})
		if err != nil {
			t.Fatal(err)
		}
		call := start(c, "ping")
		p.sent()
		_ = p.nc.Close()
		wantError(t, call, codes.Unavailable, "the connection is lost", true)
		wantError(t, start(c, "ping"), codes.Unavailable, "the connection is lost", false)
		close(slow.closed)
		c.Close()
	})
}

type slowlyClosed struct {
	net.Conn
	closed chan struct{}
}

func (c *slowlyClosed) Close() error {
	<-c.closed
	return c.Conn.Close()
}

// What listens may be anything.
func TestNoHTTP2(t *testing.T) {
	for name, x := range map[string]struct {
		say     func(net.Conn) error
		message string
	}{
		"nothing, and it closes": {func(nc net.Conn) error { return nc.Close() }, "gRPC"},
		"HTTP/1.1": {func(nc net.Conn) error {
			_, err := io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			return err
		}, "gRPC"},
		"a ping first":             {func(nc net.Conn) error { return http2.NewFramer(nc, nil).WritePing(false, [8]byte{}) }, "PING"},
		"an acknowledgement first": {func(nc net.Conn) error { return http2.NewFramer(nc, nil).WriteSettingsAck() }, "SETTINGS"},
		"settings that make no sense": {func(nc net.Conn) error {
			return http2.NewFramer(nc, nil).WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 2})
		}, "PROTOCOL_ERROR"},
		"nothing":            {func(net.Conn) error { return nil }, context.DeadlineExceeded.Error()},
		"a part of settings": {func(nc net.Conn) error { _, err := nc.Write([]byte{0, 0, 6}); return err }, context.DeadlineExceeded.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				go func() {
					b := bufio.NewReader(ours)
					_, _ = b.Discard(len(http2.ClientPreface))
					go func() { _, _ = io.Copy(io.Discard, b) }()
					if err := x.say(ours); err != nil && !errors.Is(err, io.ErrClosedPipe) {
						t.Error(err)
					}
				}()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := unary.New(ctx, theirs, unary.Options{})
				if err == nil || !strings.Contains(err.Error(), x.message) {
					t.Errorf("got %v", err)
				}
				if _, err := theirs.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("it is open: %v", err)
				}
				_ = ours.Close()
			})
		})
	}
}

// The context of New bounds nothing but the greeting.
func TestContextOfNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		p, nc := newPeer(t)
		c, err := unary.New(ctx, nc, unary.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cancel()
		call := start(c, "ping")
		p.sent()
		p.answer(1, "pong")
		wantReply(t, "pong", call)
		if c, err := unary.New(ctx, nc, unary.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", c, err)
		}
	})
}
