package unary_test

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// ledger keeps account of what a server has allowed and what it got. A client has to go by settings from when it acknowledges them,
// and may use a window as soon as it is told of it. All is guarded by peer.mu.
type ledger struct {
	p       *peer
	window  int64
	pending [][]http2.Setting // not acknowledged yet
	settings
	accounts map[uint32]*account
	order    []uint32 // in which they were opened
	last     uint32   // stream that the server looks at
	wrong    []string
}

type settings struct{ window, streams int64 }

// account is of one stream.
type account struct {
	window int64
	call   int  // the number that its request came with
	ended  bool // by the client
	said   bool // what there is to say: the server has ended it
	over   bool // the client has reset it
	unread bool // the server has reset it, or never looks at it
}

func (a *account) open() bool { return !a.over && !a.unread && (!a.ended || !a.said) }

func (l *ledger) complain(format string, args ...any) {
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// received is told of all frames.
func (l *ledger) received(frame http2.Frame) {
	id := frame.Header().StreamID
	a := l.accounts[id]
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if len(l.pending) == 0 {
			l.complain("it acknowledges what was not sent")
			return
		}
		for _, s := range l.pending[0] {
			l.apply(s)
		}
		l.pending = l.pending[1:]
	case *http2.HeadersFrame:
		l.opened(id)
	case *http2.DataFrame:
		if a == nil || a.ended || a.over {
			l.complain("data of stream %d, which is not open", id)
			return
		}
		n := int64(f.Length)
		l.window, a.window, a.ended = l.window-n, a.window-n, f.StreamEnded()
		if l.window < 0 || a.window < 0 {
			l.complain("stream %d: %d bytes have %d left, and %d of the connection's", id, n, a.window, l.window)
		}
	case *http2.RSTStreamFrame:
		if a == nil || a.over {
			l.complain("stream %d, which is not open, is reset", id)
			return
		}
		a.over = true
	}
}

func (l *ledger) opened(id uint32) {
	r := l.p.requests[id]
	call, err := strconv.Atoi(r.header("call"))
	a := &account{window: l.settings.window, call: call, unread: id > l.last}
	if last := len(l.order); id%2 == 0 || err != nil || last > 0 && l.order[last-1] >= id {
		l.complain("stream %d is of call %d (%v), and behind %v", id, call, err, l.order)
	}
	l.accounts[id], l.order = a, append(l.order, id)
	open := int64(0)
	for _, other := range l.accounts {
		if other.open() {
			open++
		}
	}
	if open > l.streams {
		l.complain("stream %d makes %d", id, open)
	}
}

func (l *ledger) apply(s http2.Setting) {
	switch s.ID {
	case http2.SettingInitialWindowSize:
		for _, a := range l.accounts {
			a.window += int64(s.Val) - l.settings.window
		}
		l.settings.window = int64(s.Val)
	case http2.SettingMaxConcurrentStreams:
		l.streams = int64(s.Val)
	}
}

// act is something that one of the two does.
type act struct {
	Kind, Which, Size int
}

const (
	startCall = iota
	cancelCall
	allowConn
	allowStream
	changeWindow
	changeStreams
	answerStream
	resetStream
	refuseStream
	letSettle
	goAway
	kinds
)

func acts() *rapid.Generator[[]act] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		size := rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 200_000), rapid.SampledFrom([]int{16379, 16384, 65530, 65535, 65536}))
		return act{rapid.IntRange(0, kinds-1).Draw(t, "kind"), rapid.IntRange(0, 20).Draw(t, "which"), size.Draw(t, "size")}
	}), 1, 80)
}

// play has a client and a server act, and returns what was wrong.
func play(t *testing.T, acts []act) []string {
	c, p := scripted(t, unary.Options{})
	l := &ledger{p: p, window: 65535, settings: settings{65535, math.MaxInt64}, last: unary.LastStream, accounts: map[uint32]*account{}}
	p.mu.Lock()
	p.watch = l.received
	p.mu.Unlock()
	var calls []*unary.Call
	requests := map[*unary.Call][]byte{}
	for _, x := range acts {
		switch x.Kind {
		case startCall:
			n := len(calls)
			call := newCall(string(bytes.Repeat([]byte{byte(n)}, x.Size)))
			call.Metadata = []hpack.HeaderField{{Name: "call", Value: strconv.Itoa(n)}}
			requests[call] = call.Request
			calls = append(calls, call)
			c.Start(call)
		case cancelCall:
			if len(calls) > 0 {
				calls[x.Which%len(calls)].Cancel()
			}
		case letSettle:
			synctest.Wait()
		default:
			l.serve(x)
		}
	}
	l.finish(calls)
	for i, call := range calls {
		if !isOver(call) {
			l.complain("call %d is not over", i)
		}
	}
	if len(l.wrong) == 0 {
		l.compare(calls, requests)
	}
	return l.wrong
}

// serve does something as the server. What cannot be written any more need not be.
func (l *ledger) serve(x act) {
	p := l.p
	p.mu.Lock()
	var id uint32
	var a *account
	if n := len(l.order); n > 0 {
		id = l.order[x.Which%n]
		a = l.accounts[id]
	}
	stream := a != nil && !a.said && !a.over && !a.unread
	leaves := x.Kind == goAway && x.Which == 0 // seldom, else little else happens
	var setting http2.Setting
	switch x.Kind {
	case allowConn:
		l.window += int64(x.Size)
	case allowStream:
		if a != nil {
			a.window += int64(x.Size)
		}
	case changeWindow:
		setting = http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(x.Size - 1)}
	case changeStreams:
		setting = http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(x.Which)}
	case answerStream, resetStream, refuseStream:
		if stream {
			a.said, a.unread = x.Kind == answerStream, x.Kind != answerStream
		}
	case goAway:
		if leaves {
			l.last = min(l.last, id)
			for other, a := range l.accounts {
				a.unread = a.unread || other > id
			}
		}
	}
	if setting.ID != 0 {
		l.pending = append(l.pending, []http2.Setting{setting})
	}
	p.mu.Unlock()
	switch {
	case setting.ID != 0:
		_ = p.WriteSettings(setting)
	case x.Kind == allowConn:
		_ = p.WriteWindowUpdate(0, uint32(x.Size))
	case x.Kind == allowStream && a != nil:
		_ = p.WriteWindowUpdate(id, uint32(x.Size))
	case x.Kind == answerStream && stream:
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(":status", "200", "content-type", "application/grpc"), EndHeaders: true})
		_ = p.WriteData(id, false, framed("pong"))
		_ = p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode("grpc-status", "0"), EndHeaders: true, EndStream: true})
	case x.Kind == resetStream && stream:
		_ = p.WriteRSTStream(id, http2.ErrCodeInternal)
	case x.Kind == refuseStream && stream:
		_ = p.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	case leaves:
		_ = p.WriteGoAway(id, http2.ErrCodeNo, nil)
	}
}

// finish takes all that there is, and answers it.
func (l *ledger) finish(calls []*unary.Call) {
	l.serve(act{Kind: changeStreams, Which: 1000})
	l.serve(act{Kind: changeWindow, Size: 1 << 28})
	l.serve(act{Kind: allowConn, Size: 1 << 28})
	for range calls {
		synctest.Wait()
		for i := range l.order {
			if l.accounts[l.order[i]].ended {
				l.serve(act{Kind: answerStream, Which: i})
			}
		}
	}
	synctest.Wait()
}

// compare sees that the two sides think the same of every call.
func (l *ledger) compare(calls []*unary.Call, requests map[*unary.Call][]byte) {
	streams := map[*unary.Call]uint32{}
	for _, id := range l.order {
		a := l.accounts[id]
		call := calls[a.call]
		if streams[call] != 0 {
			l.complain("call %d came twice", a.call)
		}
		streams[call] = id
		r := l.p.requests[id]
		switch {
		case a.open():
			l.complain("stream %d is open", id)
		case a.ended && !bytes.Equal(r.body, requests[call]):
			l.complain("stream %d: %d bytes of %d came", id, len(r.body), len(requests[call]))
		}
	}
	for i, call := range calls {
		whole := streams[call] != 0 && l.accounts[streams[call]].ended
		switch code := status.Code(call.Err); {
		case code == codes.Unavailable && call.Left():
			l.complain("call %d was refused, and left: %v", i, call.Err)
		case code != codes.Unavailable && call.Left() != whole:
			l.complain("call %d left: %v, but came: %v (%v)", i, call.Left(), whole, call.Err)
		case code == codes.OK && string(call.Reply) != "pong":
			l.complain("call %d: %q", i, call.Reply)
		}
	}
}

// Whatever the two do: the client never sends more than it may, a request that ends is whole, one that does not is reset, no call is
// left over, and of each the client knows whether the server has it.
func TestFlow(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		script := acts().Draw(r, "acts")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = play(t, script) })
		for _, w := range wrong {
			r.Error(w)
		}
	})
}
