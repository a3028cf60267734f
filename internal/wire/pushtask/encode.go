package pushtask

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/field"
)

// uncopied is from which size on a result is sent from where it lies, in bytes.
const uncopied = 16 << 10

func sizeRequest(m *corepb.PushTaskRequest) int {
	n := field.SizeBytes(1, m.IntendedWorkerId) + field.SizeVarint(3, uint64(m.SequenceNumber)) + field.SizeVarint(4, uint64(m.ClientProcessedUpTo))
	if m.TaskSpec != nil {
		n += field.SizeMessage(2, sizeSpec(m.TaskSpec))
	}
	return n
}

func appendRequest(b []byte, m *corepb.PushTaskRequest) []byte {
	b = field.AppendBytes(b, 1, m.IntendedWorkerId)
	if m.TaskSpec != nil {
		b = appendSpec(field.AppendHead(b, 2, sizeSpec(m.TaskSpec)), m.TaskSpec)
	}
	b = field.AppendVarint(b, 3, uint64(m.SequenceNumber))
	return field.AppendVarint(b, 4, uint64(m.ClientProcessedUpTo))
}

func sizeSpec(m *corepb.TaskSpec) int {
	n := field.SizeVarint(1, uint64(m.Type)) + field.SizeBytes(2, m.Name) + field.SizeVarint(3, uint64(m.Language)) + field.SizeBytes(5, m.JobId) +
		field.SizeBytes(6, m.TaskId) + field.SizeBytes(7, m.ParentTaskId) + field.SizeBytes(9, m.CallerId) + field.SizeVarint(12, m.NumReturns) +
		field.SizeBytes(24, m.ConcurrencyGroupName) + field.SizeVarint(29, uint64(m.AttemptNumber)) +
		field.SizeVarint(30, field.Bit(m.ReturnsDynamic)) + field.SizeVarint(34, field.Bit(m.StreamingGenerator)) +
		field.SizeVarint(38, uint64(m.GeneratorBackpressureNumObjects)) + field.SizeVarint(39, field.Bit(m.EnableTaskEvents)) + field.SizeVarint(46, m.NumObjectsPerYield)
	if m.FunctionDescriptor != nil {
		n += field.SizeMessage(4, sizeDescriptor(m.FunctionDescriptor))
	}
	if m.CallerAddress != nil {
		n += field.SizeMessage(10, sizeAddress(m.CallerAddress))
	}
	for _, arg := range m.Args {
		n += field.SizeMessage(11, sizeArg(arg))
	}
	if m.ActorTaskSpec != nil {
		n += field.SizeMessage(16, sizeActorTask(m.ActorTaskSpec))
	}
	return n
}

func appendSpec(b []byte, m *corepb.TaskSpec) []byte {
	b = field.AppendVarint(b, 1, uint64(m.Type))
	b = field.AppendBytes(b, 2, m.Name)
	b = field.AppendVarint(b, 3, uint64(m.Language))
	if m.FunctionDescriptor != nil {
		b = appendDescriptor(field.AppendHead(b, 4, sizeDescriptor(m.FunctionDescriptor)), m.FunctionDescriptor)
	}
	b = field.AppendBytes(b, 5, m.JobId)
	b = field.AppendBytes(b, 6, m.TaskId)
	b = field.AppendBytes(b, 7, m.ParentTaskId)
	b = field.AppendBytes(b, 9, m.CallerId)
	if m.CallerAddress != nil {
		b = appendAddress(field.AppendHead(b, 10, sizeAddress(m.CallerAddress)), m.CallerAddress)
	}
	for _, arg := range m.Args {
		b = appendArg(field.AppendHead(b, 11, sizeArg(arg)), arg)
	}
	b = field.AppendVarint(b, 12, m.NumReturns)
	if m.ActorTaskSpec != nil {
		b = appendActorTask(field.AppendHead(b, 16, sizeActorTask(m.ActorTaskSpec)), m.ActorTaskSpec)
	}
	b = field.AppendBytes(b, 24, m.ConcurrencyGroupName)
	b = field.AppendVarint(b, 29, uint64(m.AttemptNumber))
	b = field.AppendVarint(b, 30, field.Bit(m.ReturnsDynamic))
	b = field.AppendVarint(b, 34, field.Bit(m.StreamingGenerator))
	b = field.AppendVarint(b, 38, uint64(m.GeneratorBackpressureNumObjects))
	b = field.AppendVarint(b, 39, field.Bit(m.EnableTaskEvents))
	return field.AppendVarint(b, 46, m.NumObjectsPerYield)
}

func sizeDescriptor(m *corepb.FunctionDescriptor) int {
	if p := m.GetPythonFunctionDescriptor(); p != nil {
		return field.SizeMessage(2, sizePython(p))
	}
	return 0
}

func sizePython(m *corepb.PythonFunctionDescriptor) int {
	return field.SizeBytes(1, m.ModuleName) + field.SizeBytes(2, m.ClassName) + field.SizeBytes(3, m.FunctionName) + field.SizeBytes(4, m.FunctionHash)
}

func appendDescriptor(b []byte, m *corepb.FunctionDescriptor) []byte {
	p := m.GetPythonFunctionDescriptor()
	if p == nil {
		return b
	}
	b = field.AppendHead(b, 2, sizePython(p))
	b = field.AppendBytes(b, 1, p.ModuleName)
	b = field.AppendBytes(b, 2, p.ClassName)
	b = field.AppendBytes(b, 3, p.FunctionName)
	return field.AppendBytes(b, 4, p.FunctionHash)
}

func sizeAddress(m *corepb.Address) int {
	return field.SizeBytes(1, m.NodeId) + field.SizeBytes(2, m.IpAddress) + field.SizeVarint(3, uint64(m.Port)) + field.SizeBytes(4, m.WorkerId)
}

func appendAddress(b []byte, m *corepb.Address) []byte {
	b = field.AppendBytes(b, 1, m.NodeId)
	b = field.AppendBytes(b, 2, m.IpAddress)
	b = field.AppendVarint(b, 3, uint64(m.Port))
	return field.AppendBytes(b, 4, m.WorkerId)
}

func sizeReferences(n protowire.Number, refs []*corepb.ObjectReference) int {
	size := 0
	for _, r := range refs {
		size += field.SizeMessage(n, field.SizeBytes(1, r.GetObjectId()))
	}
	return size
}

func appendReference(b []byte, n protowire.Number, r *corepb.ObjectReference) []byte {
	return field.AppendBytes(field.AppendHead(b, n, field.SizeBytes(1, r.GetObjectId())), 1, r.GetObjectId())
}

func sizeArg(m *corepb.TaskArg) int {
	n := field.SizeBytes(2, m.GetData()) + field.SizeBytes(3, m.GetMetadata()) + sizeReferences(4, m.GetNestedInlinedRefs())
	if ref := m.GetObjectRef(); ref != nil {
		n += field.SizeMessage(1, field.SizeBytes(1, ref.ObjectId))
	}
	return n
}

func appendArg(b []byte, m *corepb.TaskArg) []byte {
	if ref := m.GetObjectRef(); ref != nil {
		b = appendReference(b, 1, ref)
	}
	b = field.AppendBytes(b, 2, m.GetData())
	b = field.AppendBytes(b, 3, m.GetMetadata())
	for _, r := range m.GetNestedInlinedRefs() {
		b = appendReference(b, 4, r)
	}
	return b
}

func sizeActorTask(m *corepb.ActorTaskSpec) int {
	return field.SizeBytes(2, m.ActorId) + field.SizeBytes(4, m.ActorCreationDummyObjectId) + field.SizeVarint(5, m.ConcurrencyGroupSequenceNumber)
}

func appendActorTask(b []byte, m *corepb.ActorTaskSpec) []byte {
	b = field.AppendBytes(b, 2, m.ActorId)
	b = field.AppendBytes(b, 4, m.ActorCreationDummyObjectId)
	return field.AppendVarint(b, 5, m.ConcurrencyGroupSequenceNumber)
}

// sizeObject is the size of a result; large is what of it is not copied.
func sizeObject(m *corepb.ReturnObject) (size, large int) {
	if len(m.GetData()) >= uncopied {
		large = len(m.GetData())
	}
	return field.SizeBytes(1, m.GetObjectId()) + field.SizeVarint(2, field.Bit(m.GetInPlasma())) + field.SizeBytes(4, m.GetMetadata()) +
		sizeReferences(5, m.GetNestedInlinedRefs()) + field.SizeVarint(6, uint64(m.GetSize())) + field.SizeBytes(3, m.GetData()), large
}

func sizeStreamed(m *corepb.StreamingGeneratorReturnIdInfo) int {
	return field.SizeBytes(1, m.GetObjectId()) + field.SizeVarint(2, field.Bit(m.GetIsPlasmaObject()))
}

// marshalReply puts a large result, which stands last in its object, into a buffer of its own.
func marshalReply(m *corepb.PushTaskReply) mem.BufferSlice {
	size := field.SizeVarint(3, field.Bit(m.WorkerExiting)) + field.SizeVarint(5, field.Bit(m.IsRetryableError)) + field.SizeVarint(6, field.Bit(m.IsApplicationError)) +
		field.SizeVarint(7, field.Bit(m.WasCancelledBeforeRunning)) + field.SizeBytes(8, m.ActorReprName) + field.SizeBytes(9, m.TaskExecutionError)
	for _, id := range m.StreamingGeneratorReturnIds {
		size += field.SizeMessage(10, sizeStreamed(id))
	}
	for _, object := range m.ReturnObjects {
		whole, large := sizeObject(object)
		size += field.SizeMessage(1, whole) - large
	}
	var buffers mem.BufferSlice
	b := make([]byte, 0, size)
	b = field.AppendVarint(b, 3, field.Bit(m.WorkerExiting))
	b = field.AppendVarint(b, 5, field.Bit(m.IsRetryableError))
	b = field.AppendVarint(b, 6, field.Bit(m.IsApplicationError))
	b = field.AppendVarint(b, 7, field.Bit(m.WasCancelledBeforeRunning))
	b = field.AppendBytes(b, 8, m.ActorReprName)
	b = field.AppendBytes(b, 9, m.TaskExecutionError)
	for _, id := range m.StreamingGeneratorReturnIds {
		b = field.AppendHead(b, 10, sizeStreamed(id))
		b = field.AppendBytes(b, 1, id.GetObjectId())
		b = field.AppendVarint(b, 2, field.Bit(id.GetIsPlasmaObject()))
	}
	for _, object := range m.ReturnObjects {
		whole, large := sizeObject(object)
		b = field.AppendHead(b, 1, whole)
		b = field.AppendBytes(b, 1, object.GetObjectId())
		b = field.AppendVarint(b, 2, field.Bit(object.GetInPlasma()))
		b = field.AppendBytes(b, 4, object.GetMetadata())
		for _, r := range object.GetNestedInlinedRefs() {
			b = appendReference(b, 5, r)
		}
		b = field.AppendVarint(b, 6, uint64(object.GetSize()))
		if large == 0 {
			b = field.AppendBytes(b, 3, object.GetData())
			continue
		}
		b = field.AppendHead(b, 3, large)
		buffers = append(buffers, mem.SliceBuffer(b), mem.SliceBuffer(object.GetData()))
		b = b[len(b):]
	}
	if len(b) > 0 {
		buffers = append(buffers, mem.SliceBuffer(b))
	}
	return buffers
}
