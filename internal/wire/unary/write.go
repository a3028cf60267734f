package unary

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// owed is a frame that answers one of the server's, or tells it of the end of a call.
type owed struct {
	kind   http2.FrameType
	stream uint32
	n      uint32  // increment of a window, or error code, or size of a table
	ping   [8]byte // data
}

// tableSize is the kind of what is no frame, but changes how headers are compressed from there on.
const tableSize http2.FrameType = 0xff

// owe has a frame written before what is not begun yet; c.mu is held.
func (c *Conn) owe(o owed) {
	if c.failed == nil {
		c.owed = append(c.owed, o)
		c.wake()
	}
}

// reset ends the stream of a call, if it has one that the two sides have not ended; c.mu is held.
func (c *Conn) reset(call *Call, code http2.ErrCode) {
	if call.id != 0 && (!call.closed || call.unsent != nil) {
		c.owe(owed{kind: http2.FrameRSTStream, stream: call.id, n: uint32(code)})
	}
}

// wake has the writer look for what there is to do.
func (c *Conn) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// piece is what is written of a call at a time: its headers, or after them a part of its request.
type piece struct {
	call  *Call
	first bool // the headers
	data  []byte
	last  bool
}

// write is the one goroutine that writes. It ends with the connection, and ends it when the server wants no more calls and has
// answered all. An error says that nothing can be written any more.
func (c *Conn) write() error {
	var frames, spare []owed
	var pieces []piece
	for {
		c.mu.Lock()
		frames, c.owed, c.acknowledged = c.owed, spare[:0], 0
		pieces = c.grant(pieces[:0])
		idle, leaving := len(c.streams) == 0, c.leaving
		c.mu.Unlock()
		spare = frames

		if len(frames) == 0 && len(pieces) == 0 {
			if err := c.out.Flush(); err != nil {
				return err
			}
			if leaving != nil && idle {
				c.fail(leaving)
			}
			select {
			case <-c.woken:
				continue
			case <-c.ended:
				return nil
			}
		}
		for _, o := range frames {
			if err := c.writeOwed(o); err != nil {
				return err
			}
		}
		for _, p := range pieces {
			if err := c.writePiece(p); err != nil {
				return err
			}
		}
		clear(pieces) // requests may be large
	}
}

// lastWords is how long the server is listened to when nothing can be written to it.
const lastWords = time.Second

// silenced is called when nothing can be written any more. What the server has sent may not have been read yet: answers, and
// which requests it is never going to look at. So the connection ends when that has been read.
func (c *Conn) silenced(err error) {
	c.mu.Lock()
	c.leave(fmt.Errorf("nothing can be written any more: %w", err))
	c.mu.Unlock()
	if err := c.nc.SetReadDeadline(time.Now().Add(lastWords)); err != nil {
		c.fail(err)
	}
}

var errUsedUp = errors.New("the connection has had as many calls as there are numbers")

// round is how many frames of requests that have begun are written, and about how many of others, before it is looked at what the
// server wants.
const round = 64

// grant returns what may be written now: one frame of each request, so that a large one is no obstacle for those behind it. Those that
// get none come first the next time. c.mu is held.
func (c *Conn) grant(pieces []piece) []piece {
	waiting, served := c.sending[:0], c.served[:0]
	for _, call := range c.sending {
		switch n := len(pieces); {
		case call.ended:
		case n == round:
			waiting = append(waiting, call)
		default:
			pieces = c.part(pieces, call)
			if len(pieces) == n {
				waiting = append(waiting, call)
			} else if call.unsent != nil {
				served = append(served, call)
			}
		}
	}
	waiting = append(waiting, served...)
	clear(c.sending[len(waiting):])
	clear(served)
	c.sending, c.served = waiting, served
	most := len(pieces) + round
	for len(c.queue) > 0 && len(pieces) < most && uint64(len(c.streams)) < uint64(c.peer.maxStreams) {
		if c.next > lastStream {
			c.leave(errUsedUp)
			break
		}
		call := c.queue[0]
		c.queue[0], c.queue = nil, c.queue[1:]
		call.id, call.window = c.next, c.peer.streamWindow
		c.next += 2
		c.streams[call.id] = call
		pieces = c.part(append(pieces, piece{call: call, first: true}), call)
		if call.unsent != nil {
			c.sending = append(c.sending, call)
		}
	}
	return pieces
}

// part adds the next frame of a request to pieces, if the server takes a part of it; c.mu is held.
func (c *Conn) part(pieces []piece, call *Call) []piece {
	n := int(min(int64(min(len(call.unsent), maxFrame)), call.window, c.window))
	if n <= 0 {
		return pieces
	}
	p := piece{call: call, data: call.unsent[:n], last: n == len(call.unsent)}
	call.unsent = call.unsent[n:]
	call.window -= int64(n)
	c.window -= int64(n)
	if p.last {
		call.left, call.unsent = true, nil
	}
	return append(pieces, p)
}

func (c *Conn) writeOwed(o owed) error {
	switch o.kind {
	case tableSize:
		c.encoder.SetMaxDynamicTableSizeLimit(o.n)
		c.encoder.SetMaxDynamicTableSize(min(o.n, headerTable))
		return nil
	case http2.FramePing:
		return c.framer.WritePing(true, o.ping)
	case http2.FrameSettings:
		return c.framer.WriteSettingsAck()
	case http2.FrameWindowUpdate:
		return c.framer.WriteWindowUpdate(o.stream, o.n)
	default:
		return c.framer.WriteRSTStream(o.stream, http2.ErrCode(o.n))
	}
}

func (c *Conn) writePiece(p piece) error {
	if p.first {
		return c.writeHeaders(p.call)
	}
	return c.writeData(p)
}

// writeData does what the Framer does, without its copy of the data.
func (c *Conn) writeData(p piece) error {
	flags := http2.Flags(0)
	if p.last {
		flags = http2.FlagDataEndStream
	}
	head := append(c.out.AvailableBuffer(), byte(len(p.data)>>16), byte(len(p.data)>>8), byte(len(p.data)), byte(http2.FrameData), byte(flags))
	if _, err := c.out.Write(binary.BigEndian.AppendUint32(head, p.call.id)); err != nil {
		return err
	}
	_, err := c.out.Write(p.data)
	return err
}

func (c *Conn) writeHeaders(call *Call) error {
	scheme := "http"
	if c.opts.TLS {
		scheme = "https"
	}
	c.block.Reset()
	for _, f := range [...]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: scheme},
		{Name: ":path", Value: call.Method},
		{Name: ":authority", Value: c.opts.Authority},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"}, // a proxy that drops trailers would drop this
		{Name: "user-agent", Value: "seedcore-unary"},
	} {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	for _, f := range call.Metadata {
		if err := c.encoder.WriteField(f); err != nil {
			return err
		}
	}
	if call.authorization != "" {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: "authorization", Value: call.authorization, Sensitive: true}); err != nil {
			return err
		}
	}
	first := true
	for {
		part := c.block.Next(maxFrame)
		end := c.block.Len() == 0
		var err error
		if first {
			err = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: call.id, BlockFragment: part, EndHeaders: end})
		} else {
			err = c.framer.WriteContinuation(call.id, end, part)
		}
		if err != nil || end {
			return err
		}
		first = false
	}
}
