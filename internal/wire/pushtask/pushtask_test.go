package pushtask_test

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pushtask"
)

// fill sets about half of the declared fields of a message, at every depth, and adds fields that are not declared.
func fill(random *rand.Rand, m protoreflect.Message, unknown bool) {
	fields := m.Descriptor().Fields()
	scalar := func(f protoreflect.FieldDescriptor) protoreflect.Value {
		switch f.Kind() {
		case protoreflect.BytesKind:
			b := make([]byte, random.IntN(40))
			if random.IntN(20) == 0 {
				b = make([]byte, 20<<10)
			}
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return protoreflect.ValueOfBytes(b)
		case protoreflect.StringKind:
			return protoreflect.ValueOfString([]string{"", "echo", "gr\u00fc\u00dfe"}[random.IntN(3)])
		case protoreflect.BoolKind:
			return protoreflect.ValueOfBool(random.IntN(2) == 0)
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(random.Uint32()))
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(int64(random.Uint64()))
		case protoreflect.Uint64Kind:
			return protoreflect.ValueOfUint64(random.Uint64())
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(random.IntN(3)))
		default:
			panic("a field of kind " + f.Kind().String())
		}
	}
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case random.IntN(2) == 0:
		case f.IsList():
			list := m.Mutable(f).List()
			for range random.IntN(7) {
				fill(random, list.AppendMutable().Message(), unknown)
			}
		case f.Kind() == protoreflect.MessageKind:
			fill(random, m.Mutable(f).Message(), unknown)
		default:
			m.Set(f, scalar(f))
		}
	}
	if unknown && random.IntN(2) == 0 {
		raw := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), random.Uint64())
		m.SetUnknown(protowire.AppendString(protowire.AppendTag(raw, 901, protowire.BytesType), "more"))
	}
}

func TestWhatIsWrittenIsWhatTheGeneratedCodeReads(t *testing.T) {
	if !pushtask.Complete {
		t.Error("a field is declared that this package does not write")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		request := &corepb.PushTaskRequest{}
		fill(random, request.ProtoReflect(), false)
		data, err := pushtask.MarshalRequest(5, request)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, data[5:], request, &corepb.PushTaskRequest{})
		reply := &corepb.PushTaskReply{}
		fill(random, reply.ProtoReflect(), false)
		written(t, reply, reply, &corepb.PushTaskReply{})
	}
}

func written(t *testing.T, v any, want, got proto.Message) {
	t.Helper()
	data, err := pushtask.Codec{}.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	defer data.Free()
	equal(t, data.Materialize(), want, got)
}

func equal(t *testing.T, data []byte, want, got proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(data, got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(want, got) {
		t.Fatalf("wrote %v, read %v", want, got)
	}
}

func TestWhatTheGeneratedCodeWritesIsRead(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		request, reply := &corepb.PushTaskRequest{}, &corepb.PushTaskReply{}
		fill(random, request.ProtoReflect(), true)
		fill(random, reply.ProtoReflect(), true)
		for got, want := range map[proto.Message]proto.Message{&corepb.PushTaskRequest{}: request, &corepb.PushTaskReply{}: reply} {
			data, err := proto.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			if err := (pushtask.Codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, got); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(want, got) {
				t.Fatalf("wrote %v, read %v", want, got)
			}
		}
		data, err := proto.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		got := &pushtask.Reply{}
		if err := got.Unmarshal(data); err != nil || !proto.Equal(reply, &got.PushTaskReply) {
			t.Fatalf("wrote %v, read %v: %v", reply, got, err)
		}
	}
}

func TestOtherMessagesPassThrough(t *testing.T) {
	want, got := &corepb.KillActorRequest{IntendedActorId: []byte("actor"), ForceKill: true}, &corepb.KillActorRequest{}
	data, err := pushtask.Codec{}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := (pushtask.Codec{}).Unmarshal(data, got); err != nil || !proto.Equal(want, got) {
		t.Fatalf("%v, %v", got, err)
	}
}

// FuzzUnmarshal: what comes from the network is read as the generated code reads it, or refused by both.
func FuzzUnmarshal(f *testing.F) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 5 {
		request := &corepb.PushTaskRequest{}
		fill(random, request.ProtoReflect(), true)
		data, err := proto.Marshal(request)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, empty := range []proto.Message{&corepb.PushTaskRequest{}, &corepb.PushTaskReply{}} {
			want, got := proto.Clone(empty), proto.Clone(empty)
			wantErr := proto.Unmarshal(data, want)
			err := pushtask.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(data)}, got)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%v, the generated code says %v", err, wantErr)
			}
			if err == nil && !proto.Equal(want, got) {
				t.Fatalf("read %v instead of %v", got, want)
			}
		}
	})
}
