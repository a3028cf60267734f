package pushtask

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// uncopied is from which size on a result is sent from where it lies, in bytes.
const uncopied = 16 << 10

func appendBytes[T string | []byte](b []byte, n protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, n, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(v)))
	return append(b, v...)
}

func sizeBytes[T string | []byte](n protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeBytes(len(v))
}

func appendVarint(b []byte, n protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), v)
}

func sizeVarint(n protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(n) + protowire.SizeVarint(v)
}

func appendHead(b []byte, n protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), uint64(size))
}

func sizeMessage(n protowire.Number, size int) int {
	return protowire.SizeTag(n) + protowire.SizeBytes(size)
}

func sizeRequest(m *corepb.PushTaskRequest) int {
	n := sizeBytes(1, m.IntendedWorkerId) + sizeVarint(3, uint64(m.SequenceNumber)) + sizeVarint(4, uint64(m.ClientProcessedUpTo))
	if m.TaskSpec != nil {
		n += sizeMessage(2, sizeSpec(m.TaskSpec))
	}
	return n
}

func appendRequest(b []byte, m *corepb.PushTaskRequest) []byte {
	b = appendBytes(b, 1, m.IntendedWorkerId)
	if m.TaskSpec != nil {
		b = appendSpec(appendHead(b, 2, sizeSpec(m.TaskSpec)), m.TaskSpec)
	}
	b = appendVarint(b, 3, uint64(m.SequenceNumber))
	return appendVarint(b, 4, uint64(m.ClientProcessedUpTo))
}

func sizeSpec(m *corepb.TaskSpec) int {
	n := sizeVarint(1, uint64(m.Type)) + sizeBytes(2, m.Name) + sizeVarint(3, uint64(m.Language)) + sizeBytes(5, m.JobId) +
		sizeBytes(6, m.TaskId) + sizeBytes(7, m.ParentTaskId) + sizeBytes(9, m.CallerId) + sizeVarint(12, m.NumReturns) +
		sizeBytes(24, m.ConcurrencyGroupName) + sizeVarint(29, uint64(m.AttemptNumber)) +
		sizeVarint(30, bit(m.ReturnsDynamic)) + sizeVarint(34, bit(m.StreamingGenerator)) +
		sizeVarint(38, uint64(m.GeneratorBackpressureNumObjects)) + sizeVarint(39, bit(m.EnableTaskEvents)) + sizeVarint(46, m.NumObjectsPerYield)
	if m.FunctionDescriptor != nil {
		n += sizeMessage(4, sizeDescriptor(m.FunctionDescriptor))
	}
	if m.CallerAddress != nil {
		n += sizeMessage(10, sizeAddress(m.CallerAddress))
	}
	for _, arg := range m.Args {
		n += sizeMessage(11, sizeArg(arg))
	}
	if m.ActorTaskSpec != nil {
		n += sizeMessage(16, sizeActorTask(m.ActorTaskSpec))
	}
	return n
}

func appendSpec(b []byte, m *corepb.TaskSpec) []byte {
	b = appendVarint(b, 1, uint64(m.Type))
	b = appendBytes(b, 2, m.Name)
	b = appendVarint(b, 3, uint64(m.Language))
	if m.FunctionDescriptor != nil {
		b = appendDescriptor(appendHead(b, 4, sizeDescriptor(m.FunctionDescriptor)), m.FunctionDescriptor)
	}
	b = appendBytes(b, 5, m.JobId)
	b = appendBytes(b, 6, m.TaskId)
	b = appendBytes(b, 7, m.ParentTaskId)
	b = appendBytes(b, 9, m.CallerId)
	if m.CallerAddress != nil {
		b = appendAddress(appendHead(b, 10, sizeAddress(m.CallerAddress)), m.CallerAddress)
	}
	for _, arg := range m.Args {
		b = appendArg(appendHead(b, 11, sizeArg(arg)), arg)
	}
	b = appendVarint(b, 12, m.NumReturns)
	if m.ActorTaskSpec != nil {
		b = appendActorTask(appendHead(b, 16, sizeActorTask(m.ActorTaskSpec)), m.ActorTaskSpec)
	}
	b = appendBytes(b, 24, m.ConcurrencyGroupName)
	b = appendVarint(b, 29, uint64(m.AttemptNumber))
	b = appendVarint(b, 30, bit(m.ReturnsDynamic))
	b = appendVarint(b, 34, bit(m.StreamingGenerator))
	b = appendVarint(b, 38, uint64(m.GeneratorBackpressureNumObjects))
	b = appendVarint(b, 39, bit(m.EnableTaskEvents))
	return appendVarint(b, 46, m.NumObjectsPerYield)
}

func bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}

func sizeDescriptor(m *corepb.FunctionDescriptor) int {
	if p := m.GetPythonFunctionDescriptor(); p != nil {
		return sizeMessage(2, sizePython(p))
	}
	return 0
}

func sizePython(m *corepb.PythonFunctionDescriptor) int {
	return sizeBytes(1, m.ModuleName) + sizeBytes(2, m.ClassName) + sizeBytes(3, m.FunctionName) + sizeBytes(4, m.FunctionHash)
}

func appendDescriptor(b []byte, m *corepb.FunctionDescriptor) []byte {
	p := m.GetPythonFunctionDescriptor()
	if p == nil {
		return b
	}
	b = appendHead(b, 2, sizePython(p))
	b = appendBytes(b, 1, p.ModuleName)
	b = appendBytes(b, 2, p.ClassName)
	b = appendBytes(b, 3, p.FunctionName)
	return appendBytes(b, 4, p.FunctionHash)
}

func sizeAddress(m *corepb.Address) int {
	return sizeBytes(1, m.NodeId) + sizeBytes(2, m.IpAddress) + sizeVarint(3, uint64(m.Port)) + sizeBytes(4, m.WorkerId)
}

func appendAddress(b []byte, m *corepb.Address) []byte {
	b = appendBytes(b, 1, m.NodeId)
	b = appendBytes(b, 2, m.IpAddress)
	b = appendVarint(b, 3, uint64(m.Port))
	return appendBytes(b, 4, m.WorkerId)
}

func sizeReferences(n protowire.Number, refs []*corepb.ObjectReference) int {
	size := 0
	for _, r := range refs {
		size += sizeMessage(n, sizeBytes(1, r.GetObjectId()))
	}
	return size
}

func appendReference(b []byte, n protowire.Number, r *corepb.ObjectReference) []byte {
	return appendBytes(appendHead(b, n, sizeBytes(1, r.GetObjectId())), 1, r.GetObjectId())
}

func sizeArg(m *corepb.TaskArg) int {
	n := sizeBytes(2, m.GetData()) + sizeBytes(3, m.GetMetadata()) + sizeReferences(4, m.GetNestedInlinedRefs())
	if ref := m.GetObjectRef(); ref != nil {
		n += sizeMessage(1, sizeBytes(1, ref.ObjectId))
	}
	return n
}

func appendArg(b []byte, m *corepb.TaskArg) []byte {
	if ref := m.GetObjectRef(); ref != nil {
		b = appendReference(b, 1, ref)
	}
	b = appendBytes(b, 2, m.GetData())
	b = appendBytes(b, 3, m.GetMetadata())
	for _, r := range m.GetNestedInlinedRefs() {
		b = appendReference(b, 4, r)
	}
	return b
}

func sizeActorTask(m *corepb.ActorTaskSpec) int {
	return sizeBytes(2, m.ActorId) + sizeBytes(4, m.ActorCreationDummyObjectId) + sizeVarint(5, m.ConcurrencyGroupSequenceNumber)
}

func appendActorTask(b []byte, m *corepb.ActorTaskSpec) []byte {
	b = appendBytes(b, 2, m.ActorId)
	b = appendBytes(b, 4, m.ActorCreationDummyObjectId)
	return appendVarint(b, 5, m.ConcurrencyGroupSequenceNumber)
}

// sizeObject is the size of a result; large is what of it is not copied.
func sizeObject(m *corepb.ReturnObject) (size, large int) {
	if len(m.GetData()) >= uncopied {
		large = len(m.GetData())
	}
	return sizeBytes(1, m.GetObjectId()) + sizeVarint(2, bit(m.GetInPlasma())) + sizeBytes(4, m.GetMetadata()) +
		sizeReferences(5, m.GetNestedInlinedRefs()) + sizeVarint(6, uint64(m.GetSize())) + sizeBytes(3, m.GetData()), large
}

func sizeStreamed(m *corepb.StreamingGeneratorReturnIdInfo) int {
	return sizeBytes(1, m.GetObjectId()) + sizeVarint(2, bit(m.GetIsPlasmaObject()))
}

// marshalReply puts a large result, which stands last in its object, into a buffer of its own.
func marshalReply(m *corepb.PushTaskReply) mem.BufferSlice {
	size := sizeVarint(3, bit(m.WorkerExiting)) + sizeVarint(5, bit(m.IsRetryableError)) + sizeVarint(6, bit(m.IsApplicationError)) +
		sizeVarint(7, bit(m.WasCancelledBeforeRunning)) + sizeBytes(8, m.ActorReprName) + sizeBytes(9, m.TaskExecutionError)
	for _, id := range m.StreamingGeneratorReturnIds {
		size += sizeMessage(10, sizeStreamed(id))
	}
	for _, object := range m.ReturnObjects {
		whole, large := sizeObject(object)
		size += sizeMessage(1, whole) - large
	}
	var buffers mem.BufferSlice
	b := make([]byte, 0, size)
	b = appendVarint(b, 3, bit(m.WorkerExiting))
	b = appendVarint(b, 5, bit(m.IsRetryableError))
	b = appendVarint(b, 6, bit(m.IsApplicationError))
	b = appendVarint(b, 7, bit(m.WasCancelledBeforeRunning))
	b = appendBytes(b, 8, m.ActorReprName)
	b = appendBytes(b, 9, m.TaskExecutionError)
	for _, id := range m.StreamingGeneratorReturnIds {
		b = appendHead(b, 10, sizeStreamed(id))
		b = appendBytes(b, 1, id.GetObjectId())
		b = appendVarint(b, 2, bit(id.GetIsPlasmaObject()))
	}
	for _, object := range m.ReturnObjects {
		whole, large := sizeObject(object)
		b = appendHead(b, 1, whole)
		b = appendBytes(b, 1, object.GetObjectId())
		b = appendVarint(b, 2, bit(object.GetInPlasma()))
		b = appendBytes(b, 4, object.GetMetadata())
		for _, r := range object.GetNestedInlinedRefs() {
			b = appendReference(b, 5, r)
		}
		b = appendVarint(b, 6, uint64(object.GetSize()))
		if large == 0 {
			b = appendBytes(b, 3, object.GetData())
			continue
		}
		b = appendHead(b, 3, large)
		buffers = append(buffers, mem.SliceBuffer(b), mem.SliceBuffer(object.GetData()))
		b = b[len(b):]
	}
	if len(b) > 0 {
		buffers = append(buffers, mem.SliceBuffer(b))
	}
	return buffers
}
