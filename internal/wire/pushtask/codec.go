package pushtask

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// MarshalRequest returns a request as it travels, behind head bytes that are free.
func MarshalRequest(head int, req *corepb.PushTaskRequest) ([]byte, error) {
	if !complete || req.GetTaskSpec().GetActorCreationTaskSpec() != nil {
		return protobuf.MarshalOptions{}.MarshalAppend(make([]byte, head), req)
	}
	return appendRequest(make([]byte, head, head+sizeRequest(req)), req), nil
}

// Reply is a reply, in one piece with its first result.
type Reply struct {
	corepb.PushTaskReply
	result result
}

// Unmarshal reads a reply. r has to be empty; it keeps b.
func (r *Reply) Unmarshal(b []byte) error { return unmarshalReply(b, &r.PushTaskReply, &r.result) }

// Codec is the codec of gRPC's side that serves PushTask.
type Codec struct{}

// Name is empty, so that nothing is put behind the content type application/grpc, which is that of Ray's own callers.
func (Codec) Name() string { return "" }

var others = encoding.GetCodecV2(proto.Name)

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*corepb.PushTaskReply); ok && complete {
		return marshalReply(m), nil
	}
	return others.Marshal(v)
}

// Unmarshal implements encoding.CodecV2. The message has to be empty.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *corepb.PushTaskRequest:
		return unmarshalRequest(data.Materialize(), m)
	case *corepb.PushTaskReply:
		return unmarshalReply(data.Materialize(), m, &result{})
	}
	return others.Unmarshal(data, v)
}

// written are the fields that this package writes, by message. One that is declared and missing here makes the generated
// code write all.
var written = map[protoreflect.ProtoMessage][]protoreflect.FieldNumber{
	&corepb.PushTaskRequest{}:                {1, 2, 3, 4},
	&corepb.TaskSpec{}:                       {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 15, 16, 24, 29, 30, 34, 38, 39, 46},
	&corepb.FunctionDescriptor{}:             {2},
	&corepb.PythonFunctionDescriptor{}:       {1, 2, 3, 4},
	&corepb.Address{}:                        {1, 2, 3, 4},
	&corepb.TaskArg{}:                        {1, 2, 3, 4},
	&corepb.ActorTaskSpec{}:                  {2, 4, 5},
	&corepb.ObjectReference{}:                {1},
	&corepb.PushTaskReply{}:                  {1, 3, 5, 6, 7, 8, 9, 10},
	&corepb.StreamingGeneratorReturnIdInfo{}: {1, 2},
	&corepb.ReturnObject{}:                   {1, 2, 3, 4, 5, 6},
}

var complete = allWritten()

func allWritten() bool {
	for message, numbers := range written {
		if message.ProtoReflect().Descriptor().Fields().Len() != len(numbers) {
			return false
		}
		for _, n := range numbers {
			if message.ProtoReflect().Descriptor().Fields().ByNumber(n) == nil {
				return false
			}
		}
	}
	return true
}
