package worker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
	"github.com/seedcore/seedcore/internal/wire/xlang"
)

var caller = &corepb.Address{WorkerId: bytes.Repeat([]byte{0x0e}, 28), IpAddress: "127.0.0.1"}

// taskArgs flattens arguments as Python does; a string key before "=" makes a keyword argument of the next value.
func taskArgs(t *testing.T, args ...any) []*corepb.TaskArg {
	t.Helper()
	var flat []*corepb.TaskArg
	for _, arg := range args {
		key := &corepb.TaskArg{Data: []byte("__RAY_DUMMY__"), Metadata: []byte("RAW")}
		if k, ok := arg.(keyword); ok {
			data, md, err := xlang.Encode(k.name)
			if err != nil {
				t.Fatal(err)
			}
			key, arg = &corepb.TaskArg{Data: data, Metadata: md}, k.value
		}
		data, md, err := xlang.Encode(arg)
		if err != nil {
			t.Fatal(err)
		}
		flat = append(flat, key, &corepb.TaskArg{Data: data, Metadata: md})
	}
	return flat
}

type keyword struct {
	name  string
	value any
}

// creation is the GCS's request to construct a class.
func creation(t *testing.T, class string, maxConcurrency int32, args ...any) *corepb.PushTaskRequest {
	spec := &corepb.ActorCreationTaskSpec{ActorId: actorID, MaxConcurrency: maxConcurrency, Name: "thing", RayNamespace: "tests"}
	if maxConcurrency > 1 { // as drivers do: allow_out_of_order_execution
		spec.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 13, protowire.VarintType), 1))
	}
	return &corepb.PushTaskRequest{IntendedWorkerId: workerID, TaskSpec: &corepb.TaskSpec{
		Type: corepb.TaskType_ACTOR_CREATION_TASK, JobId: jobID, TaskId: append(bytes.Repeat([]byte{0xff}, 8), actorID...),
		FunctionDescriptor: descriptor(class, "__init__"), Args: taskArgs(t, args...), ActorCreationTaskSpec: spec,
	}}
}

func descriptor(class, function string) *corepb.FunctionDescriptor {
	return &corepb.FunctionDescriptor{FunctionDescriptor: &corepb.FunctionDescriptor_PythonFunctionDescriptor{
		PythonFunctionDescriptor: &corepb.PythonFunctionDescriptor{ModuleName: "m", ClassName: class, FunctionName: function},
	}}
}

// task is a caller's request to run a method, with the next sequence number.
func (h *host) task(method string, args ...any) *corepb.PushTaskRequest {
	h.t.Helper()
	seq := h.seq
	h.seq++
	return &corepb.PushTaskRequest{IntendedWorkerId: workerID, SequenceNumber: seq, ClientProcessedUpTo: -1, TaskSpec: &corepb.TaskSpec{
		Type: corepb.TaskType_ACTOR_TASK, JobId: jobID, TaskId: taskID(seq), FunctionDescriptor: descriptor("Thing", method),
		CallerAddress: caller, Args: taskArgs(h.t, args...), NumReturns: 1, GeneratorBackpressureNumObjects: -1,
		ActorTaskSpec: &corepb.ActorTaskSpec{ActorId: actorID},
	}}
}

func taskID(seq int64) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(seq)), actorID...)
}

func (h *host) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	h.t.Cleanup(cancel)
	return ctx
}

// create constructs the actor, which has to succeed.
func (h *host) create(maxConcurrency int32, args ...any) *host {
	h.t.Helper()
	reply, err := h.client.PushTask(h.context(), creation(h.t, "Thing", maxConcurrency, args...))
	if err != nil {
		h.t.Fatalf("%v; log: %s", err, h.logs)
	}
	if size := proto.Size(reply); size != 0 {
		h.t.Errorf("the creation was answered with %v", reply)
	}
	h.receives(rayletipc.TypeActorCreationTaskDone)
	return h
}

func (h *host) push(req *corepb.PushTaskRequest) *corepb.PushTaskReply {
	h.t.Helper()
	reply, err := h.client.PushTask(h.context(), req)
	if err != nil {
		h.t.Fatalf("%v; log: %s", err, h.logs)
	}
	return reply
}

// call runs a method, which has to return one value.
func (h *host) call(method string, args ...any) any {
	h.t.Helper()
	req := h.task(method, args...)
	values := h.values(req, h.push(req))
	if len(values) != 1 {
		h.t.Fatalf("%d values", len(values))
	}
	return values[0]
}

// values decodes a reply that has to be a success.
func (h *host) values(req *corepb.PushTaskRequest, reply *corepb.PushTaskReply) []any {
	h.t.Helper()
	if reply.GetIsApplicationError() {
		h.t.Fatalf("exception: %s", reply.GetTaskExecutionError())
	}
	values := []any{}
	for i, o := range reply.GetReturnObjects() {
		wantID := binary.LittleEndian.AppendUint32(bytes.Clone(req.GetTaskSpec().GetTaskId()), uint32(i+1))
		if !bytes.Equal(o.GetObjectId(), wantID) {
			h.t.Errorf("object id %x, not %x", o.GetObjectId(), wantID)
		}
		v, err := xlang.Decode(o.GetData(), o.GetMetadata())
		if err != nil {
			h.t.Fatal(err)
		}
		values = append(values, v)
	}
	return values
}

// exception decodes a reply that has to be an exception, checks its form and returns its text.
func (h *host) exception(req *corepb.PushTaskRequest, reply *corepb.PushTaskReply) string {
	h.t.Helper()
	if !reply.GetIsApplicationError() || len(reply.GetReturnObjects()) != int(req.GetTaskSpec().GetNumReturns()) {
		h.t.Fatalf("not an exception: %v", reply)
	}
	text := reply.GetTaskExecutionError()
	for _, o := range reply.GetReturnObjects() {
		if string(o.GetMetadata()) != "3" {
			h.t.Fatalf("metadata %q", o.GetMetadata())
		}
		v, err := xlang.Decode(o.GetData(), []byte("XLANG"))
		if err != nil {
			h.t.Fatal(err)
		}
		raised, formatted := rayException(h.t, v.([]byte))
		if formatted != text || raised.Class != (pickle.Global{Module: "ray.exceptions", Name: "RayTaskError"}) || !strings.HasSuffix(raised.Args[1].(string), text) {
			h.t.Fatalf("%v of %q", raised, formatted)
		}
	}
	return text
}

func rayException(t *testing.T, serialized []byte) (*pickle.Object, string) {
	t.Helper()
	var e corepb.RayException
	if err := proto.Unmarshal(serialized, &e); err != nil {
		t.Fatal(err)
	}
	v, err := pickle.Unmarshal(e.GetSerializedException(), pickle.Options{})
	if err != nil {
		t.Fatal(err)
	}
	object, ok := v.(*pickle.Object)
	if !ok || e.GetLanguage() != corepb.Language_PYTHON {
		t.Fatalf("%T in %v", v, e.GetLanguage())
	}
	return object, e.GetFormattedExceptionString()
}

// refuses pushes a request that has to be refused as Ray refuses, with this in the details.
func (h *host) refuses(req *corepb.PushTaskRequest, text string) {
	h.t.Helper()
	var trailer metadata.MD
	_, err := h.client.PushTask(h.context(), req, grpc.Trailer(&trailer))
	refused(h.t, err, trailer, "Invalid", text)
}

func refused(t *testing.T, err error, trailer metadata.MD, rayCode, text string) {
	t.Helper()
	details := strings.Join(trailer.Get("grpc-status-details-bin"), "\n")
	if status.Code(err) != codes.Aborted || status.Convert(err).Message() != rayCode || !strings.Contains(details, text) {
		t.Errorf("%v with %q, not %s with %q", err, details, rayCode, text)
	}
}
