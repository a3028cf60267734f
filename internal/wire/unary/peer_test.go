package unary_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// peer is a server that does what a test says. It reads all that the client sends, on its own, and keeps it.
type peer struct {
	t  *testing.T
	nc net.Conn
	*http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	decoder *hpack.Decoder
	gate    chan struct{} // full while it is to read nothing
	greeted chan struct{} // closed when the client has its settings, or never will
	stopped chan struct{} // closed when it reads no more

	watch func(http2.Frame) // of every frame, with mu held

	mu       sync.Mutex // guards what was received
	frames   []string
	requests map[uint32]*received
	last     error
}

// received is what came on a stream.
type received struct {
	headers []hpack.HeaderField
	body    []byte
	ended   bool // with END_STREAM
	reset   bool
}

func (r *received) header(name string) string {
	i := slices.IndexFunc(r.headers, func(f hpack.HeaderField) bool { return f.Name == name })
	if i < 0 {
		return ""
	}
	return r.headers[i].Value
}

// newPeer returns a server, and the client's end of its connection.
func newPeer(t *testing.T, settings ...http2.Setting) (*peer, net.Conn) {
	ours, theirs := net.Pipe()
	p := &peer{t: t, nc: ours, Framer: http2.NewFramer(ours, ours), decoder: hpack.NewDecoder(4096, nil), requests: map[uint32]*received{}}
	p.gate, p.greeted, p.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	p.encoder = hpack.NewEncoder(&p.block)
	go func() {
		defer close(p.greeted)
		_ = p.WriteSettings(settings...)
	}()
	go func() {
		defer close(p.stopped)
		p.last = p.read()
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		p.release()
		<-p.greeted
		<-p.stopped
	})
	return p, theirs
}

// scripted returns a client and its server; it belongs in a bubble of synctest.
func scripted(t *testing.T, opts unary.Options, settings ...http2.Setting) (*unary.Conn, *peer) {
	t.Helper()
	p, nc := newPeer(t, settings...)
	c := connect(t, nc, opts)
	<-p.greeted
	p.sent() // the greeting
	return c, p
}

func (p *peer) read() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(p.nc, preface); err != nil || string(preface) != http2.ClientPreface {
		return fmt.Errorf("it begins with %q, %w", preface, err)
	}
	for {
		p.gate <- struct{}{}
		<-p.gate
		frame, err := p.ReadFrame()
		if err != nil {
			return err
		}
		if err := p.keep(frame); err != nil {
			return err
		}
	}
}

// keep takes a frame down, as a line of text and as a part of its request.
func (p *peer) keep(frame http2.Frame) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := frame.Header().StreamID
	r := p.requests[id]
	if r == nil {
		r = &received{}
		p.requests[id] = r
	}
	line := fmt.Sprintf("%v %d", frame.Header().Type, id)
	switch f := frame.(type) {
	case *http2.HeadersFrame:
		p.decoder.SetEmitFunc(func(f hpack.HeaderField) { r.headers = append(r.headers, f) })
		if err := p.fragment(f.HeaderBlockFragment(), f.HeadersEnded()); err != nil {
			return err
		}
	case *http2.ContinuationFrame:
		if err := p.fragment(f.HeaderBlockFragment(), f.HeadersEnded()); err != nil {
			return err
		}
	case *http2.DataFrame:
		line += fmt.Sprint(" ", len(f.Data()))
		r.body = append(r.body, f.Data()...)
		if r.ended = f.StreamEnded(); r.ended {
			line += " END"
		}
	case *http2.RSTStreamFrame:
		line += fmt.Sprint(" ", f.ErrCode)
		r.reset = true
	case *http2.PingFrame:
		line = fmt.Sprintf("PING %x %v", f.Data, f.IsAck())
	case *http2.SettingsFrame:
		line = fmt.Sprintf("SETTINGS %v", f.IsAck())
	case *http2.WindowUpdateFrame:
		line += fmt.Sprint(" ", f.Increment)
	}
	p.frames = append(p.frames, line)
	if p.watch != nil {
		p.watch(frame)
	}
	return nil
}

func (p *peer) fragment(block []byte, end bool) error {
	_, err := p.decoder.Write(block)
	if err == nil && end {
		err = p.decoder.Close()
	}
	return err
}

// hold has the server read no more, and the client stuck in what it writes.
func (p *peer) hold() {
	p.gate <- struct{}{}
	for range 2 { // it is waiting for one
		p.check(p.WritePing(false, [8]byte{}))
		synctest.Wait()
	}
}

// release undoes hold, if it is on.
func (p *peer) release() {
	select {
	case <-p.gate:
	default:
	}
}

// sent returns what the client has sent since it was asked last, a line for each frame. It waits until nothing moves.
func (p *peer) sent() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.frames
	p.frames = nil
	return frames
}

// wantSent checks that the client has sent these frames, and nothing else.
func (p *peer) wantSent(want ...string) {
	p.t.Helper()
	if got := p.sent(); !slices.Equal(got, want) {
		p.t.Errorf("it sent\n\t%s\nnot\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// request returns what came on a stream; nothing may move.
func (p *peer) request(stream uint32) received {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.requests[stream]; r != nil {
		return *r
	}
	return received{}
}

// wantOver checks that the client has closed the connection.
func (p *peer) wantOver() {
	p.t.Helper()
	synctest.Wait()
	select {
	case <-p.stopped:
	default:
		p.t.Error("the connection is up")
	}
}

// encode returns a block of headers; fields are names, each followed by its value.
func (p *peer) encode(fields ...string) []byte {
	p.t.Helper()
	p.block.Reset()
	for f := range slices.Chunk(fields, 2) {
		p.check(p.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	return bytes.Clone(p.block.Bytes())
}

// check fails the test when the client does not take what is written.
func (p *peer) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) headers(stream uint32, last bool, fields ...string) {
	p.t.Helper()
	p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: p.encode(fields...), EndHeaders: true, EndStream: last}))
}

// begin writes the headers of a good answer.
func (p *peer) begin(stream uint32) {
	p.t.Helper()
	p.headers(stream, false, ":status", "200", "content-type", "application/grpc")
}

func (p *peer) data(stream uint32, data []byte) {
	p.t.Helper()
	p.check(p.WriteData(stream, false, data))
}

// finish writes the trailers of an answer.
func (p *peer) finish(stream uint32, fields ...string) {
	p.t.Helper()
	p.headers(stream, true, append(fields, "grpc-status", "0")...)
}

// answer answers a call with a message.
func (p *peer) answer(stream uint32, message string) {
	p.t.Helper()
	p.begin(stream)
	p.data(stream, framed(message))
	p.finish(stream)
}
