package unary

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// read is the one goroutine that reads. It returns why the connection ends.
func (c *Conn) read() error {
	for {
		frame, err := c.in.ReadFrame()
		if err != nil {
			return err
		}
		switch f := frame.(type) {
		case *http2.HeadersFrame:
			c.headers.begin(f.StreamID, f.StreamEnded())
			err = c.fragment(f.HeaderBlockFragment(), f.HeadersEnded())
		case *http2.ContinuationFrame:
			err = c.fragment(f.HeaderBlockFragment(), f.HeadersEnded())
		case *http2.DataFrame:
			err = c.data(f)
		case *http2.RSTStreamFrame:
			err = c.refused(f)
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.settings(f)
			}
		case *http2.WindowUpdateFrame:
			err = c.windowUpdate(f)
		case *http2.PingFrame:
			if !f.IsAck() {
				err = c.ping(f)
			}
		case *http2.GoAwayFrame:
			c.goAway(f)
		case *http2.PushPromiseFrame:
			err = errors.New("it pushes, which was turned off")
		}
		if err != nil {
			return err
		}
	}
}

// abort ends a call whose answer is not what it has to be; c.mu is held.
func (c *Conn) abort(call *Call, code http2.ErrCode, message string) {
	c.reset(call, code)
	c.end(call, status.Error(codes.Internal, message))
}

// unknown judges a frame for a stream without a call: it may be late, but cannot be early; c.mu is held.
func (c *Conn) unknown(stream uint32) error {
	if stream%2 == 0 || stream >= c.next {
		return fmt.Errorf("a frame for stream %d, which nobody opened", stream)
	}
	return nil
}

// headers are those of an answer, or the trailers behind it.
type headers struct {
	stream uint32
	last   bool // nothing comes after them
	size   int  // as HTTP/2 counts it
	block  int  // bytes that they came as

	httpStatus, contentType string
	grpcStatus, grpcMessage string
	others                  []hpack.HeaderField
}

func (h *headers) begin(stream uint32, last bool) {
	clear(h.others)
	*h = headers{stream: stream, last: last, others: h.others[:0]}
}

func (h *headers) add(f hpack.HeaderField) {
	if h.size += int(f.Size()); h.size > maxHeaders {
		return
	}
	switch f.Name {
	case ":status":
		h.httpStatus = f.Value
	case "content-type":
		h.contentType = f.Value
	case "grpc-status":
		h.grpcStatus = f.Value
	case "grpc-message":
		h.grpcMessage = f.Value
	default:
		h.others = append(h.others, f)
	}
}

// fragment reads a part of headers. The table of the two sides has to stay the same, so that those of calls that are over are read, too.
func (c *Conn) fragment(block []byte, end bool) error {
	h := &c.headers
	if h.block += len(block); h.block > maxBlock {
		return errors.New("its headers do not end")
	}
	if _, err := c.decoder.Write(block); err != nil {
		return err
	}
	if !end {
		return nil
	}
	if err := c.decoder.Close(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.streams[h.stream]
	if call == nil {
		return c.unknown(h.stream)
	}
	call.closed = h.last
	switch {
	case h.size > maxHeaders:
		c.abort(call, http2.ErrCodeProtocol, "the headers of the answer are too large")
	case call.answered && !h.last:
		c.abort(call, http2.ErrCodeProtocol, "the server sent headers in the middle of its answer")
	case !call.answered && strings.HasPrefix(h.httpStatus, "1") && !h.last:
	case !call.answered && h.foreign() != nil:
		c.reset(call, http2.ErrCodeCancel)
		c.end(call, h.foreign())
	case !h.last:
		call.answered = true
	default:
		c.conclude(call, h)
	}
	return nil
}

// foreign returns the status for an answer that is none of gRPC's. See the table in
// https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
func (h *headers) foreign() error {
	if h.grpcStatus != "" {
		return nil
	}
	code := codes.Unknown
	switch h.httpStatus {
	case "200":
		if strings.HasPrefix(h.contentType, "application/grpc") {
			return nil
		}
		return status.Error(codes.Unknown, fmt.Sprintf("the answer is of type %q", h.contentType))
	case "400":
		code = codes.Internal
	case "401":
		code = codes.Unauthenticated
	case "403":
		code = codes.PermissionDenied
	case "404":
		code = codes.Unimplemented
	case "429", "502", "503", "504":
		code = codes.Unavailable
	}
	return status.Error(code, fmt.Sprintf("the answer has HTTP status %q", h.httpStatus))
}

// conclude ends a call with what its trailers say; c.mu is held.
func (c *Conn) conclude(call *Call, h *headers) {
	c.reset(call, http2.ErrCodeCancel) // in case it answers without having read all
	if call.KeepTrailer {
		call.Trailer = append(call.Trailer, h.others...)
	}
	err := h.status()
	if err == nil && (call.got < HeadLen || uint64(len(call.Reply)) < call.expected()) {
		err = status.Error(codes.Internal, "the answer is OK and has no message, or a part of one")
	}
	c.end(call, err)
}

func (h *headers) status() error {
	code, err := strconv.ParseUint(h.grpcStatus, 10, 32)
	if err != nil {
		return status.Error(codes.Unknown, fmt.Sprintf("the answer ends with gRPC status %q", h.grpcStatus))
	}
	if code == 0 {
		return nil
	}
	message, err := url.PathUnescape(h.grpcMessage)
	if err != nil {
		message = h.grpcMessage
	}
	return status.Error(codes.Code(code), message)
}

// expected is the length of the reply that the server has announced.
func (call *Call) expected() uint64 { return uint64(binary.BigEndian.Uint32(call.head[1:])) }

func (c *Conn) data(f *http2.DataFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := int(f.Length) // with padding
	if c.taken += n; c.taken >= c.opts.ConnWindow/4 {
		c.owe(owed{kind: http2.FrameWindowUpdate, n: uint32(c.taken)})
		c.taken = 0
	}
	call := c.streams[f.StreamID]
	if call == nil {
		return c.unknown(f.StreamID)
	}
	call.closed = f.StreamEnded()
	if !call.answered {
		c.abort(call, http2.ErrCodeProtocol, "the server sent data before headers")
		return nil
	}
	if err := call.receive(f.Data(), c.opts.MaxReply); err != nil {
		c.reset(call, http2.ErrCodeCancel)
		c.end(call, err)
		return nil
	}
	if call.closed {
		c.abort(call, http2.ErrCodeProtocol, "the answer ends without a status")
		return nil
	}
	if call.taken += n; call.taken >= c.opts.StreamWindow/4 {
		c.owe(owed{kind: http2.FrameWindowUpdate, stream: call.id, n: uint32(call.taken)})
		call.taken = 0
	}
	return nil
}

// trusted is how much memory is taken for a reply because the server says that it is going to be as long.
const trusted = defaultStreamWindow

// receive takes a part of the answer; Conn.mu is held.
func (call *Call) receive(data []byte, limit int) error {
	if call.got < HeadLen {
		n := copy(call.head[call.got:], data)
		call.got += n
		data = data[n:]
		if call.got < HeadLen {
			return nil
		}
		switch {
		case call.head[0] != 0:
			return status.Error(codes.Internal, "the answer is compressed, which was not asked for")
		case call.expected() > uint64(limit):
			return fmt.Errorf("%w: %d bytes, and %d are the limit", ErrReplyTooLarge, call.expected(), limit)
		}
		call.Reply = make([]byte, 0, min(call.expected(), trusted))
	}
	need := uint64(len(call.Reply) + len(data))
	if need > call.expected() {
		return status.Error(codes.Internal, "the answer has more than one message")
	}
	if size := uint64(cap(call.Reply)); need > size {
		call.Reply = append(make([]byte, 0, min(call.expected(), max(2*size, need))), call.Reply...)
	}
	call.Reply = append(call.Reply, data...)
	return nil
}

// refused ends a call whose stream the server has ended.
func (c *Conn) refused(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.streams[f.StreamID]
	if call == nil {
		return c.unknown(f.StreamID)
	}
	code := codes.Internal
	switch f.ErrCode {
	case http2.ErrCodeRefusedStream:
		code, call.left = codes.Unavailable, call.answered
	case http2.ErrCodeCancel:
		code = codes.Canceled
	case http2.ErrCodeEnhanceYourCalm:
		code = codes.ResourceExhausted
	case http2.ErrCodeInadequateSecurity:
		code = codes.PermissionDenied
	}
	c.end(call, status.Error(code, fmt.Sprintf("the server ended the call: %v", f.ErrCode)))
	return nil
}

// goAway is told of a server that takes no more calls. Those that it has not looked at, and will not, fail.
func (c *Conn) goAway(f *http2.GoAwayFrame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	said := f.DebugData()
	c.leaving = nil // the last word is the one that counts
	c.leave(fmt.Errorf("the server takes no more calls on this connection: %v %q", f.ErrCode, said[:min(len(said), 256)]))
	for id, call := range c.streams {
		if id > f.LastStreamID {
			call.left = false
			c.end(call, c.unusable())
		}
	}
	c.wake()
}

func (c *Conn) settings(f *http2.SettingsFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := f.ForeachSetting(c.set); err != nil {
		return err
	}
	return c.acknowledge(owed{kind: http2.FrameSettings})
}

// set takes one setting; c.mu is held.
func (c *Conn) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingInitialWindowSize: // of the streams that there are, too: RFC 9113, 6.9.2
		more := int64(s.Val) - c.peer.streamWindow
		c.peer.streamWindow = int64(s.Val)
		for _, call := range c.streams {
			if call.window += more; call.window > maxWindow {
				return errWindow
			}
		}
	case http2.SettingMaxConcurrentStreams:
		c.peer.maxStreams = s.Val
	case http2.SettingHeaderTableSize:
		return c.acknowledge(owed{kind: tableSize, n: s.Val}) // every one, however short it lasted: RFC 7541, 4.2
	}
	return nil
}

var errWindow = errors.New("its window is larger than there are numbers")

func (c *Conn) windowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.wake()
	if f.StreamID == 0 {
		if c.window += int64(f.Increment); c.window > maxWindow {
			return errWindow
		}
		return nil
	}
	call := c.streams[f.StreamID]
	if call == nil {
		return c.unknown(f.StreamID)
	}
	if call.window += int64(f.Increment); call.window > maxWindow {
		c.abort(call, http2.ErrCodeFlowControl, errWindow.Error())
	}
	return nil
}

func (c *Conn) ping(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acknowledge(owed{kind: http2.FramePing, ping: f.Data})
}

// acknowledge answers a frame, as long as the server reads the answers; c.mu is held.
func (c *Conn) acknowledge(o owed) error {
	if c.acknowledged++; c.acknowledged > maxOwed {
		return errors.New("it does not read the answers to its pings")
	}
	c.owe(o)
	return nil
}
