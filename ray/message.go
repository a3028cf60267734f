package ray

import (
	"bytes"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// outgoing is one message of the data channel: a whole request, or one chunk of a put or a task.
type outgoing struct {
	req *raypb.DataRequest
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
	var head, data []byte
	var body int // the size of the message inside
	switch x := out.req.GetType().(type) {
	case *raypb.DataRequest_Get:
		body = sizeOfGet(x.Get, out.chunk)
	case *raypb.DataRequest_Put:
		data = chunk(x.Put.GetData(), out.chunk)
		body = sizeOfPut(x.Put, out.chunk) + sizeOfBytes(1, data)
	case *raypb.DataRequest_Task:
		data = chunk(x.Task.GetData(), out.chunk)
		body = sizeOfTask(x.Task, out.chunk) + sizeOfBytes(10, data)
	default:
		all, err := proto.Marshal(out.req)
		if err != nil {
			return nil, err
		}
		return mem.BufferSlice{mem.SliceBuffer(all)}, nil
	}
	const outer = 24 // at most: two tags, an id and a length
	size := outer + body
	alias := len(data) >= aliasAbove
	if alias {
		size -= len(data)
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(max(size, pooled))
	head = appendVarint((*buffer)[:0], 1, uint64(uint32(out.req.GetReqId())))
	switch x := out.req.GetType().(type) {
	case *raypb.DataRequest_Get:
		head = appendHead(head, 2, body)
		head = appendGet(head, x.Get, out.chunk)
	case *raypb.DataRequest_Put:
		head = appendHead(head, 3, body)
		head = appendPut(head, x.Put, out.chunk)
		head = appendHead(head, 1, len(data))
	case *raypb.DataRequest_Task:
		head = appendHead(head, 10, body)
		head = appendTask(head, x.Task, out.chunk)
		head = appendHead(head, 10, len(data))
	}
	if !alias {
		head = append(head, data...)
	}
	*buffer = head
	if alias {
		return mem.BufferSlice{mem.NewBuffer(buffer, pool), mem.SliceBuffer(data)}, nil
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
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
		f, err := nextField(&rest)
		if err != nil {
			return err
		}
		if f.num == 1 && f.typ == protowire.VarintType {
			id = f.n
			continue
		}
		if len(rest) > 0 || f.typ != protowire.BytesType {
			break // not as Ray writes it
		}
		switch f.num {
		case 2:
			m := &in.got
			m.kind.Get, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			return readGet(f.b, &m.body)
		case 3:
			m := &in.stored
			m.kind.Put, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			return readPut(f.b, &m.body)
		case 10:
			m := &in.scheduled
			m.kind.TaskTicket, m.resp.Type, m.resp.ReqId, in.resp = &m.body, &m.kind, int32(id), &m.resp
			m.body.ReturnIds = m.ids[:0]
			return readTicket(f.b, &m.body)
		}
	}
	in.resp = &raypb.DataResponse{}
	return proto.Unmarshal(b, in.resp)
}

func readGet(b []byte, into *raypb.GetResponse) error {
	into.Valid, into.Data, into.Error, into.ChunkId, into.TotalChunks, into.TotalSize = false, nil, nil, 0, 0, 0
	for len(b) > 0 {
		f, err := nextField(&b)
		if err != nil {
			return err
		}
		switch f.key() {
		case field{num: 1, typ: protowire.VarintType}.key():
			into.Valid = f.n != 0
		case field{num: 2, typ: protowire.BytesType}.key():
			into.Data = f.b
		case field{num: 3, typ: protowire.BytesType}.key():
			into.Error = bytes.Clone(f.b)
		case field{num: 4, typ: protowire.VarintType}.key():
			into.ChunkId = int32(f.n)
		case field{num: 5, typ: protowire.VarintType}.key():
			into.TotalChunks = int32(f.n)
		case field{num: 6, typ: protowire.VarintType}.key():
			into.TotalSize = f.n
		}
	}
	return nil
}

func readPut(b []byte, into *raypb.PutResponse) error {
	into.Id, into.Valid, into.Error = nil, false, nil
	for len(b) > 0 {
		f, err := nextField(&b)
		if err != nil {
			return err
		}
		switch f.key() {
		case field{num: 1, typ: protowire.BytesType}.key():
			into.Id = bytes.Clone(f.b)
		case field{num: 2, typ: protowire.VarintType}.key():
			into.Valid = f.n != 0
		case field{num: 3, typ: protowire.BytesType}.key():
			into.Error = bytes.Clone(f.b)
		}
	}
	return nil
}

func readTicket(b []byte, into *raypb.ClientTaskTicket) error {
	into.Valid, into.Error = false, nil
	for len(b) > 0 {
		f, err := nextField(&b)
		if err != nil {
			return err
		}
		switch f.key() {
		case field{num: 1, typ: protowire.VarintType}.key():
			into.Valid = f.n != 0
		case field{num: 2, typ: protowire.BytesType}.key():
			into.ReturnIds = append(into.ReturnIds, bytes.Clone(f.b))
		case field{num: 3, typ: protowire.BytesType}.key():
			into.Error = bytes.Clone(f.b)
		}
	}
	return nil
}

// field is one field of a message.
type field struct {
	num protowire.Number
	typ protowire.Type
	n   uint64 // of a varint
	b   []byte // of bytes, aliased
}

// key tells fields of one number and different types apart.
func (f field) key() uint64 { return protowire.EncodeTag(f.num, f.typ) }

// nextField takes one field off b. Values of types that Ray's messages do not have here are skipped.
func nextField(b *[]byte) (field, error) {
	num, typ, n := protowire.ConsumeTag(*b)
	if n < 0 {
		return field{}, protowire.ParseError(n)
	}
	f := field{num: num, typ: typ}
	rest := (*b)[n:]
	switch typ {
	case protowire.VarintType:
		f.n, n = protowire.ConsumeVarint(rest)
	case protowire.BytesType:
		f.b, n = protowire.ConsumeBytes(rest)
	default:
		n = protowire.ConsumeFieldValue(num, typ, rest)
	}
	if n < 0 {
		return field{}, protowire.ParseError(n)
	}
	*b = rest[n:]
	return f, nil
}

func sizeOfVarint(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sizeOfBytes[T string | []byte](num protowire.Number, v T) int {
	return protowire.SizeTag(num) + protowire.SizeBytes(len(v))
}

// sizeOfSome is sizeOfBytes for a field that is left out if it is empty.
func sizeOfSome[T string | []byte](num protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return sizeOfBytes(num, v)
}

func appendVarint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// appendHead begins a field of so many bytes.
func appendHead(b []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(size))
}

func appendSome[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendHead(b, num, len(v)), v...)
}

func sizeOfGet(m *raypb.GetRequest, from int32) int {
	n := sizeOfVarint(3, flag(m.GetAsynchronous())) + sizeOfVarint(5, uint64(from))
	for _, id := range m.GetIds() {
		n += sizeOfBytes(4, id)
	}
	return n
}

func appendGet(b []byte, m *raypb.GetRequest, from int32) []byte {
	b = appendVarint(b, 3, flag(m.GetAsynchronous()))
	for _, id := range m.GetIds() {
		b = append(appendHead(b, 4, len(id)), id...)
	}
	return appendVarint(b, 5, uint64(from))
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// The sizes of puts and tasks are without the data, which come last.

func sizeOfPut(m *raypb.PutRequest, chunk int32) int {
	return sizeOfSome(2, m.GetClientRefId()) + sizeOfVarint(3, uint64(chunk)) +
		sizeOfVarint(4, uint64(countChunks(m.GetData()))) + sizeOfVarint(5, uint64(len(m.GetData())))
}

func appendPut(b []byte, m *raypb.PutRequest, chunk int32) []byte {
	b = appendSome(b, 2, m.GetClientRefId())
	b = appendVarint(b, 3, uint64(chunk))
	b = appendVarint(b, 4, uint64(countChunks(m.GetData())))
	return appendVarint(b, 5, uint64(len(m.GetData())))
}

func sizeOfTask(m *raypb.ClientTask, chunk int32) int {
	return sizeOfVarint(1, uint64(m.GetType())) + sizeOfSome(2, m.GetName()) + sizeOfSome(3, m.GetPayloadId()) +
		sizeOfSome(6, m.GetClientId()) + sizeOfOptions(7, m.GetOptions()) + sizeOfOptions(8, m.GetBaselineOptions()) +
		sizeOfSome(9, m.GetNamespace()) + sizeOfVarint(11, uint64(chunk)) + sizeOfVarint(12, uint64(countChunks(m.GetData())))
}

func appendTask(b []byte, m *raypb.ClientTask, chunk int32) []byte {
	b = appendVarint(b, 1, uint64(m.GetType()))
	b = appendSome(b, 2, m.GetName())
	b = appendSome(b, 3, m.GetPayloadId())
	b = appendSome(b, 6, m.GetClientId())
	b = appendOptions(b, 7, m.GetOptions())
	b = appendOptions(b, 8, m.GetBaselineOptions())
	b = appendSome(b, 9, m.GetNamespace())
	b = appendVarint(b, 11, uint64(chunk))
	return appendVarint(b, 12, uint64(countChunks(m.GetData())))
}

func sizeOfOptions(num protowire.Number, m *raypb.TaskOptions) int {
	if m == nil {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeBytes(sizeOfSome(1, m.GetPickledOptions()))
}

func appendOptions(b []byte, num protowire.Number, m *raypb.TaskOptions) []byte {
	if m == nil {
		return b
	}
	b = appendHead(b, num, sizeOfSome(1, m.GetPickledOptions()))
	return appendSome(b, 1, m.GetPickledOptions())
}
