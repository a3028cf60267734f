package unary

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// HeadLen is the length of what comes before a message: whether it is compressed, and how long it is.
const HeadLen = 5

// MaxMessage is the longest message, in bytes.
const MaxMessage = math.MaxInt32

// PutHead writes the head of the message that follows it in b, which is to begin with HeadLen bytes that are free.
func PutHead(b []byte) {
	b[0] = 0 // not compressed
	binary.BigEndian.PutUint32(b[1:HeadLen], uint32(len(b)-HeadLen))
}

// Call is one request and its answer. It is made with the first fields, which are not to be changed any more, and given to
// Conn.Start once; when Done is closed, the others tell the outcome.
type Call struct {
	// Method is the full name, as in /package.Service/Method.
	Method string
	// Request is the message, encoded, behind its head: see PutHead. Start takes it away.
	Request []byte
	// Metadata is sent along: names in lower case and values of printable ASCII.
	Metadata []hpack.HeaderField
	// KeepTrailer asks for Trailer.
	KeepTrailer bool

	// Reply is the message of the answer, without a head. Nobody else has it.
	Reply []byte
	// Err is nil, or a status of gRPC's package status, or wraps ErrReplyTooLarge or what Options.Authorization returned.
	Err error
	// Trailer is the metadata that came with the answer.
	Trailer []hpack.HeaderField

	done chan struct{}

	conn          *Conn
	authorization string

	// All below, and of the above what tells the outcome, is guarded by Conn.mu until done is closed.

	id       uint32 // 0: waits for its turn; only the writer sets it
	unsent   []byte // of the request
	window   int64  // how much of it the server takes; below 0 after it changed its mind
	left     bool   // the end of the request went, or is about to
	ended    bool   // done is closed, or about to be
	answered bool   // the answer has begun
	closed   bool   // the server sends nothing more
	head     [HeadLen]byte
	got      int // of head
	taken    int // bytes that the server may send again
}

// Done is closed when the call is over, however it ended. It is nil before Start.
func (call *Call) Done() <-chan struct{} { return call.done }

// Left tells, of a call that is over, whether the server may have seen the whole request. While it has not, it has run nothing.
// It is false as well when the server said that it never looked at the request, be it that it refused it or was about to end.
func (call *Call) Left() bool { return call.left }

// ErrReplyTooLarge means: the answer is longer than Options.MaxReply. The server has done what it was asked.
var ErrReplyTooLarge = errors.New("unary: the reply is too large")

// Start sends a call behind those that were started before. It does not wait: what cannot be sent at once waits in memory, as does
// a call beyond the number that the server takes at a time. It is up to the caller to bound them.
func (c *Conn) Start(call *Call) {
	if len(call.Request) < HeadLen {
		call.Refuse(errNoHead)
		return
	}
	if c.opts.Authorization != nil {
		authorization, err := c.opts.Authorization()
		if err != nil {
			call.Refuse(err)
			return
		}
		call.authorization = authorization
	}
	call.conn, call.done = c, make(chan struct{})
	call.unsent, call.Request = call.Request, nil // it may be large, and wait for its answer for long
	c.mu.Lock()
	if reason := c.unusable(); reason != nil {
		c.end(call, reason)
		c.mu.Unlock()
		return
	}
	c.queue = append(c.queue, call)
	c.mu.Unlock()
	c.wake()
}

var errNoHead = errors.New("unary: the request has no head: a call can be started once")

// Refuse ends a call, in place of Start, with an error.
func (call *Call) Refuse(err error) {
	call.Err, call.done = err, make(chan struct{})
	close(call.done)
}

// Cancel ends a call that is not over, with codes.Canceled; the server is told. A request of which the server has a part never
// becomes whole.
func (call *Call) Cancel() {
	c := call.conn
	if c == nil {
		return // it was refused
	}
	c.mu.Lock()
	if !call.ended {
		if call.id == 0 { // a server that takes nothing may keep those that wait for long
			c.queue = slices.DeleteFunc(c.queue, func(waiting *Call) bool { return waiting == call })
		}
		c.reset(call, http2.ErrCodeCancel)
		c.end(call, status.Error(codes.Canceled, "the call was cancelled"))
	}
	c.mu.Unlock()
	c.wake()
}

// Invoke makes a call and waits for it, or for ctx, whose metadata is not sent. in and out are messages of protobuf, options are ignored. It is one of the two methods
// of grpc.ClientConnInterface, for generated clients.
func (c *Conn) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	request, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, HeadLen), in.(proto.Message))
	if err != nil {
		return fmt.Errorf("unary: %s: %w", method, err)
	}
	PutHead(request)
	call := &Call{Method: method, Request: request}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	c.Start(call)
	select {
	case <-call.Done():
	case <-ctx.Done():
		call.Cancel()
		<-call.Done()
		if status.Code(call.Err) == codes.Canceled {
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	if call.Err != nil {
		return call.Err
	}
	return proto.Unmarshal(call.Reply, out.(proto.Message))
}

// NewStream is the other method, and always fails: this package makes unary calls.
func (c *Conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "unary: there are no streams")
}
