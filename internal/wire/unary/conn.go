package unary

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options are what a connection is made with. The zero value works.
type Options struct {
	// Authority is the host that is called, as the server is to see it.
	Authority string
	// TLS tells the server that the connection is encrypted. It has to be so already.
	TLS bool
	// Authorization returns the header of that name, "" for none. It is called by Start for every call; where it fails the call is
	// not sent. Nil: there is none.
	Authorization func() (string, error)
	// MaxReply bounds the message of an answer, in bytes; default MaxMessage.
	MaxReply int
	// StreamWindow and ConnWindow are how many bytes the server may send before they are read, in one answer and in all;
	// default 4 MiB and 16 MiB, at least 64 KiB.
	StreamWindow, ConnWindow int
}

const (
	defaultStreamWindow, defaultConnWindow = 4 << 20, 16 << 20

	initialWindow = 65535     // of both directions and of each stream, until somebody says otherwise
	maxWindow     = 1<<31 - 1 // RFC 9113, 6.9.1
	maxFrame      = 16 << 10  // of both sides: what everybody takes, and enough
	maxHeaders    = 1 << 20   // bytes of the headers of one answer, as HTTP/2 counts them; the server is told
	maxBlock      = 2 * maxHeaders
	headerTable   = 4096 // bytes of the tables that the two sides compress headers with
	lastStream    = 1<<31 - 1
	bufferSize    = 32 << 10
	maxOwed       = 10_000 // answers to pings and settings that wait to be written
)

// errClosed is in the message of calls that ended with Close.
var errClosed = errors.New("the connection was closed here")

// Conn is a connection that is up, or was. It is safe for concurrent use. It does not come back: a connection that broke, and one that the
// server takes no more calls on, fails what is started with codes.Unavailable. See Done.
type Conn struct {
	opts Options
	nc   net.Conn

	// What is read belongs to the reader, what is written to the writer.
	in      *http2.Framer
	decoder *hpack.Decoder
	headers headers
	taken   int // bytes that the server may send again on the connection
	out     *bufio.Writer
	framer  *http2.Framer // on out
	encoder *hpack.Encoder
	block   bytes.Buffer

	woken chan struct{} // holds one token for the writer
	ended chan struct{} // closed with failed
	tasks sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and those of calls that say so
	failed  error      // why there is no connection any more
	leaving error      // why no new calls go to the server
	queue   []*Call    // have no stream yet, in order
	sending []*Call    // have a stream, and a part of their request is unsent
	served  []*Call    // of grant
	streams map[uint32]*Call
	next    uint32 // id of the next stream; a client's are odd
	window  int64  // how much the server takes, of all requests together
	peer    peer
	owed    []owed // frames that are to go before all others

	acknowledged int // of owed, what the server has asked for
}

// peer is what the server said of itself.
type peer struct {
	streamWindow int64
	maxStreams   uint32
}

// New makes a connection for calls of one that is open, and encrypted where it is to be. It returns when the server has shown that it speaks HTTP/2, or
// with the error that kept it from that; ctx bounds only this. The Conn owns nc in both cases.
func New(ctx context.Context, nc net.Conn, opts Options) (*Conn, error) {
	if opts.MaxReply <= 0 || opts.MaxReply > MaxMessage {
		opts.MaxReply = MaxMessage
	}
	opts.StreamWindow = windowOr(opts.StreamWindow, defaultStreamWindow)
	opts.ConnWindow = windowOr(opts.ConnWindow, defaultConnWindow)
	c := &Conn{
		opts: opts, nc: nc,
		woken: make(chan struct{}, 1), ended: make(chan struct{}), streams: map[uint32]*Call{}, next: 1, window: initialWindow,
		peer: peer{streamWindow: initialWindow, maxStreams: math.MaxUint32},
	}
	c.in = http2.NewFramer(nil, bufio.NewReaderSize(nc, bufferSize))
	c.in.SetReuseFrames()
	c.in.SetMaxReadFrameSize(maxFrame)
	c.decoder = hpack.NewDecoder(headerTable, c.headers.add)
	c.decoder.SetMaxStringLength(maxBlock)
	c.out = bufio.NewWriterSize(nc, bufferSize)
	c.framer = http2.NewFramer(c.out, nil)
	c.encoder = hpack.NewEncoder(&c.block)

	stop := context.AfterFunc(ctx, func() { _ = nc.Close() }) // ends the reads and writes of the greeting
	err := c.greet()
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close() // nothing was sent on it
		return nil, err
	}
	c.tasks.Go(func() {
		if err := c.write(); err != nil {
			c.silenced(err)
		}
	})
	c.tasks.Go(func() { c.fail(c.read()) })
	c.wake()
	return c, nil
}

func windowOr(n, otherwise int) int {
	if n <= 0 {
		n = otherwise
	}
	return min(max(n, initialWindow), maxWindow)
}

// greet sends what a connection begins with, and reads the same of the server.
func (c *Conn) greet() error {
	_, err := io.WriteString(c.out, http2.ClientPreface)
	err = errors.Join(err,
		c.framer.WriteSettings(
			http2.Setting{ID: http2.SettingEnablePush, Val: 0},
			http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(c.opts.StreamWindow)},
			http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaders}))
	if more := c.opts.ConnWindow - initialWindow; more > 0 {
		err = errors.Join(err, c.framer.WriteWindowUpdate(0, uint32(more)))
	}
	if err = errors.Join(err, c.out.Flush()); err != nil {
		return err
	}
	frame, err := c.in.ReadFrame()
	if err != nil {
		return fmt.Errorf("%w: %w", errNoHTTP2, err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return fmt.Errorf("%w: it begins with %v", errNoHTTP2, frame.Header())
	}
	return c.settings(settings)
}

var errNoHTTP2 = errors.New("what listens there does not speak gRPC")

// Done is closed when the connection is lost, or closed. A server that takes no more calls may answer those that it has before that.
func (c *Conn) Done() <-chan struct{} { return c.ended }

// Close ends the connection, and the calls that are not over, and waits until nothing of it is left. It is idempotent.
func (c *Conn) Close() {
	c.fail(errClosed)
	c.tasks.Wait()
}

// fail ends the connection. The first reason stays.
func (c *Conn) fail(reason error) {
	c.mu.Lock()
	if c.failed != nil {
		c.mu.Unlock()
		return
	}
	c.failed = reason
	close(c.ended)
	for _, call := range c.queue {
		c.end(call, c.unusable())
	}
	for _, call := range c.streams {
		c.end(call, c.unusable())
	}
	c.queue, c.sending, c.owed = nil, nil, nil
	c.mu.Unlock()
	_ = c.nc.Close() // the reader and the writer end; this may take seconds where it is encrypted
}

// unusable returns the status of calls that do not go to the server any more, nil while they do; c.mu is held.
func (c *Conn) unusable() error {
	switch {
	case c.leaving != nil: // it is why the connection was lost after that
		return status.Error(codes.Unavailable, c.leaving.Error())
	case c.failed != nil:
		return status.Error(codes.Unavailable, fmt.Sprintf("the connection is lost: %v", c.failed))
	}
	return nil
}

// leave ends the calls that have no stream, and those that are going to be started; c.mu is held. The first reason stays.
func (c *Conn) leave(reason error) {
	if c.leaving == nil && c.failed == nil {
		c.leaving = reason
	}
	for _, call := range c.queue {
		c.end(call, c.unusable())
	}
	c.queue = nil
}

// end concludes a call, unless it is over; c.mu is held.
func (c *Conn) end(call *Call, err error) {
	if call.ended {
		return
	}
	if call.Err, call.ended, call.unsent = err, true, nil; err != nil {
		call.Reply = nil // it may have begun
	}
	if call.id != 0 {
		delete(c.streams, call.id)
		if len(c.queue) > 0 || c.leaving != nil {
			c.wake() // there is room for another, or it was the last
		}
	}
	close(call.done)
}
