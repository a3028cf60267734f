package ray

import (
	"bytes"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/field"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// outgoing is one message of the data channel: a whole request, or one chunk of a put or a task.
type outgoing struct {
	req     *raypb.DataRequest
	content content
	// chunk is the number of the chunk, for puts and tasks. For a get it is the first chunk that is asked for.
	chunk int32
}

// incoming takes one message of the data channel after the other.
type incoming struct {
	// resp is the last message. If it answers a get, a put or a task, it is good until the next one comes: its memory is used
	// again, the bytes of a value included. Ids and errors in it can be kept.
	resp    *raypb.DataResponse
	scratch []byte

	got struct {
		resp raypb.DataResponse
		kind raypb.DataResponse_Get
		body raypb.GetResponse
	}
	stored struct {
		resp raypb.DataResponse
		kind raypb.DataResponse_Put
		body raypb.PutResponse
	}
	scheduled struct {
		resp raypb.DataResponse
		kind raypb.DataResponse_TaskTicket
		body raypb.ClientTaskTicket
		ids  [1][]byte
	}
}

// dataCodec writes and reads the messages of the data channel. Calls, gets and puts are written and read by hand: that takes
// a fraction of the allocations, and copies the bytes of large values once less. All else goes through package proto.
type dataCodec struct{}

// Name is empty so that the content type stays the one that Ray's own client sends.
func (dataCodec) Name() string { return "" }

// keepScratch is how much of a buffer is kept when small messages follow a large one.
const keepScratch = 64 << 10

// aliasAbove is the size from which the bytes of a value are handed to the connection as they are, without a copy.
const aliasAbove = 16 << 10

// pooled is the least size of a buffer that package mem takes back.
const pooled = 2 << 10

func (dataCodec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*outgoing)
	if !ok {
		return nil, fmt.Errorf("ray: a %T on the data channel", v)
	}
	start, end := out.content.span(out.chunk)
	var body int // the size of the message inside
	switch x := out.req.GetType().(type) {
	case *raypb.DataRequest_Get:
		body = sizeOfGet(x.Get, out.chunk)
	case *raypb.DataRequest_Put:
		body = sizeOfPut(x.Put, out) + field.SizeMessage(1, end-start)
	case *raypb.DataRequest_Task:
		body = sizeOfTask(x.Task, out) + field.SizeMessage(10, end-start)
	default:
		all, err := proto.Marshal(out.req)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(all)}, nil
	}
	const outer = 24 // at most: two tags, an id and a length
	size := outer + body
	apart := out.content.loan != nil || end-start >= aliasAbove
	if apart {
		size -= end - start
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(max(size, pooled))
	head := field.AppendVarint((*buffer)[:0], 1, uint64(uint32(out.req.GetReqId())))
	switch x := out.req.GetType().(type) {
	case *raypb.DataRequest_Get:
		head = field.AppendHead(head, 2, body)
		head = appendGet(head, x.Get, out.chunk)
	case *raypb.DataRequest_Put:
		head = field.AppendHead(head, 3, body)
		head = appendPut(head, x.Put, out)
		head = field.AppendHead(head, 1, end-start)
	case *raypb.DataRequest_Task:
		head = field.AppendHead(head, 10, body)
		head = appendTask(head, x.Task, out)
		head = field.AppendHead(head, 10, end-start)
	}
	if !apart {
		head = append(head, out.content.data[start:end]...)
	}
	*buffer = head
	message := mem.BufferSlice{mem.NewBuffer(buffer, pool)}
	switch loan := out.content.loan; {
	case loan != nil:
		lent := pool.Get(end - start)
		loan.read(*lent, start)
		message = append(message, mem.NewBuffer(lent, pool))
	case apart:
		message = append(message, mem.SliceBuffer(out.content.data[start:end]))
	}
	return message, nil
}

func (dataCodec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return fmt.Errorf("ray: a %T for the data channel", v)
	}
	n := data.Len()
	if cap(in.scratch) < n || cap(in.scratch) > keepScratch && n <= keepScratch {
		in.scratch = make([]byte, max(n, 1<<10))
	}
	in.scratch = in.scratch[:n]
	data.CopyTo(in.scratch)
	return in.read(in.scratch)
}

// read takes a message that lies in b.
func (in *incoming) read(b []byte) error {
	var id uint64
	for rest := b; len(rest) > 0; {
		f, length, err := field.Next(rest)
		if err != nil {
			return err
		}
		rest = rest[length:]
		if f.Tag == 1<<3|field.Varint {
			id = f.Number
			continue
		}
		if len(rest) > 0 {
			break // not as Ray writes it
		}
		switch f.Tag {
		case 2<<3 | field.Bytes:
			m := &in.got
			m.kind.Get, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			return readGet(f.Data, &m.body)
		case 3<<3 | field.Bytes:
			m := &in.stored
			m.kind.Put, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			return readPut(f.Data, &m.body)
		case 10<<3 | field.Bytes:
			m := &in.scheduled
			m.kind.TaskTicket, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			m.body.ReturnIds = m.ids[:0]
			return readTicket(f.Data, &m.body)
		}
	}
	in.resp = &raypb.DataResponse{}
	return proto.Unmarshal(b, in.resp)
}

func readGet(b []byte, into *raypb.GetResponse) error {
	into.Valid, into.Data, into.Error, into.ChunkId, into.TotalChunks, into.TotalSize = false, nil, nil, 0, 0, 0
	return field.Each(b, func(f field.Field, _ []byte) error {
		switch f.Tag {
		case 1<<3 | field.Varint:
			into.Valid = f.Number != 0
		case 2<<3 | field.Bytes:
			into.Data = f.Data
		case 3<<3 | field.Bytes:
			into.Error = bytes.Clone(f.Data)
		case 4<<3 | field.Varint:
			into.ChunkId = int32(f.Number)
		case 5<<3 | field.Varint:
			into.TotalChunks = int32(f.Number)
		case 6<<3 | field.Varint:
			into.TotalSize = f.Number
		}
		return nil
	})
}

func readPut(b []byte, into *raypb.PutResponse) error {
	into.Id, into.Valid, into.Error = nil, false, nil
	return field.Each(b, func(f field.Field, _ []byte) error {
		switch f.Tag {
		case 1<<3 | field.Bytes:
			into.Id = bytes.Clone(f.Data)
		case 2<<3 | field.Varint:
			into.Valid = f.Number != 0
		case 3<<3 | field.Bytes:
			into.Error = bytes.Clone(f.Data)
		}
		return nil
	})
}

func readTicket(b []byte, into *raypb.ClientTaskTicket) error {
	into.Valid, into.Error = false, nil
	return field.Each(b, func(f field.Field, _ []byte) error {
		switch f.Tag {
		case 1<<3 | field.Varint:
			into.Valid = f.Number != 0
		case 2<<3 | field.Bytes:
			into.ReturnIds = append(into.ReturnIds, bytes.Clone(f.Data))
		case 3<<3 | field.Bytes:
			into.Error = bytes.Clone(f.Data)
		}
		return nil
	})
}

func sizeOfGet(m *raypb.GetRequest, from int32) int {
	n := field.SizeVarint(3, field.Bit(m.GetAsynchronous())) + field.SizeVarint(5, uint64(from))
	for _, id := range m.GetIds() {
		n += field.SizeMessage(4, len(id))
	}
	return n
}

func appendGet(b []byte, m *raypb.GetRequest, from int32) []byte {
	b = field.AppendVarint(b, 3, field.Bit(m.GetAsynchronous()))
	for _, id := range m.GetIds() {
		b = append(field.AppendHead(b, 4, len(id)), id...)
	}
	return field.AppendVarint(b, 5, uint64(from))
}

// The sizes of puts and tasks are without the data, which come last.

func sizeOfPut(m *raypb.PutRequest, out *outgoing) int {
	return field.SizeBytes(2, m.GetClientRefId()) + field.SizeVarint(3, uint64(out.chunk)) +
		field.SizeVarint(4, uint64(out.content.chunks())) + field.SizeVarint(5, uint64(out.content.size()))
}

func appendPut(b []byte, m *raypb.PutRequest, out *outgoing) []byte {
	b = field.AppendBytes(b, 2, m.GetClientRefId())
	b = field.AppendVarint(b, 3, uint64(out.chunk))
	b = field.AppendVarint(b, 4, uint64(out.content.chunks()))
	return field.AppendVarint(b, 5, uint64(out.content.size()))
}

func sizeOfTask(m *raypb.ClientTask, out *outgoing) int {
	return field.SizeVarint(1, uint64(m.GetType())) + field.SizeBytes(2, m.GetName()) + field.SizeBytes(3, m.GetPayloadId()) +
		field.SizeBytes(6, m.GetClientId()) + sizeOfOptions(7, m.GetOptions()) + sizeOfOptions(8, m.GetBaselineOptions()) +
		field.SizeBytes(9, m.GetNamespace()) + field.SizeVarint(11, uint64(out.chunk)) + field.SizeVarint(12, uint64(out.content.chunks()))
}

func appendTask(b []byte, m *raypb.ClientTask, out *outgoing) []byte {
	b = field.AppendVarint(b, 1, uint64(m.GetType()))
	b = field.AppendBytes(b, 2, m.GetName())
	b = field.AppendBytes(b, 3, m.GetPayloadId())
	b = field.AppendBytes(b, 6, m.GetClientId())
	b = appendOptions(b, 7, m.GetOptions())
	b = appendOptions(b, 8, m.GetBaselineOptions())
	b = field.AppendBytes(b, 9, m.GetNamespace())
	b = field.AppendVarint(b, 11, uint64(out.chunk))
	return field.AppendVarint(b, 12, uint64(out.content.chunks()))
}

func sizeOfOptions(num protowire.Number, m *raypb.TaskOptions) int {
	if m == nil {
		return 0
	}
	return field.SizeMessage(num, field.SizeBytes(1, m.GetPickledOptions()))
}

func appendOptions(b []byte, num protowire.Number, m *raypb.TaskOptions) []byte {
	if m == nil {
		return b
	}
	b = field.AppendHead(b, num, field.SizeBytes(1, m.GetPickledOptions()))
	return field.AppendBytes(b, 1, m.GetPickledOptions())
}
