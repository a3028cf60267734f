package rayletipc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrMalformed is wrapped by every error about bytes that do not have the expected form.
var ErrMalformed = errors.New("rayletipc: malformed message")

// MessageType is the kind of a frame, as in ray::protocol::MessageType.
type MessageType int64

// The messages that a worker without objects exchanges with its raylet, numbered as since Ray 2.54. A raylet ends at once,
// and its node with it, when a message has a number that it does not know.
const (
	TypeActorCreationTaskDone   MessageType = 0 // worker to raylet, empty body
	TypeRegisterClientRequest   MessageType = 1
	TypeRegisterClientReply     MessageType = 2
	TypeAnnounceWorkerPort      MessageType = 3 // a worker, unlike a driver, gets no reply
	TypeDisconnectClientRequest MessageType = 5
	TypeDisconnectClientReply   MessageType = 6
)

func (t MessageType) String() string {
	switch t {
	case TypeActorCreationTaskDone:
		return "ActorCreationTaskDone"
	case TypeRegisterClientRequest:
		return "RegisterClientRequest"
	case TypeRegisterClientReply:
		return "RegisterClientReply"
	case TypeAnnounceWorkerPort:
		return "AnnounceWorkerPort"
	case TypeDisconnectClientRequest:
		return "DisconnectClientRequest"
	case TypeDisconnectClientReply:
		return "DisconnectClientReply"
	default:
		return fmt.Sprintf("MessageType(%d)", int64(t))
	}
}

// The messages of Ray before 2.54 have other numbers (those of 2.48 were observed): ActorCreationTaskDone is 2, and the
// others begin with 4.
const (
	oldTaskDone  = 2
	oldFirst     = 4
	newFirst     = int64(TypeRegisterClientRequest)
	newLast      = int64(TypeDisconnectClientReply)
	unknownShift = 1 << 32
)

// Old returns the number of a message in Ray before 2.54.
func (t MessageType) Old() MessageType {
	if t == TypeActorCreationTaskDone {
		return oldTaskDone
	}
	return t + oldFirst - TypeRegisterClientRequest
}

// FromOld returns the message that has this number in Ray before 2.54. One that this package does not name becomes a type
// that no message has.
func FromOld(number MessageType) MessageType {
	if number == oldTaskDone {
		return TypeActorCreationTaskDone
	}
	if n := int64(number) - oldFirst + newFirst; n >= newFirst && n <= newLast {
		return MessageType(n)
	}
	return number + unknownShift
}

const (
	// MaxBody bounds the body of a frame in both directions, in bytes. Real ones are below a few KiB; only the
	// exception of a failed constructor may be longer.
	MaxBody = 16 << 20

	cookie     = 0x5241590000000000 // "RAY" in the upper bytes
	headerSize = 24                 // cookie, type and body length, each a little-endian int64
)

// WriteFrame writes one frame with a single call of w.Write, so that concurrent writers to a socket cannot interleave
// a header with another one's body.
func WriteFrame(w io.Writer, t MessageType, body []byte) error {
	if len(body) > MaxBody {
		return fmt.Errorf("rayletipc: %v of %d bytes exceeds the limit of %d", t, len(body), MaxBody)
	}
	frame := make([]byte, headerSize, headerSize+len(body))
	binary.LittleEndian.PutUint64(frame, cookie)
	binary.LittleEndian.PutUint64(frame[8:], uint64(t))
	binary.LittleEndian.PutUint64(frame[16:], uint64(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("rayletipc: write %v: %w", t, err)
	}
	return nil
}

// ReadFrame reads one frame. It returns io.EOF itself when the stream ends between frames, and an error wrapping
// io.ErrUnexpectedEOF when it ends inside one. Types that this package does not name are returned as they are.
func ReadFrame(r io.Reader) (MessageType, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("rayletipc: read frame header: %w", err)
	}
	if got := binary.LittleEndian.Uint64(header[:]); got != cookie {
		return 0, nil, fmt.Errorf("%w: frame starts with %#x, not with Ray's cookie", ErrMalformed, got)
	}
	t := MessageType(binary.LittleEndian.Uint64(header[8:]))
	length := binary.LittleEndian.Uint64(header[16:])
	if length > MaxBody {
		return 0, nil, fmt.Errorf("%w: %v announces %d bytes, the limit is %d", ErrMalformed, t, length, MaxBody)
	}
	// Grown as the bytes arrive: a header alone must not cost MaxBody of memory.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, fmt.Errorf("rayletipc: read body of %v: %w", t, err)
	}
	return t, body.Bytes(), nil
}
