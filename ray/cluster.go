package ray

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// ClusterResources returns the total resources of the live nodes by name, such as CPU (in cores), memory (in bytes) and
// node:<ip>.
func (s *Session) ClusterResources(ctx context.Context) (map[string]float64, error) {
	return s.resources(ctx, "cluster resources", raypb.ClusterInfoType_CLUSTER_RESOURCES)
}

// AvailableResources returns what of ClusterResources is free. Ray leaves out what is used up.
func (s *Session) AvailableResources(ctx context.Context) (map[string]float64, error) {
	return s.resources(ctx, "available resources", raypb.ClusterInfoType_AVAILABLE_RESOURCES)
}

func (s *Session) resources(ctx context.Context, target string, kind raypb.ClusterInfoType_TypeEnum) (map[string]float64, error) {
	answer, err := ask(ctx, s, target, s.rpc.ClusterInfo, &raypb.ClusterInfoRequest{Type: kind})
	if err != nil {
		return nil, err
	}
	table := answer.GetResourceTable()
	if table == nil {
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: no resource table", errBadAnswer)}
	}
	return table.GetTable(), nil
}

// Nodes returns what ray.nodes() gives in Python, dead nodes included: one map per node, with NodeID, Alive,
// NodeManagerAddress, Resources and more. Numbers are float64.
func (s *Session) Nodes(ctx context.Context) ([]map[string]any, error) {
	var nodes []map[string]any
	if err := s.clusterJSON(ctx, "nodes", raypb.ClusterInfoType_NODES, &nodes); err != nil {
		return nil, err
	}
	return nodes, nil
}

// RuntimeContext describes the session's process at the server.
type RuntimeContext struct {
	JobID, NodeID, WorkerID string // hex; WorkerID is empty before Ray 2.60
	Namespace               string
	GCSAddress              string
	// RuntimeEnv is Ray's JSON of the session's runtime environment.
	RuntimeEnv string
	// SessionName names the run of the cluster; empty before Ray 2.54.
	SessionName string
	// CaptureChildTasks tells whether tasks use the placement group of who started them.
	CaptureChildTasks bool
}

// RuntimeContext asks where the session's process at the server is.
func (s *Session) RuntimeContext(ctx context.Context) (RuntimeContext, error) {
	c, err := s.runtimeContext(ctx)
	if err != nil {
		return RuntimeContext{}, err
	}
	return RuntimeContext{
		JobID: hex.EncodeToString(c.GetJobId()), NodeID: hex.EncodeToString(c.GetNodeId()), WorkerID: hex.EncodeToString(c.GetWorkerId()),
		Namespace: c.GetNamespace(), GCSAddress: c.GetGcsAddress(), RuntimeEnv: c.GetRuntimeEnv(), SessionName: c.GetSessionName(),
		CaptureChildTasks: c.GetCaptureClientTasks(),
	}, nil
}

// Timeline returns what ran where and when, in the JSON of Chrome's trace format.
func (s *Session) Timeline(ctx context.Context) (json.RawMessage, error) {
	var events json.RawMessage
	err := s.clusterJSON(ctx, "timeline", raypb.ClusterInfoType_TIMELINE, &events)
	return events, err
}

// DashboardURL returns the address of the cluster's dashboard as the cluster knows it, for NewDashboard; empty if it has
// none.
func (s *Session) DashboardURL(ctx context.Context) (string, error) {
	var answer struct {
		URL string `json:"dashboard_url"`
	}
	err := s.clusterJSON(ctx, "dashboard url", raypb.ClusterInfoType_DASHBOARD_URL, &answer)
	return answer.URL, err
}

func (s *Session) clusterJSON(ctx context.Context, target string, kind raypb.ClusterInfoType_TypeEnum, into any) error {
	answer, err := ask(ctx, s, target, s.rpc.ClusterInfo, &raypb.ClusterInfoRequest{Type: kind})
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(answer.GetJson()), into); err != nil {
		return &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %w", errBadAnswer, err)}
	}
	return nil
}

// runtimeContext asks where the session's process at the server is.
func (s *Session) runtimeContext(ctx context.Context) (*raypb.ClusterInfoResponse_RuntimeContext, error) {
	const target = "runtime context"
	answer, err := ask(ctx, s, target, s.rpc.ClusterInfo, &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_RUNTIME_CONTEXT})
	if err != nil {
		return nil, err
	}
	if answer.GetRuntimeContext() == nil {
		return nil, &CallError{Target: target, Sent: SentYes, Err: errBadAnswer}
	}
	return answer.GetRuntimeContext(), nil
}

// NumClients asks the server how many sessions it has at this moment, this one included.
func (s *Session) NumClients(ctx context.Context) (int, error) {
	info, err := s.connectionInfo(ctx, "number of clients")
	return int(info.GetNumClients()), err
}
