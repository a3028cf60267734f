package unary_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// sentWhole are the frames of a call for "ping".
var sentWhole = []string{"HEADERS 1", "DATA 1 9 END"}

func TestAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{Authority: "host:1"})
		call := newCall("ping")
		call.Metadata, call.KeepTrailer = []hpack.HeaderField{{Name: "who", Value: "me"}}, true
		c.Start(call)
		p.wantSent(sentWhole...)
		r := p.request(1)
		want := []hpack.HeaderField{
			{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"},
			{Name: ":path", Value: method},
			{Name: ":authority", Value: "host:1"},
			{Name: "content-type", Value: "application/grpc"},
			{Name: "te", Value: "trailers"},
			{Name: "user-agent", Value: "seedcore-unary"},
			{Name: "who", Value: "me"},
		}
		if !slices.Equal(r.headers, want) || string(r.body) != "\x00\x00\x00\x00\x04ping" {
			t.Errorf("got %v, %q", r.headers, r.body)
		}
		p.headers(1, false, ":status", "103", "link", "</style.css>")
		p.headers(1, false, ":status", "200", "content-type", "application/grpc+proto", "first", "one")
		for _, b := range framed("pong") { // byte by byte
			p.data(1, []byte{b})
		}
		p.finish(1, "second", "two")
		wantReply(t, "pong", call)
		if !slices.Equal(call.Trailer, []hpack.HeaderField{{Name: "second", Value: "two"}}) {
			t.Errorf("the trailer is %v", call.Trailer)
		}
		p.wantSent()
	})
}

// What a server may answer instead of a message: each ends the call, and no other.
func TestBadAnswers(t *testing.T) {
	const aborted, cancelled = "RST_STREAM 1 PROTOCOL_ERROR", "RST_STREAM 1 CANCEL"
	for name, x := range map[string]struct {
		answer  func(*peer)
		code    codes.Code
		message string
		sent    string // what it has the client send
	}{
		"a status alone": {
			func(p *peer) {
				p.headers(1, true, ":status", "200", "content-type", "application/grpc", "grpc-status", "7", "grpc-message", "no%20way 100%25 %E2%82%AC")
			},
			codes.PermissionDenied, "no way 100% €", "",
		},
		"a status alone, of HTTP as well": {
			func(p *peer) { p.headers(1, true, ":status", "503", "grpc-status", "5") },
			codes.NotFound, "", "",
		},
		"a status after a message": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong"))
				p.headers(1, true, "grpc-status", "10")
			},
			codes.Aborted, "", "",
		},
		"a message that is not encoded well": {
			func(p *peer) {
				p.begin(1)
				p.headers(1, true, "grpc-status", "2", "grpc-message", "100%, 100%zz")
			},
			codes.Unknown, "100%, 100%zz", "",
		},
		"a status that nobody has heard of": {
			func(p *peer) { p.headers(1, true, ":status", "200", "grpc-status", "77") },
			codes.Code(77), "", "",
		},
		"a status that is none": {
			func(p *peer) { p.headers(1, true, ":status", "200", "grpc-status", "fine") },
			codes.Unknown, `status "fine"`, "",
		},
		"no status": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong"))
				p.headers(1, true, "hello", "world")
			},
			codes.Unknown, `status ""`, "",
		},
		"no trailers": {
			func(p *peer) {
				p.begin(1)
				p.check(p.WriteData(1, true, framed("pong")))
			},
			codes.Internal, "without a status", "",
		},
		"no message": {
			func(p *peer) {
				p.begin(1)
				p.finish(1)
			},
			codes.Internal, "no message", "",
		},
		"a part of a head": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("")[:4])
				p.finish(1)
			},
			codes.Internal, "a part of one", "",
		},
		"a part of a message": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong")[:8])
				p.finish(1)
			},
			codes.Internal, "a part of one", "",
		},
		"two messages": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong"))
				p.data(1, framed(""))
			},
			codes.Internal, "more than one message", cancelled,
		},
		"a compressed message": {
			func(p *peer) {
				p.begin(1)
				p.data(1, []byte{1, 0, 0, 0, 0})
			},
			codes.Internal, "compressed", cancelled,
		},
		"data before headers": {
			func(p *peer) { p.data(1, framed("pong")) },
			codes.Internal, "before headers", aborted,
		},
		"headers in the middle": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong"))
				p.begin(1)
			},
			codes.Internal, "in the middle", aborted,
		},
		"an early hint in the middle": {
			func(p *peer) {
				p.begin(1)
				p.headers(1, false, ":status", "103")
			},
			codes.Internal, "in the middle", aborted,
		},
		"an early hint that is all": {
			func(p *peer) { p.headers(1, true, ":status", "103") },
			codes.Unknown, `HTTP status "103"`, "",
		},
		"no status of HTTP": {
			func(p *peer) { p.headers(1, true, "hello", "world") },
			codes.Unknown, `HTTP status ""`, "",
		},
		"a page": {
			func(p *peer) {
				p.headers(1, false, ":status", "200", "content-type", "text/html")
				p.data(1, []byte("<html>"))
			},
			codes.Unknown, `type "text/html"`, cancelled,
		},
		"a bad request":    {foreign("400"), codes.Internal, "400", ""},
		"who are you":      {foreign("401"), codes.Unauthenticated, "401", ""},
		"you may not":      {foreign("403"), codes.PermissionDenied, "403", ""},
		"nothing here":     {foreign("404"), codes.Unimplemented, "404", ""},
		"a teapot":         {foreign("418"), codes.Unknown, "418", ""},
		"too many":         {foreign("429"), codes.Unavailable, "429", ""},
		"a bad gateway":    {foreign("502"), codes.Unavailable, "502", ""},
		"a gateway's wait": {foreign("504"), codes.Unavailable, "504", ""},
		"unavailable, and why": {
			func(p *peer) {
				p.headers(1, false, ":status", "503", "content-type", "text/plain")
				p.data(1, []byte("later"))
			},
			codes.Unavailable, "503", cancelled,
		},
		"reset: all is well": {reset(http2.ErrCodeNo), codes.Internal, "NO_ERROR", ""},
		"reset: protocol":    {reset(http2.ErrCodeProtocol), codes.Internal, "PROTOCOL_ERROR", ""},
		"reset: internal":    {reset(http2.ErrCodeInternal), codes.Internal, "INTERNAL_ERROR", ""},
		"reset: flow":        {reset(http2.ErrCodeFlowControl), codes.Internal, "FLOW_CONTROL_ERROR", ""},
		"reset: cancel":      {reset(http2.ErrCodeCancel), codes.Canceled, "CANCEL", ""},
		"reset: calm":        {reset(http2.ErrCodeEnhanceYourCalm), codes.ResourceExhausted, "ENHANCE_YOUR_CALM", ""},
		"reset: security":    {reset(http2.ErrCodeInadequateSecurity), codes.PermissionDenied, "INADEQUATE_SECURITY", ""},
		"reset: unknown":     {reset(http2.ErrCode(99)), codes.Internal, "0x63", ""},
		"reset in the middle": {
			func(p *peer) {
				p.begin(1)
				p.data(1, framed("pong"))
				p.check(p.WriteRSTStream(1, http2.ErrCodeInternal))
			},
			codes.Internal, "INTERNAL_ERROR", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := scripted(t, unary.Options{})
				call := start(c, "ping")
				p.wantSent(sentWhole...)
				other := start(c, "ping")
				p.wantSent("HEADERS 3", "DATA 3 9 END")
				x.answer(p)
				wantError(t, call, x.code, x.message, true)
				if x.sent == "" {
					p.wantSent()
				} else {
					p.wantSent(x.sent)
				}
				p.answer(3, "pong")
				wantReply(t, "pong", other)
			})
		})
	}
}

func foreign(httpStatus string) func(*peer) {
	return func(p *peer) { p.headers(1, true, ":status", httpStatus, "content-type", "text/html") }
}

func reset(code http2.ErrCode) func(*peer) {
	return func(p *peer) { p.check(p.WriteRSTStream(1, code)) }
}

func TestRefusedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		call := start(c, "ping")
		p.wantSent(sentWhole...)
		p.check(p.WriteRSTStream(1, http2.ErrCodeRefusedStream))
		wantError(t, call, codes.Unavailable, "REFUSED_STREAM", false)
	})
}

func TestReplyTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{MaxReply: 4})
		call := start(c, "ping")
		p.wantSent(sentWhole...)
		p.begin(1)
		p.data(1, framed("pong!")[:5])
		if !isOver(call) || !errors.Is(call.Err, unary.ErrReplyTooLarge) || !call.Left() || call.Reply != nil {
			t.Errorf("%v, %v, %q", call.Err, call.Left(), call.Reply)
		}
		p.wantSent("RST_STREAM 1 CANCEL")
		p.data(1, []byte("pong!")) // sent before it knew
		p.finish(1)
		call = start(c, "ping")
		p.wantSent("HEADERS 3", "DATA 3 9 END")
		p.answer(3, "pong")
		wantReply(t, "pong", call)
	})
}

// A server that says more than it then sends gets no memory for it.
func TestReplyThatOnlyClaimsToBeLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		calls := make([]*unary.Call, 100) // each of which would be 2 GiB
		for i := range calls {
			calls[i] = start(c, "ping")
		}
		p.sent()
		for i := range calls {
			p.begin(uint32(2*i + 1))
			p.data(uint32(2*i+1), []byte{0, 0x7f, 0xff, 0xff, 0xff, 'x'})
		}
		p.check(p.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil))
		_ = p.nc.Close()
		for _, call := range calls {
			wantError(t, call, codes.Unavailable, "", true)
		}
	})
}

// Headers may come in many pieces, and be large.
func TestContinuations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := scripted(t, unary.Options{})
		call := start(c, "ping")
		p.wantSent(sentWhole...)
		p.begin(1)
		block := p.encode("grpc-status", "9", "grpc-message", strings.Repeat("#", 100_000)) // that Huffman's code makes no shorter
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: nil, EndStream: true}))
		for piece := range slices.Chunk(block, 10_000) {
			p.check(p.WriteContinuation(1, false, piece))
		}
		p.check(p.WriteContinuation(1, true, nil))
		wantError(t, call, codes.FailedPrecondition, "###", true)
		if n := len(status.Convert(call.Err).Message()); n != 100_000 {
			t.Errorf("the message has %d bytes", n)
		}
	})
}
