package ray

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// chunkSize is how much of a value one message carries; the server cuts at the same size.
const chunkSize = 5 << 20

// errTransfer: the chunks of an object did not fit together. The object itself may be fine, so that asking again is worth
// a try.
var errTransfer = errors.New("ray: chunks of an object do not fit together")

// messages yields what crosses the data channel for one request: puts and tasks in chunks, all else as it is. The same
// request yields the same messages however often it is sent, except that a get asks only for what did not arrive yet.
// Chunk numbers are always set: a server that finds none waits for more and never answers.
func messages(req *raypb.DataRequest, from int32) iter.Seq[*raypb.DataRequest] {
	return func(yield func(*raypb.DataRequest) bool) {
		switch body := req.Type.(type) {
		case *raypb.DataRequest_Put:
			for i, part := range chunks(body.Put.Data) {
				put := &raypb.PutRequest{
					Data: part, ClientRefId: body.Put.ClientRefId,
					ChunkId: i, TotalChunks: countChunks(body.Put.Data), TotalSize: int64(len(body.Put.Data)),
				}
				if !yield(&raypb.DataRequest{ReqId: req.ReqId, Type: &raypb.DataRequest_Put{Put: put}}) {
					return
				}
			}
		case *raypb.DataRequest_Task:
			for i, part := range chunks(body.Task.Data) {
				task := &raypb.ClientTask{
					Type: body.Task.Type, Name: body.Task.Name, PayloadId: body.Task.PayloadId, ClientId: body.Task.ClientId,
					Options: body.Task.Options, BaselineOptions: body.Task.BaselineOptions, Namespace: body.Task.Namespace,
					Data: part, ChunkId: i, TotalChunks: countChunks(body.Task.Data),
				}
				if !yield(&raypb.DataRequest{ReqId: req.ReqId, Type: &raypb.DataRequest_Task{Task: task}}) {
					return
				}
			}
		case *raypb.DataRequest_Get:
			get := proto.CloneOf(body.Get)
			get.StartChunkId = from
			yield(&raypb.DataRequest{ReqId: req.ReqId, Type: &raypb.DataRequest_Get{Get: get}})
		default:
			yield(req)
		}
	}
}

func countChunks(data []byte) int32 {
	return int32(max(1, (len(data)+chunkSize-1)/chunkSize)) // at most MaxObjectSize / chunkSize
}

// chunks yields the parts of data with their numbers; empty data is one empty part.
func chunks(data []byte) iter.Seq2[int32, []byte] {
	return func(yield func(int32, []byte) bool) {
		for i := range countChunks(data) {
			start := int(i) * chunkSize
			if !yield(i, data[start:min(start+chunkSize, len(data))]) {
				return
			}
		}
	}
}

// assembler puts the chunks of one object together. Memory is bounded by what arrived, not by what was announced. The
// zero value expects the first chunk of an object of unknown size.
type assembler struct {
	parts    [][]byte
	total    int32  // number of chunks, 0 before the first
	size     uint64 // announced
	received uint64
}

// next is the number of the first chunk that is still missing.
func (a *assembler) next() int32 { return int32(len(a.parts)) }

// add takes a chunk and reports whether the object is complete. A chunk that is already here is ignored; a gap, or a
// chunk that belongs to an object of another size, is an error that wraps errTransfer.
func (a *assembler) add(c *raypb.GetResponse) (complete bool, err error) {
	switch {
	case c.TotalSize > MaxObjectSize:
		return false, fmt.Errorf("%w: an object of %d bytes; at most %d can be fetched", ErrUnsupportedValue, c.TotalSize, MaxObjectSize)
	case c.TotalChunks <= 0 || c.ChunkId < 0 || c.ChunkId >= c.TotalChunks || len(c.Data) == 0:
		return false, fmt.Errorf("%w: chunk %d of %d", errTransfer, c.ChunkId, c.TotalChunks)
	case a.total != 0 && (a.total != c.TotalChunks || a.size != c.TotalSize):
		return false, fmt.Errorf("%w: %d bytes in %d chunks became %d in %d", errTransfer, a.size, a.total, c.TotalSize, c.TotalChunks)
	case c.ChunkId < a.next():
		return false, nil
	case c.ChunkId > a.next():
		return false, fmt.Errorf("%w: chunk %d came when %d was due", errTransfer, c.ChunkId, a.next())
	}
	a.total, a.size = c.TotalChunks, c.TotalSize
	a.parts = append(a.parts, c.Data)
	a.received += uint64(len(c.Data))
	complete = a.next() == a.total
	if a.received > a.size || complete && a.received != a.size {
		return false, fmt.Errorf("%w: %d bytes of %d arrived with chunk %d of %d", errTransfer, a.received, a.size, c.ChunkId, a.total)
	}
	return complete, nil
}

// bytes returns the object. Call it once, when add said that it is complete.
func (a *assembler) bytes() []byte {
	if len(a.parts) == 1 {
		return a.parts[0]
	}
	data := bytes.Join(a.parts, nil)
	a.parts = nil
	return data
}
