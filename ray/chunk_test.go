package ray_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

func TestMessagesCoverTheDataOnceAndAreTheSameEveryTime(t *testing.T) {
	for _, size := range []int{1, ray.ChunkSize + 1, ray.LargestMessage, ray.LargestMessage + 1, 7*ray.ChunkSize + 7} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rand.Uint32())
		}
		put := &raypb.DataRequest{ReqId: 7, Type: &raypb.DataRequest_Put{Put: &raypb.PutRequest{Data: data}}}
		task := &raypb.DataRequest{ReqId: 8, Type: &raypb.DataRequest_Task{Task: &raypb.ClientTask{
			Type: raypb.ClientTask_METHOD, Name: "m", PayloadId: []byte("actor"), ClientId: "client", Namespace: "ns",
			Options: &raypb.TaskOptions{PickledOptions: []byte("options")}, Data: data,
		}}}
		for _, req := range []*raypb.DataRequest{put, task} {
			var joined []byte
			messages := ray.Messages(req, 0)
			if whole := len(messages) == 1; whole != (size <= ray.LargestMessage) {
				t.Fatalf("%d bytes in %d messages", size, len(messages))
			}
			for i, m := range messages {
				part, id, total := m.GetPut().GetData(), m.GetPut().GetChunkId(), m.GetPut().GetTotalChunks()
				if m.GetTask() != nil {
					part, id, total = m.GetTask().GetData(), m.GetTask().GetChunkId(), m.GetTask().GetTotalChunks()
					whole := proto.CloneOf(m.GetTask())
					whole.Data, whole.ChunkId, whole.TotalChunks = data, 0, 0
					if !proto.Equal(whole, task.GetTask()) {
						t.Fatalf("chunk %d lost fields of the task: %v", i, m)
					}
				} else if m.GetPut().GetTotalSize() != int64(size) {
					t.Fatalf("total size %d of %d", m.GetPut().GetTotalSize(), size)
				}
				if m.ReqId != req.ReqId || int(id) != i || int(total) != len(messages) || len(messages) > 1 && len(part) > ray.ChunkSize {
					t.Fatalf("message %d of %d: request %d, chunk %d of %d, %d bytes", i, len(messages), m.ReqId, id, total, len(part))
				}
				joined = append(joined, part...)
			}
			if !bytes.Equal(joined, data) {
				t.Fatalf("%d bytes became %d others", size, len(joined))
			}
			for i, m := range ray.Messages(req, 0) {
				if !proto.Equal(m, messages[i]) {
					t.Fatalf("message %d differs when it is sent again", i)
				}
			}
		}
	}
}

func TestGetResumesBehindTheLastChunk(t *testing.T) {
	get := &raypb.DataRequest{ReqId: 3, Type: &raypb.DataRequest_Get{Get: &raypb.GetRequest{Ids: [][]byte{[]byte("x")}, Asynchronous: true}}}
	m := ray.Messages(get, 5)
	if len(m) != 1 || m[0].GetGet().GetStartChunkId() != 5 || m[0].ReqId != 3 || !m[0].GetGet().GetAsynchronous() {
		t.Fatalf("%v", m)
	}
	if get.GetGet().GetStartChunkId() != 0 {
		t.Fatal("the request itself was changed")
	}
}

// cut is how the server sends data.
func cut(data []byte, size int) []*raypb.GetResponse {
	var out []*raypb.GetResponse
	total := (len(data) + size - 1) / size
	for i := range total {
		out = append(out, &raypb.GetResponse{
			Valid: true, Data: data[i*size : min((i+1)*size, len(data))], ChunkId: int32(i), TotalChunks: int32(total), TotalSize: uint64(len(data)),
		})
	}
	return out
}

// FuzzAssembler feeds the chunks of an object in an order that the fuzzer chooses, some of them damaged. What comes out
// complete must be the object; whatever goes in, nothing else may.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte("an object of some length"), uint8(5), []byte{0, 1, 2, 3, 4})
	f.Add([]byte("twice and late"), uint8(4), []byte{0, 0, 1, 0, 2, 1, 3})
	f.Add([]byte("with a gap"), uint8(2), []byte{0, 2, 1})
	f.Add([]byte("damaged"), uint8(3), []byte{0, 0x81, 0xc2, 0xa0, 1, 2})
	f.Fuzz(func(t *testing.T, data []byte, size uint8, order []byte) {
		if len(data) == 0 {
			return
		}
		chunks := cut(data, 1+int(size)%16)
		var a ray.Assembler
		for _, o := range order {
			c := proto.CloneOf(chunks[int(o&0x1f)%len(chunks)])
			switch o >> 5 { // damage
			case 4:
				c.TotalSize++
			case 5:
				c.TotalChunks--
			case 6:
				c.ChunkId += 100
			case 7:
				c.Data = c.Data[:len(c.Data)-1]
			}
			next := a.Next()
			complete, err := a.Add(c)
			if err != nil {
				if !errors.Is(err, ray.ErrTransfer) {
					t.Fatalf("error of another kind: %v", err)
				}
				return // the transfer is over
			}
			if complete {
				got := a.Bytes()
				if uint64(len(got)) != c.TotalSize {
					t.Fatalf("%d bytes were announced, %d came out", c.TotalSize, len(got))
				}
				if len(got) == len(data) && !bytes.Equal(got, data) {
					t.Fatalf("%q came out as %q", data, got)
				}
				return
			}
			if a.Next() != next && c.ChunkId != next {
				t.Fatalf("chunk %d was taken when %d was due", c.ChunkId, next)
			}
		}
	})
}

func TestAssemblerBounds(t *testing.T) {
	var a ray.Assembler
	if _, err := a.Add(&raypb.GetResponse{Valid: true, Data: []byte("x"), TotalChunks: 1 << 30, TotalSize: ray.MaxObjectSize + 1}); !errors.Is(err, ray.ErrUnsupportedValue) {
		t.Fatalf("an object above the limit: %v", err)
	}
	for _, c := range []*raypb.GetResponse{
		{Data: []byte("x"), TotalChunks: 0, TotalSize: 1},
		{Data: []byte("x"), TotalChunks: 1, ChunkId: -1, TotalSize: 1},
		{Data: []byte("x"), TotalChunks: 1, ChunkId: 1, TotalSize: 1},
		{Data: []byte("xx"), TotalChunks: 2, TotalSize: 1},
		{TotalChunks: 2, TotalSize: 1},
	} {
		var a ray.Assembler
		if _, err := a.Add(c); !errors.Is(err, ray.ErrTransfer) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestAnAnnouncedSizeTakesNoMemory(t *testing.T) {
	const arrived = 1000
	var a ray.Assembler
	if _, err := a.Add(&raypb.GetResponse{Valid: true, Data: make([]byte, arrived), TotalChunks: 2, TotalSize: ray.MaxObjectSize}); err != nil {
		t.Fatal(err)
	}
	if got := cap(a.Bytes()); got > 16*arrived {
		t.Errorf("room for %d bytes when %d arrived", got, arrived)
	}
	var b ray.Assembler
	_, err := b.Add(&raypb.GetResponse{Valid: true, Data: make([]byte, arrived), TotalChunks: 2, TotalSize: ray.MaxObjectSize + 1})
	if !errors.Is(err, ray.ErrUnsupportedValue) {
		t.Errorf("a value above the limit: %v", err)
	}
	// What came before, or was put, is no mere announcement: it does not have to move while it grows.
	const expected = 16 * 16 * arrived
	for _, size := range []uint64{expected, expected + 1} {
		var c ray.Assembler
		c.Expect(expected)
		if _, err := c.Add(&raypb.GetResponse{Valid: true, Data: make([]byte, arrived), TotalChunks: 2, TotalSize: size}); err != nil {
			t.Fatal(err)
		}
		if got := uint64(cap(c.Bytes())); got >= size != (size <= expected) {
			t.Errorf("room for %d bytes, where %d were expected and %d are announced", got, expected, size)
		}
	}
}
