package unary_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// What no server may do: the connection ends, since nobody knows any more what the other means.
func TestProtocolErrors(t *testing.T) {
	for name, offend := range map[string]func(*peer){
		"data of a stream that nobody opened":     func(p *peer) { p.data(5, nil) },
		"headers of a stream that nobody opened":  func(p *peer) { p.begin(5) },
		"a reset of a stream that nobody opened":  func(p *peer) { p.check(p.WriteRSTStream(5, http2.ErrCodeCancel)) },
		"a window of a stream that nobody opened": func(p *peer) { p.check(p.WriteWindowUpdate(5, 1)) },
		"a stream of the server's own":            func(p *peer) { p.begin(2) },
		"a push": func(p *peer) {
			p.check(p.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true, BlockFragment: p.encode(":method", "GET")}))
		},
		"the window of the connection beyond its numbers": func(p *peer) { p.check(p.WriteWindowUpdate(0, 1<<31-1)) },
		"the window of a stream beyond its numbers, by settings": func(p *peer) {
			p.check(p.WriteWindowUpdate(1, 1<<31-1-65535))
			p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
		},
		"a window of nothing":           func(p *peer) { p.check(p.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4))) },
		"a window of nothing of a call": func(p *peer) { p.check(p.WriteRawFrame(http2.FrameWindowUpdate, 0, 1, make([]byte, 4))) },
		"a setting of the window beyond its numbers": func(p *peer) {
			p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}))
		},
		"the same, in second place": func(p *peer) {
			s := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}
			p.check(p.WriteSettings(s, http2.Setting{ID: s.ID, Val: 1 << 31}))
		},
		"a setting of frames too short": func(p *peer) { p.check(p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})) },
		"settings of a stream":          func(p *peer) { p.check(p.WriteRawFrame(http2.FrameSettings, 0, 1, nil)) },
		"settings with a bit of one":    func(p *peer) { p.check(p.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5))) },
		"settings in an acknowledgement": func(p *peer) {
			p.check(p.WriteRawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, make([]byte, 6)))
		},
		"a ping that is too short":       func(p *peer) { p.check(p.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7))) },
		"a ping of a call":               func(p *peer) { p.check(p.WriteRawFrame(http2.FramePing, 0, 1, make([]byte, 8))) },
		"a goodbye that is too short":    func(p *peer) { p.check(p.WriteRawFrame(http2.FrameGoAway, 0, 0, make([]byte, 7))) },
		"data of no call":                func(p *peer) { p.check(p.WriteRawFrame(http2.FrameData, 0, 0, nil)) },
		"more padding than frame":        func(p *peer) { p.check(p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{9})) },
		"more padding than headers":      func(p *peer) { p.check(p.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded, 1, []byte{9})) },
		"a continuation of nothing":      func(p *peer) { p.check(p.WriteContinuation(1, true, nil)) },
		"headers that are interrupted":   func(p *peer) { p.part(1); p.data(1, nil) },
		"headers that others continue":   func(p *peer) { p.part(1); p.check(p.WriteContinuation(3, true, nil)) },
		"headers that refer to nothing":  func(p *peer) { p.raw(1, 0xff, 0x7f) },
		"headers that end in the middle": func(p *peer) { p.raw(1, 0x40, 5, 'h') },
		"headers without end": func(p *peer) {
			p.part(1)
			for range 2*unary.MaxHeaders/16384 + 1 {
				if p.WriteContinuation(1, false, slices.Repeat([]byte{0x88}, 16384)) != nil {
					break
				}
			}
		},
		"a string without end": func(p *peer) { p.raw(1, 0x40, 0x7f, 0xff, 0xff, 0xff, 0x7f) },
		"a frame too long": func(p *peer) {
			_ = p.WriteData(1, false, make([]byte, 16385)) // it need not be read
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				call := start(c, "ping")
				p.wantSent(sentWhole...)
				p.AllowIllegalWrites = true
				offend(p)
				wantError(t, call, codes.Unavailable, "the connection is lost", true)
				p.wantOver()
				<-c.Done()
				wantError(t, start(c, "ping"), codes.Unavailable, "the connection is lost", false)
			})
		})
	}
}

// part writes headers that are not over.
func (p *peer) part(stream uint32) {
	p.t.Helper()
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.encode(":status", "200")}))
}

// raw writes headers of these bytes.
func (p *peer) raw(stream uint32, block ...byte) {
	p.t.Helper()
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true}))
}

// What a server may do and means nothing to a call.
func TestFramesWithoutMeaning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		early, call := start(c, "ping"), start(c, "ping")
		p.wantSent(append(sentWhole, "HEADERS 3", "DATA 3 9 END")...)
		p.check(p.WriteSettingsAck())
		p.check(p.WriteSettings(http2.Setting{ID: 0xfe03, Val: 1}, http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}))
		p.check(p.WritePing(true, [8]byte{1}))
		p.check(p.WriteRawFrame(0xbe, 0xff, 77, []byte("hello")))
		p.check(p.WritePriority(77, http2.PriorityParam{Weight: 1}))
		early.Cancel()
		p.wantSent("SETTINGS true", "RST_STREAM 1 CANCEL")
		p.begin(1) // what follows was on its way
		p.data(1, framed("pong"))
		p.check(p.WriteWindowUpdate(1, 1<<31-1))
		p.check(p.WriteWindowUpdate(1, 1<<31-1))
		p.check(p.WriteRSTStream(1, http2.ErrCodeRefusedStream))
		p.finish(1)
		wantError(t, early, codes.Canceled, "", true)
		p.wantSent()
		p.answer(3, "pong")
		wantReply(t, "pong", call)
	})
}

func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p := scripted(t, unary.Options{})
		p.check(p.WritePing(false, [8]byte{1, 2, 3, 4, 5, 6, 7, 8}))
		p.check(p.WritePing(false, [8]byte{9}))
		p.wantSent("PING 0102030405060708 true", "PING 0900000000000000 true")
	})
}

// Answers to a server that does not read them are kept up to a bound.
func TestFloods(t *testing.T) {
	tables := slices.Repeat([]http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 7}}, 999)
	for name, x := range map[string]struct {
		write func(*peer) error
		most  int
	}{
		"pings":           {func(p *peer) error { return p.WritePing(false, [8]byte{}) }, unary.MaxOwed},
		"settings":        {func(p *peer) error { return p.WriteSettings() }, unary.MaxOwed},
		"sizes of tables": {func(p *peer) error { return p.WriteSettings(tables...) }, unary.MaxOwed / 1000},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				p.hold()
				n := 0
				for n < 2*x.most && x.write(p) == nil {
					n++
				}
				if n < x.most || n == 2*x.most {
					t.Errorf("it took %d", n)
				}
				<-c.Done()
			})
		})
	}
}

// The largest headers that the server is told it may send do no harm, larger ones only to their call.
func TestLargeHeaders(t *testing.T) {
	for name, x := range map[string]struct {
		more int
		code codes.Code
	}{"the largest": {0, codes.NotFound}, "larger": {1, codes.Internal}, "much larger": {unary.MaxHeaders / 2, codes.Internal}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				call := start(c, "ping")
				p.wantSent(sentWhole...)
				p.begin(1)
				status := hpack.HeaderField{Name: "grpc-status", Value: "5"}
				filler := hpack.HeaderField{Name: "filler"}
				filler.Value = strings.Repeat("~", unary.MaxHeaders-int(status.Size()+filler.Size())+x.more)
				p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true}))
				for piece := range slices.Chunk(p.encode(status.Name, status.Value, filler.Name, filler.Value), 16384) {
					p.check(p.WriteContinuation(1, false, piece))
				}
				p.check(p.WriteContinuation(1, true, nil))
				wantError(t, call, x.code, "", true)
				call = start(c, "ping")
				p.wantSent("HEADERS 3", "DATA 3 9 END")
				p.answer(3, "pong")
				wantReply(t, "pong", call)
			})
		})
	}
}

// The tables that headers are compressed with are of the size that the server wants, at every time.
func TestHeaderTable(t *testing.T) {
	for name, sizes := range map[string][]uint32{
		"none":                  {0},
		"a small one":           {100},
		"a large one":           {1 << 20},
		"the largest":           {1<<32 - 1},
		"none, and one again":   {0, 4096},
		"a small one, and none": {100, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				_ = start(c, "ping")
				p.wantSent(sentWhole...)
				p.hold()
				for _, n := range sizes {
					p.check(p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: n}))
				}
				for range 3 {
					_ = start(c, "ping")
				}
				synctest.Wait()
				for _, n := range sizes { // before it sees what is sent behind the acknowledgements
					p.decoder.SetMaxDynamicTableSize(min(n, 4096))
				}
				p.decoder.SetAllowedMaxDynamicTableSize(sizes[len(sizes)-1])
				p.release()
				p.sent()
				for id := uint32(3); id <= 7; id += 2 {
					if r := p.request(id); r.header(":path") != method || !r.ended {
						t.Errorf("stream %d: %v, ended: %v; the server ended with %v", id, r.headers, r.ended, p.last)
					}
				}
			})
		})
	}
}

// Metadata beyond what a frame holds is sent in several.
func TestLargeMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		call := newCall("ping")
		call.Metadata = []hpack.HeaderField{{Name: "large", Value: strings.Repeat("~", 40_000)}}
		c.Start(call)
		p.wantSent("HEADERS 1", "CONTINUATION 1", "CONTINUATION 1", "DATA 1 9 END")
		if r := p.request(1); r.header("large") != call.Metadata[0].Value {
			t.Errorf("got %d bytes", len(r.header("large")))
		}
		p.answer(1, "pong")
		wantReply(t, "pong", call)
	})
}
