package rayletipc

import (
	"fmt"

	flatbuffers "github.com/google/flatbuffers/go"
)

// Enumerations of Ray that RegisterClientRequest carries.
const (
	WorkerTypeWorker int32 = 0
	LanguagePython   int32 = 0
)

// RegisterClientRequest introduces a worker process. It is the first message on the socket.
type RegisterClientRequest struct {
	WorkerType          int32
	WorkerID            []byte // 28 bytes
	PID                 int64
	JobID               []byte // 4 bytes
	RuntimeEnvHash      int32
	Language            int32
	IP                  string
	Port                int32  // 0: the raylet assigns one
	SerializedJobConfig []byte // of a driver; empty for a worker

	// HasStartupToken chooses the form of Ray before 2.54, where a raylet knows a new process by a number that it gave it.
	HasStartupToken bool
	StartupToken    int64
}

// Marshal encodes the message as the body of a TypeRegisterClientRequest frame.
func (m *RegisterClientRequest) Marshal() []byte {
	shift := 0 // of the slots behind the token
	if m.HasStartupToken {
		shift = 1
	}
	b := flatbuffers.NewBuilder(256)
	workerID := b.CreateByteString(m.WorkerID)
	jobID := b.CreateByteString(m.JobID)
	ip := b.CreateString(m.IP)
	jobConfig := b.CreateByteString(m.SerializedJobConfig)
	b.StartObject(9 + shift)
	b.PrependInt64Slot(2, m.PID, 0)
	if m.HasStartupToken {
		b.PrependInt64Slot(3, m.StartupToken, 0)
	}
	b.PrependInt32Slot(0, m.WorkerType, 0)
	b.PrependUOffsetTSlot(1, workerID, 0)
	b.PrependUOffsetTSlot(3+shift, jobID, 0)
	b.PrependInt32Slot(4+shift, m.RuntimeEnvHash, 0)
	b.PrependInt32Slot(5+shift, m.Language, 0)
	b.PrependUOffsetTSlot(6+shift, ip, 0)
	b.PrependInt32Slot(7+shift, m.Port, 0)
	b.PrependUOffsetTSlot(8+shift, jobConfig, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// UnmarshalRegisterClientRequest decodes the body of a TypeRegisterClientRequest frame.
func UnmarshalRegisterClientRequest(body []byte) (*RegisterClientRequest, error) {
	r := newReader(body)
	m := &RegisterClientRequest{WorkerType: r.int32(0), WorkerID: r.bytes(1), PID: r.int64(2)}
	shift := 0
	if r.slots() > 9 {
		shift = 1
		m.HasStartupToken, m.StartupToken = true, r.int64(3)
	}
	m.JobID = r.bytes(3 + shift)
	m.RuntimeEnvHash = r.int32(4 + shift)
	m.Language = r.int32(5 + shift)
	m.IP = string(r.bytes(6 + shift))
	m.Port = r.int32(7 + shift)
	m.SerializedJobConfig = r.bytes(8 + shift)
	return done(m, r.err)
}

// RegisterClientReply is the raylet's answer.
type RegisterClientReply struct {
	Success       bool
	FailureReason string
	NodeID        []byte // 28 bytes
	Port          int32  // where the worker has to listen; 0: any free port
}

// Marshal encodes the message as the body of a TypeRegisterClientReply frame.
func (m *RegisterClientReply) Marshal() []byte {
	b := flatbuffers.NewBuilder(128)
	reason := b.CreateString(m.FailureReason)
	nodeID := b.CreateByteString(m.NodeID)
	b.StartObject(4)
	b.PrependBoolSlot(0, m.Success, false)
	b.PrependUOffsetTSlot(1, reason, 0)
	b.PrependUOffsetTSlot(2, nodeID, 0)
	b.PrependInt32Slot(3, m.Port, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// UnmarshalRegisterClientReply decodes the body of a TypeRegisterClientReply frame.
func UnmarshalRegisterClientReply(body []byte) (*RegisterClientReply, error) {
	r := newReader(body)
	m := &RegisterClientReply{
		Success:       r.bool(0),
		FailureReason: string(r.bytes(1)),
		NodeID:        r.bytes(2),
		Port:          r.int32(3),
	}
	return done(m, r.err)
}

// AnnounceWorkerPort tells the raylet that the worker serves; from then on it is given tasks.
type AnnounceWorkerPort struct {
	Port       int32
	Entrypoint string // of a driver; empty for a worker
}

// Marshal encodes the message as the body of a TypeAnnounceWorkerPort frame.
func (m *AnnounceWorkerPort) Marshal() []byte {
	b := flatbuffers.NewBuilder(64)
	entrypoint := b.CreateString(m.Entrypoint)
	b.StartObject(2)
	b.PrependInt32Slot(0, m.Port, 0)
	b.PrependUOffsetTSlot(1, entrypoint, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// UnmarshalAnnounceWorkerPort decodes the body of a TypeAnnounceWorkerPort frame.
func UnmarshalAnnounceWorkerPort(body []byte) (*AnnounceWorkerPort, error) {
	r := newReader(body)
	m := &AnnounceWorkerPort{Port: r.int32(0), Entrypoint: string(r.bytes(1))}
	return done(m, r.err)
}

// DisconnectClientRequest announces the end of the process and why. The process should wait for the reply before it
// closes the socket, else the raylet takes it for a crash.
type DisconnectClientRequest struct {
	ExitType              int32 // a ray.rpc.WorkerExitType
	Detail                string
	CreationTaskException []byte // a serialized ray.rpc.RayException when an actor's constructor failed, else nil
}

// Marshal encodes the message as the body of a TypeDisconnectClientRequest frame.
func (m *DisconnectClientRequest) Marshal() []byte {
	b := flatbuffers.NewBuilder(256)
	detail := b.CreateString(m.Detail)
	var exception flatbuffers.UOffsetT // an absent slot, unless there is one: the raylet tests for presence
	if m.CreationTaskException != nil {
		exception = b.CreateByteVector(m.CreationTaskException)
	}
	b.StartObject(3)
	b.PrependInt32Slot(0, m.ExitType, 0)
	b.PrependUOffsetTSlot(1, detail, 0)
	b.PrependUOffsetTSlot(2, exception, 0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// UnmarshalDisconnectClientRequest decodes the body of a TypeDisconnectClientRequest frame.
func UnmarshalDisconnectClientRequest(body []byte) (*DisconnectClientRequest, error) {
	r := newReader(body)
	m := &DisconnectClientRequest{ExitType: r.int32(0), Detail: string(r.bytes(1)), CreationTaskException: r.bytes(2)}
	return done(m, r.err)
}

// DisconnectClientReply has no fields.
type DisconnectClientReply struct{}

// Marshal encodes the message as the body of a TypeDisconnectClientReply frame.
func (m *DisconnectClientReply) Marshal() []byte {
	b := flatbuffers.NewBuilder(16)
	b.StartObject(0)
	b.Finish(b.EndObject())
	return b.FinishedBytes()
}

// UnmarshalDisconnectClientReply checks the body of a TypeDisconnectClientReply frame.
func UnmarshalDisconnectClientReply(body []byte) (*DisconnectClientReply, error) {
	return done(&DisconnectClientReply{}, newReader(body).err)
}

func done[M any](m *M, err error) (*M, error) {
	if err != nil {
		return nil, fmt.Errorf("decode %T: %w", *m, err)
	}
	return m, nil
}
