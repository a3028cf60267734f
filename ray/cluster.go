package ray

import (
	"context"
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
	const target = "nodes"
	answer, err := ask(ctx, s, target, s.rpc.ClusterInfo, &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_NODES})
	if err != nil {
		return nil, err
	}
	var nodes []map[string]any
	if err := json.Unmarshal([]byte(answer.GetJson()), &nodes); err != nil {
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %w", errBadAnswer, err)}
	}
	return nodes, nil
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
