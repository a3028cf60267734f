package ray

import (
	"errors"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// What is larger than largestMessage travels in chunks of chunkSize. The server cuts at 5 MiB, too, but into chunks as large as
// that. Each of the two processes that a chunk passes begins with it when all of it is there: smaller ones keep both, and the
// client, at work at once.
const (
	largestMessage = 5 << 20
	chunkSize      = 1 << 20
)

// errTransfer: the chunks of an object did not fit together. The object itself may be fine, so that asking again is worth
// a try.
var errTransfer = errors.New("ray: chunks of an object do not fit together")

// payload is what of a request travels in chunks: the data of a put or a task. All else is sent as it is. The same request
// yields the same messages however often it is sent, except that a get asks only for what did not arrive yet. Chunk
// numbers are always set: a server that finds none waits for more and never answers.
func payload(req *raypb.DataRequest) []byte {
	switch body := req.GetType().(type) {
	case *raypb.DataRequest_Put:
		return body.Put.GetData()
	case *raypb.DataRequest_Task:
		return body.Task.GetData()
	}
	return nil
}

// parts returns how many messages a request takes.
func parts(req *raypb.DataRequest) int32 { return countChunks(payload(req)) }

func countChunks(data []byte) int32 {
	if len(data) <= largestMessage {
		return 1
	}
	return int32((len(data) + chunkSize - 1) / chunkSize) // at most MaxObjectSize / chunkSize
}

// chunk returns part number i of data.
func chunk(data []byte, i int32) []byte {
	if len(data) <= largestMessage {
		return data
	}
	start := int(i) * chunkSize
	return data[start:min(start+chunkSize, len(data))]
}

// assembler puts the chunks of one object together. It copies them, and takes at most 16 times the memory of what
// arrived, whatever was announced. The zero value expects the first chunk of an object of unknown size.
type assembler struct {
	data  []byte
	count int32  // chunks that arrived
	total int32  // number of chunks, 0 before the first
	size  uint64 // announced
	// received counts bytes, also when data was taken.
	received uint64
}

// ahead is how many times the memory of what arrived is taken for what is to come, or up to twice that if all fits then.
const ahead = 8

// next is the number of the first chunk that is still missing.
func (a *assembler) next() int32 { return a.count }

// add takes a chunk and reports whether the object is complete. A chunk that is already here is ignored; a gap, or a
// chunk that belongs to an object of another size, is an error that wraps errTransfer.
func (a *assembler) add(c *raypb.GetResponse) (complete bool, err error) {
	switch {
	case c.TotalSize > MaxObjectSize:
		return false, fmt.Errorf("%w: an object of %d bytes; at most %d can be fetched", ErrUnsupportedValue, c.TotalSize, int64(MaxObjectSize))
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
	received := uint64(len(a.data) + len(c.Data))
	complete = a.next()+1 == a.total
	if received > a.size || complete && received != a.size {
		return false, fmt.Errorf("%w: %d bytes of %d arrived with chunk %d of %d", errTransfer, received, a.size, a.next()+1, a.total)
	}
	if received > uint64(cap(a.data)) {
		room := a.size
		if ahead*received < a.size/2 {
			room = ahead * received
		}
		a.data = append(make([]byte, 0, room), a.data...)
	}
	a.data = append(a.data, c.Data...)
	a.received = received
	a.count++
	return complete, nil
}

// bytes returns the object. Call it once, when add said that it is complete.
func (a *assembler) bytes() []byte {
	data := a.data
	a.data = nil
	return data
}
