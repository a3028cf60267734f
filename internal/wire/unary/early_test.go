package unary_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// large is a message that does not go at once to a server which has not said what it takes.
var large = string(make([]byte, 100_000))

// sentHalf are the frames of a call with it, as far as they go.
var sentHalf = []string{"HEADERS 1", "DATA 1 16384", "DATA 1 16384", "DATA 1 16384", "DATA 1 16383"}

// wantAnotherCall checks that a connection is of use, after a call that was large.
func wantAnotherCall(t *testing.T, c *unary.Conn, p *peer) {
	t.Helper()
	call := start(c, "ping")
	p.wantSent("HEADERS 3")
	p.check(p.WriteWindowUpdate(0, 9))
	p.wantSent("DATA 3 9 END")
	p.answer(3, "pong")
	wantReply(t, "pong", call)
}

// A server may answer before it has the whole request. It gets no more of it then, and is told so.
func TestEarlyAnswers(t *testing.T) {
	const cancelled = "RST_STREAM 1 CANCEL"
	for name, x := range map[string]struct {
		answer func(*peer)
		code   codes.Code
		sent   string
	}{
		"a status": {
			func(p *peer) { p.headers(1, true, ":status", "200", "grpc-status", "16") },
			codes.Unauthenticated, cancelled,
		},
		"no gRPC": {foreign("413"), codes.Unknown, cancelled},
		"no gRPC, and a page": {
			func(p *peer) { p.headers(1, false, ":status", "413", "content-type", "text/html") },
			codes.Unknown, cancelled,
		},
		"a reset": {reset(http2.ErrCodeInternal), codes.Internal, ""},
		"a message that is none": {
			func(p *peer) {
				p.begin(1)
				p.data(1, []byte{1, 0, 0, 0, 0})
			},
			codes.Internal, cancelled,
		},
		"a window too large": {
			func(p *peer) { p.check(p.WriteWindowUpdate(1, 1<<31-1)) },
			codes.OK, "", // what was sent makes it a valid one
		},
		"windows too large": {
			func(p *peer) {
				p.check(p.WriteWindowUpdate(1, 1<<31-1))
				p.check(p.WriteWindowUpdate(1, 1))
			},
			codes.Internal, "RST_STREAM 1 FLOW_CONTROL_ERROR",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				call := start(c, large)
				p.wantSent(sentHalf...)
				x.answer(p)
				if x.code == codes.OK {
					if isOver(call) {
						t.Errorf("it ended with %v", call.Err)
					}
					return
				}
				wantError(t, call, x.code, "", false)
				if x.sent == "" {
					p.wantSent()
				} else {
					p.wantSent(x.sent)
				}
				wantAnotherCall(t, c, p)
			})
		})
	}
}

func TestEarlyReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		call := start(c, large)
		p.wantSent(sentHalf...)
		p.answer(1, "pong")
		if !isOver(call) || call.Err != nil || string(call.Reply) != "pong" || call.Left() {
			t.Errorf("%q, %v, %v", call.Reply, call.Err, call.Left())
		}
		p.wantSent("RST_STREAM 1 CANCEL")
		p.check(p.WriteRSTStream(1, http2.ErrCodeNo)) // as a server may that wants no more
		wantAnotherCall(t, c, p)
	})
}

func TestCancel(t *testing.T) {
	t.Run("in the middle of the request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{})
			call := start(c, large)
			p.wantSent(sentHalf...)
			call.Cancel()
			wantError(t, call, codes.Canceled, "", false)
			p.wantSent("RST_STREAM 1 CANCEL")
			p.check(p.WriteWindowUpdate(1, 1<<20)) // late
			wantAnotherCall(t, c, p)
		})
	})
	t.Run("in the middle of the answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{})
			call := start(c, "ping")
			p.wantSent(sentWhole...)
			p.begin(1)
			p.data(1, framed("pong")[:7])
			call.Cancel()
			wantError(t, call, codes.Canceled, "", true)
			p.wantSent("RST_STREAM 1 CANCEL")
			p.data(1, framed("pong")[7:]) // late
			p.finish(1)
			call.Cancel()
			p.wantSent()
			call = start(c, "ping")
			p.wantSent("HEADERS 3", "DATA 3 9 END")
			p.answer(3, "pong")
			wantReply(t, "pong", call)
			call.Cancel()
			p.wantSent()
			wantReply(t, "pong", call)
		})
	})
	t.Run("in the queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			first, second, third := start(c, "ping"), start(c, "lost"), start(c, "pang")
			p.wantSent(sentWhole...)
			second.Cancel()
			wantError(t, second, codes.Canceled, "", false)
			p.wantSent()
			p.answer(1, "pong")
			p.wantSent("HEADERS 3", "DATA 3 9 END")
			if r := p.request(3); string(r.body) != string(framed("pang")) {
				t.Errorf("got %q", r.body)
			}
			p.answer(3, "pong")
			wantReply(t, "pong", first, third)
		})
	})
	t.Run("before it began", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{})
			call := newCall("ping")
			call.Cancel()
			c.Start(call)
			p.wantSent(sentWhole...)
		})
	})
	t.Run("while the server reads nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, p := scripted(t, unary.Options{})
			p.hold()
			call := start(c, "ping")
			if isOver(call) {
				t.Fatal(call.Err)
			}
			call.Cancel()
			wantError(t, call, codes.Canceled, "", false)
		})
	})
}

// Calls that were cancelled while the server takes none are forgotten, else they would pile up.
func TestCancelledCallsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		first := start(c, "ping")
		var cancelled []weak.Pointer[unary.Call]
		for range 10 {
			call := start(c, large)
			call.Cancel()
			cancelled = append(cancelled, weak.Make(call))
		}
		p.wantSent()
		runtime.GC()
		for i, w := range cancelled {
			if w.Value() != nil {
				t.Errorf("call %d is in memory", i)
			}
		}
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}))
		p.wantSent("SETTINGS true", "HEADERS 1", "DATA 1 9 END")
		p.answer(1, "pong")
		wantReply(t, "pong", first)
	})
}

func TestAuthorization(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, failure := "", errors.New("no token")
		var err error
		c, p := scripted(t, unary.Options{Authorization: func() (string, error) { return token, err }})
		_ = start(c, "ping")
		p.wantSent(sentWhole...)
		if r := p.request(1); r.header("authorization") != "" {
			t.Errorf("got %v", r.headers)
		}
		token = "Bearer me"
		_ = start(c, "ping")
		p.wantSent("HEADERS 3", "DATA 3 9 END")
		if r := p.request(3); r.header("authorization") != token {
			t.Errorf("got %v", r.headers)
		} else if f := r.headers[len(r.headers)-1]; !f.Sensitive {
			t.Errorf("%v may be kept by a proxy", f)
		}
		err = failure
		call := start(c, "ping")
		if !isOver(call) || !errors.Is(call.Err, failure) || call.Left() {
			t.Errorf("%v, %v", call.Err, call.Left())
		}
		call.Cancel()
		p.wantSent()
	})
}

// Calls may share their metadata: what is added for one is not seen by another.
func TestSharedMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c, p := scripted(t, unary.Options{Authorization: func() (string, error) { n++; return fmt.Sprint("token ", n), nil }},
			http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		shared := append(make([]hpack.HeaderField, 0, 10), hpack.HeaderField{Name: "who", Value: "me"})
		for range 3 {
			call := newCall("ping")
			call.Metadata = shared
			c.Start(call)
		}
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3}))
		p.sent()
		for i := range 3 {
			if r := p.request(uint32(2*i + 1)); r.header("authorization") != fmt.Sprint("token ", i+1) || r.header("who") != "me" {
				t.Errorf("call %d: %v", i, r.headers)
			}
		}
	})
}

// A call that cannot be made ends like one that was.
func TestRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		failure := errors.New("no message")
		call := newCall("ping")
		call.Refuse(failure)
		call.Cancel()
		if !isOver(call) || !errors.Is(call.Err, failure) || call.Left() {
			t.Errorf("%v, %v", call.Err, call.Left())
		}
		for _, request := range [][]byte{nil, framed("")[1:]} {
			call := &unary.Call{Method: method, Request: request}
			c.Start(call)
			if !isOver(call) || call.Err == nil || call.Left() {
				t.Errorf("%v, %v", call.Err, call.Left())
			}
		}
		p.wantSent()
	})
}
