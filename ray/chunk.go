package ray

import (
	"errors"
	"fmt"
	"slices"
	"sync"

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

// content is what of a request travels in chunks: the data of a put or a task. All else is sent as it is. The same request
// yields the same messages however often it is sent, except that a get asks only for what did not arrive yet. Chunk
// numbers are always set: a server that finds none waits for more and never answers.
type content struct {
	data []byte
	loan *loan // in place of data
}

// content is what r sends in chunks.
func (r *request) content() content {
	if r.loan != nil {
		return content{loan: r.loan}
	}
	return contentOf(r.msg)
}

func contentOf(req *raypb.DataRequest) content {
	switch body := req.GetType().(type) {
	case *raypb.DataRequest_Put:
		return content{data: body.Put.GetData()}
	case *raypb.DataRequest_Task:
		return content{data: body.Task.GetData()}
	}
	return content{}
}

func (c content) size() int {
	if c.loan != nil {
		return c.loan.size
	}
	return len(c.data)
}

// chunks returns how many messages a request with this content takes.
func (c content) chunks() int32 {
	size := c.size()
	if size <= largestMessage {
		return 1
	}
	return int32((size + chunkSize - 1) / chunkSize) // at most MaxObjectSize / chunkSize
}

// span returns where chunk i begins and ends.
func (c content) span(i int32) (start, end int) {
	size := c.size()
	if size <= largestMessage {
		return 0, size
	}
	start = int(i) * chunkSize
	return start, min(start+chunkSize, size)
}

// loan is a large pickle whose parts lie in the memory of the caller of Put until Put returns: a copy of it all would have
// to be made before the first chunk leaves. It is copied chunk by chunk instead, each when its turn comes.
type loan struct {
	size int

	mu    sync.Mutex // guards parts, which the sender reads while the caller may want its memory back
	parts [][]byte   // nil when nobody needs them any more
}

// borrow is the size from which the bytes in a value are lent, not copied at once.
const borrow = 64 << 10

// lend returns a pickle in one piece, or, where it travels in chunks, as a loan.
func lend(parts [][]byte) content {
	size := total(parts)
	switch {
	case len(parts) == 1:
		return content{data: parts[0]}
	case size <= largestMessage:
		return content{data: slices.Concat(parts...)}
	}
	return content{loan: &loan{size: size, parts: parts}}
}

func total(parts [][]byte) (size int) {
	for _, part := range parts {
		size += len(part)
	}
	return size
}

// read copies what lies from start on to b. A loan that is over reads as zeros: nobody waits for the rest of it.
func (l *loan) read(b []byte, start int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == nil {
		clear(b)
	}
	for _, part := range l.parts {
		if start < len(part) {
			n := copy(b, part[start:])
			if b = b[n:]; len(b) == 0 {
				return
			}
			start = len(part)
		}
		start -= len(part)
	}
}

// end gives the caller its memory back. What is still to be sent, or may have to be once more, is copied now.
func (l *loan) end(unsent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if unsent {
		l.parts = [][]byte{slices.Concat(l.parts...)}
	} else {
		l.parts = nil
	}
}

// assembler puts the chunks of one object together. It copies them, and takes at most 16 times the memory of what
// arrived, whatever was announced, unless the size was expected. The zero value expects the first chunk of an object of unknown size.
type assembler struct {
	data  []byte
	count int32  // chunks that arrived
	total int32  // number of chunks, 0 before the first
	size  uint64 // announced
	// received counts bytes, also when data was taken.
	received uint64
	// expected is the size for which memory is taken at once: about that of an object that came, or left, before.
	expected uint64
}

// ahead is how many times the memory of what arrived is taken for what is to come, or up to twice that if all fits then.
const ahead = 8

// pageSize is what the system hands out at once, or a part of it.
const pageSize = 4 << 10

// prepare takes the memory for an object whose size is expected: while the server is busy with it there is time for that, and
// for the system to hand out its pages.
func (a *assembler) prepare() {
	if a.expected == 0 || a.data != nil {
		return
	}
	room := make([]byte, a.expected)
	for i := 0; i < len(room); i += pageSize {
		room[i] = 0
	}
	a.data = room[:0]
}

// next is the number of the first chunk that is still missing.
func (a *assembler) next() int32 { return a.count }

// add takes a chunk and reports whether the object is complete. A chunk that is already here is ignored; a gap, or a
// chunk that belongs to an object of another size, is an error that wraps errTransfer.
func (a *assembler) add(c *raypb.GetResponse) (complete bool, err error) {
	return a.take(c, len(c.Data), func(room []byte) { copy(room, c.Data) })
}

// take is add for a chunk of which size bytes lie elsewhere: read puts them into their place.
func (a *assembler) take(c *raypb.GetResponse, size int, read func(room []byte)) (complete bool, err error) {
	switch {
	case c.TotalSize > MaxObjectSize:
		return false, fmt.Errorf("%w: an object of %d bytes; at most %d can be fetched", ErrUnsupportedValue, c.TotalSize, int64(MaxObjectSize))
	case c.TotalChunks <= 0 || c.ChunkId < 0 || c.ChunkId >= c.TotalChunks || size == 0:
		return false, fmt.Errorf("%w: chunk %d of %d", errTransfer, c.ChunkId, c.TotalChunks)
	case a.total != 0 && (a.total != c.TotalChunks || a.size != c.TotalSize):
		return false, fmt.Errorf("%w: %d bytes in %d chunks became %d in %d", errTransfer, a.size, a.total, c.TotalSize, c.TotalChunks)
	case c.ChunkId < a.next():
		return false, nil
	case c.ChunkId > a.next():
		return false, fmt.Errorf("%w: chunk %d came when %d was due", errTransfer, c.ChunkId, a.next())
	}
	a.total, a.size = c.TotalChunks, c.TotalSize
	received := uint64(len(a.data) + size)
	complete = a.next()+1 == a.total
	if received > a.size || complete && received != a.size {
		return false, fmt.Errorf("%w: %d bytes of %d arrived with chunk %d of %d", errTransfer, received, a.size, a.next()+1, a.total)
	}
	if received > uint64(cap(a.data)) {
		room := a.size
		if ahead*received < a.size/2 && a.size > a.expected {
			room = ahead * received
		}
		a.data = append(make([]byte, 0, room), a.data...)
	}
	a.data = a.data[:received]
	read(a.data[received-uint64(size):])
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
