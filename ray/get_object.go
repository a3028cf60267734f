package ray

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/field"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// errNotGot: the server answered that it has not got the values, or not in time, or that a task failed.
var errNotGot = errors.New("ray: the server has no value to answer with")

// getObject makes a GetObject request, whose answer is the pickle of a list, and puts the chunks of it into object. came is
// called after each. ctx must be ended afterwards.
func (s *Session) getObject(ctx context.Context, in *raypb.GetRequest, object *assembler, came func(), opts ...grpc.CallOption) error {
	stream, err := s.rpc.GetObject(ctx, in, append(opts, grpc.ForceCodecV2(objectCodec{}))...)
	if err != nil {
		return err
	}
	object.prepare()
	p := piece{object: object}
	for {
		if err := stream.RecvMsg(&p); err != nil {
			return err
		}
		s.heard()
		s.bytesCame.Add(int64(p.size))
		switch {
		case !p.head.Valid:
			return errNotGot
		case p.err != nil:
			return p.err
		}
		came()
		if p.complete {
			return nil
		}
	}
}

// piece takes the messages of an answer to GetObject, one after the other. The bytes of the value are copied once: from the
// buffers of the connection to where they stay.
type piece struct {
	object *assembler

	head     raypb.GetResponse // the last message but for its data, and for what went wrong: the data channel tells that
	size     int               // of its data
	complete bool              // what object said to it
	err      error
}

func (p *piece) take(message mem.BufferSlice) error {
	at, err := p.read(message)
	if err != nil || !p.head.Valid {
		return err
	}
	p.complete, p.err = p.object.take(&p.head, p.size, func(room []byte) {
		r := message.Reader()
		defer func() { _ = r.Close() }() // it cannot fail
		_, _ = r.Discard(at)             // nor can these: read was there
		_, _ = io.ReadFull(r, room)
	})
	return nil
}

// read reads the head, and returns where the data begin.
func (p *piece) read(message mem.BufferSlice) (at int, err error) {
	p.size = 0
	p.head.Valid, p.head.ChunkId, p.head.TotalChunks, p.head.TotalSize = false, 0, 0, 0
	r := message.Reader()
	defer func() { _ = r.Close() }()
	length := r.Remaining()
	for r.Remaining() > 0 {
		tag, err := binary.ReadUvarint(r)
		if err != nil {
			return 0, err
		}
		n := uint64(0) // the number, or how many bytes follow
		wire := protowire.Type(tag & 7)
		switch wire {
		case protowire.VarintType, protowire.BytesType:
			if n, err = binary.ReadUvarint(r); err != nil {
				return 0, err
			}
		case protowire.Fixed32Type:
			n = 4
		case protowire.Fixed64Type:
			n = 8
		default:
			return 0, fmt.Errorf("ray: a field of wire type %d in an answer to GetObject", wire)
		}
		switch tag {
		case 1<<3 | field.Varint:
			p.head.Valid = n != 0
		case 4<<3 | field.Varint:
			p.head.ChunkId = int32(n)
		case 5<<3 | field.Varint:
			p.head.TotalChunks = int32(n)
		case 6<<3 | field.Varint:
			p.head.TotalSize = n
		}
		if wire == protowire.VarintType {
			continue
		}
		if n > uint64(r.Remaining()) {
			return 0, io.ErrUnexpectedEOF
		}
		if tag == 2<<3|field.Bytes {
			at, p.size = length-r.Remaining(), int(n)
		}
		if _, err := r.Discard(int(n)); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// objectCodec writes requests to GetObject, and reads their answers into a piece.
type objectCodec struct{}

// Name is empty so that the content type stays the one that Ray's own client sends.
func (objectCodec) Name() string { return "" }

func (objectCodec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*raypb.GetRequest)
	if !ok {
		return nil, fmt.Errorf("ray: a %T to GetObject", v)
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(data)}, nil
}

func (objectCodec) Unmarshal(message mem.BufferSlice, v any) error {
	p, ok := v.(*piece)
	if !ok {
		return fmt.Errorf("ray: a %T from GetObject", v)
	}
	return p.take(message)
}
