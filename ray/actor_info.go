package ray

import (
	"encoding/hex"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// Lengths of Ray's binary ids in bytes.
const (
	idLen      = 28 // nodes, workers, clusters, objects
	actorIDLen = 16 // 12 unique bytes and the job id
	taskIDLen  = 24 // 8 unique bytes and the actor id
	jobIDLen   = 4
)

// ActorState is where an actor stands in its life, as the GCS sees it.
type ActorState string

// The states of Ray's actor table.
const (
	ActorDependenciesUnready ActorState = "DEPENDENCIES_UNREADY"
	ActorPendingCreation     ActorState = "PENDING_CREATION"
	ActorAlive               ActorState = "ALIVE"
	ActorRestarting          ActorState = "RESTARTING"
	ActorDead                ActorState = "DEAD"
)

// ActorInfo is what the GCS knows of an actor at one moment.
type ActorInfo struct {
	ID        string // 32 hex characters
	Name      string // empty for unnamed actors
	Namespace string
	Class     string
	State     ActorState
	// PID, IP, Port, NodeID and WorkerID name the process that hosts the actor; zero while it has none.
	PID      int
	IP       string
	Port     int
	NodeID   string // 56 hex characters
	WorkerID string // 56 hex characters
	// Restarts counts how often Ray started the actor anew.
	Restarts int
	Detached bool
	// DeathCause is Ray's own reason; empty while the actor lives.
	DeathCause string
}

// NodeInfo is what the GCS knows of a node at one moment.
type NodeInfo struct {
	ID        string // 56 hex characters
	Address   string // IP or host name
	Port      int    // of its raylet
	Alive     bool
	Head      bool
	Resources map[string]float64 // total, by Ray's names: "CPU", "memory" in bytes, ...
	// SessionDir is the directory of Ray's logs and sockets on that node; empty on Ray versions that do not tell.
	SessionDir string
}

func newActorInfo(d *corepb.ActorTableData) ActorInfo {
	return ActorInfo{
		ID:         hex.EncodeToString(d.GetActorId()),
		Name:       d.GetName(),
		Namespace:  d.GetRayNamespace(),
		Class:      d.GetClassName(),
		State:      ActorState(d.GetState().String()),
		PID:        int(d.GetPid()),
		IP:         d.GetAddress().GetIpAddress(),
		Port:       int(d.GetAddress().GetPort()),
		NodeID:     hex.EncodeToString(d.GetAddress().GetNodeId()),
		WorkerID:   hex.EncodeToString(d.GetAddress().GetWorkerId()),
		Restarts:   int(d.GetNumRestarts()),
		Detached:   d.GetIsDetached(),
		DeathCause: deathCause(d.GetDeathCause()),
	}
}

func deathCause(c *corepb.ActorDeathCause) string {
	switch {
	case c.GetCreationTaskFailureContext() != nil:
		return c.GetCreationTaskFailureContext().GetFormattedExceptionString()
	case c.GetRuntimeEnvFailedContext() != nil:
		return c.GetRuntimeEnvFailedContext().GetErrorMessage()
	case c.GetActorUnschedulableContext() != nil:
		return c.GetActorUnschedulableContext().GetErrorMessage()
	case c.GetOomContext() != nil:
		return c.GetOomContext().GetErrorMessage()
	default:
		return c.GetActorDiedErrorContext().GetErrorMessage()
	}
}
