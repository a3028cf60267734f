package ray_test

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// FuzzResponses reads what a server may send as package proto does, one message after the other, whatever came before.
func FuzzResponses(f *testing.F) {
	for _, m := range []*raypb.DataResponse{
		{ReqId: 1, Type: &raypb.DataResponse_Get{Get: &raypb.GetResponse{Valid: true, Data: []byte("data"), ChunkId: 2, TotalChunks: 3, TotalSize: 1 << 40}}},
		{ReqId: -1, Type: &raypb.DataResponse_Get{Get: &raypb.GetResponse{Error: []byte("error")}}},
		{ReqId: 3, Type: &raypb.DataResponse_Put{Put: &raypb.PutResponse{Valid: true, Id: []byte("id")}}},
		{ReqId: 4, Type: &raypb.DataResponse_Put{Put: &raypb.PutResponse{Error: []byte("error")}}},
		{ReqId: 5, Type: &raypb.DataResponse_TaskTicket{TaskTicket: &raypb.ClientTaskTicket{Valid: true, ReturnIds: [][]byte{[]byte("a"), []byte("b")}}}},
		{ReqId: 6, Type: &raypb.DataResponse_TaskTicket{TaskTicket: &raypb.ClientTaskTicket{Error: []byte("error")}}},
		{ReqId: 7, Type: &raypb.DataResponse_Release{Release: &raypb.ReleaseResponse{Ok: []bool{true, false}}}},
		{ReqId: 8, Type: &raypb.DataResponse_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoResponse{NumClients: 1, RayVersion: "2"}}},
		{ReqId: 9},
		{},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, data)
	}
	f.Fuzz(func(t *testing.T, before, data []byte) {
		var r ray.Receiver
		if _, err := r.Receive(mem.BufferSlice{mem.SliceBuffer(before)}); err != nil {
			return
		}
		want := &raypb.DataResponse{}
		wantErr := proto.Unmarshal(data, want)
		cut := len(data) / 2
		got, err := r.Receive(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(data[:cut])), mem.SliceBuffer(bytes.Clone(data[cut:]))})
		if wantErr != nil || len(want.ProtoReflect().GetUnknown()) > 0 {
			return // broken, or of a later version: only a crash would be wrong
		}
		if err != nil {
			t.Fatalf("%v for %v", err, want)
		}
		// What this side does not know inside the messages is not kept.
		for _, m := range []proto.Message{want.GetGet(), want.GetPut(), want.GetTaskTicket(), got.GetGet(), got.GetPut(), got.GetTaskTicket()} {
			if m.ProtoReflect().IsValid() {
				m.ProtoReflect().SetUnknown(nil)
			}
		}
		if !proto.Equal(got, want) {
			t.Fatalf("%v instead of %v", got, want)
		}
	})
}

// FuzzPieces reads the answers to GetObject as package proto does, wherever the buffers of the connection end.
func FuzzPieces(f *testing.F) {
	for _, m := range []*raypb.GetResponse{
		{Valid: true, Data: []byte("all of it"), TotalChunks: 1, TotalSize: 9},
		{Valid: true, Data: []byte("data"), ChunkId: 2, TotalChunks: 3, TotalSize: 1 << 40},
		{Error: []byte("error")},
		{},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		var message mem.BufferSlice
		for part := range slices.Chunk(data, 1+int(size)) {
			message = append(message, mem.SliceBuffer(part))
		}
		want := &raypb.GetResponse{}
		wantErr := proto.Unmarshal(data, want)
		got, err := ray.ReadPiece(message)
		if wantErr != nil || len(want.ProtoReflect().GetUnknown()) > 0 {
			return // broken, or of a later version: only a crash would be wrong
		}
		if err != nil {
			t.Fatalf("%v for %v", err, want)
		}
		want.Error = nil // nobody reads it
		if !proto.Equal(got, want) {
			t.Fatalf("%v instead of %v", got, want)
		}
	})
}
