package unary_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

func window(n uint32) http2.Setting {
	return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
}

// A request goes as far as the windows of its stream and of the connection let it.
func TestWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		call := start(c, large) // 100,005 bytes with its head
		p.wantSent(sentHalf...) // 65,535
		p.check(p.WriteWindowUpdate(1, 1))
		p.wantSent()
		p.check(p.WriteWindowUpdate(0, 2))
		p.wantSent("DATA 1 1")
		p.check(p.WriteWindowUpdate(0, 100_000))
		p.wantSent()
		p.check(p.WriteWindowUpdate(1, 34_468)) // one too few
		p.wantSent("DATA 1 16384", "DATA 1 16384", "DATA 1 1700")
		p.check(p.WriteWindowUpdate(1, 1))
		p.wantSent("DATA 1 1 END")
		p.answer(1, "pong")
		wantReply(t, "pong", call)
	})
}

// A server may change its mind about windows, also of what it has got.
func TestWindowsThatShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		p.check(p.WriteWindowUpdate(0, 1<<20))
		first := start(c, large)
		p.wantSent(sentHalf...)
		p.check(p.WriteSettings(window(1000)))
		second := start(c, large)
		p.wantSent("SETTINGS true", "HEADERS 3", "DATA 3 1000")
		p.check(p.WriteWindowUpdate(1, 65_535-1000)) // it was below 0 by as much
		p.wantSent()
		p.check(p.WriteSettings(window(0), window(1001)))
		p.wantSent("SETTINGS true", "DATA 1 1", "DATA 3 1")
		p.check(p.WriteSettings(window(1<<31 - 1)))
		p.sent()
		for _, id := range []uint32{1, 3} {
			if r := p.request(id); !r.ended || !slices.Equal(r.body, framed(large)) {
				t.Errorf("stream %d: %d bytes, the end: %v", id, len(r.body), r.ended)
			}
			p.answer(id, "pong")
		}
		wantReply(t, "pong", first, second)
	})
}

// The window of the connection is shared: however little it is, a large request leaves some to the small ones behind it.
func TestSmallRequestsPassLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{}, window(1<<30))
		huge := []*unary.Call{start(c, string(make([]byte, 10<<20))), start(c, string(make([]byte, 10<<20)))}
		p.sent() // the window is used up
		small := []*unary.Call{start(c, "ping"), start(c, "ping"), start(c, "ping")}
		p.wantSent("HEADERS 5", "HEADERS 7", "HEADERS 9")
		for range 10 {
			p.check(p.WriteWindowUpdate(0, 10_000))
			p.sent()
		}
		for i, call := range small {
			id := uint32(2*i + 5)
			if r := p.request(id); !r.ended {
				t.Fatalf("call %d is held up", i)
			}
			p.answer(id, "pong")
			wantReply(t, "pong", call)
		}
		p.check(p.WriteWindowUpdate(0, 20<<20))
		p.sent()
		if a, b := len(p.request(1).body), len(p.request(3).body); a != b || a != 10<<20+unary.HeadLen {
			t.Errorf("%d and %d bytes", a, b)
		}
		p.answer(3, "pong")
		p.answer(1, "pong")
		wantReply(t, "pong", huge...)
	})
}

// Nor do many large ones, however much the server takes, keep small ones from beginning.
func TestSmallRequestsPassManyLargeOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{}, window(1<<30))
		p.check(p.WriteWindowUpdate(0, 1<<30))
		p.hold()
		for range 100 {
			_ = start(c, string(make([]byte, 50*16384)))
		}
		_ = start(c, "ping") // stream 201
		p.release()
		frames := p.sent()
		whole := slices.IndexFunc(frames, func(frame string) bool { return strings.HasSuffix(frame, "END") })
		if whole < 0 || frames[whole] != "DATA 201 9 END" {
			t.Errorf("%d frames, the first that ends is %d", len(frames), whole)
		}
	})
}

// What the server may send comes back to it, with the padding, also when nobody wants it any more.
func TestWindowsOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{StreamWindow: 1, ConnWindow: 1 << 17}) // 65,535 and 131,072
		call := start(c, "ping")
		p.wantSent(sentWhole...)
		p.begin(1)
		message := framed(string(make([]byte, 1<<20)))
		pad := make([]byte, 255)
		send := func(n int) {
			p.check(p.WriteDataPadded(1, false, message[:n], pad))
			message = message[n:]
		}
		send(8192 - 256) // the length of the padding takes a byte
		p.wantSent()
		send(8191 - 256) // a quarter of the stream's
		p.wantSent("WINDOW_UPDATE 1 16383")
		send(16384 - 256)
		p.wantSent("WINDOW_UPDATE 1 16384")
		call.Cancel()
		p.wantSent("RST_STREAM 1 CANCEL")
		for range 2 {
			p.check(p.WriteDataPadded(1, false, nil, pad))
			send(16384 - 256)
		}
		p.wantSent("WINDOW_UPDATE 0 33023", "WINDOW_UPDATE 0 33024") // a quarter of the connection's, and more
	})
}

// The greeting says how much the server may send.
func TestWindowsOfGreeting(t *testing.T) {
	for name, x := range map[string]struct {
		opts unary.Options
		want []string
	}{
		"by default":  {unary.Options{}, []string{"SETTINGS false", "WINDOW_UPDATE 0 16711681", "SETTINGS true"}},
		"the least":   {unary.Options{StreamWindow: 1, ConnWindow: 1}, []string{"SETTINGS false", "SETTINGS true"}},
		"the largest": {unary.Options{StreamWindow: math.MaxInt, ConnWindow: math.MaxInt}, []string{"SETTINGS false", "WINDOW_UPDATE 0 2147418112", "SETTINGS true"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, nc := newPeer(t)
				c, err := unary.New(t.Context(), nc, x.opts)
				if err != nil {
					t.Fatal(err)
				}
				p.wantSent(x.want...)
				c.Close()
			})
		})
	}
}
