package ray

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// AvailableResources returns, for each node that reports, what of its resources is free: by the node's id (hex), in the
// units of NodeInfo.Resources. Ray leaves out what is used up. Nodes report a few times a second, so that it is a moment
// old; what tasks and actors reserved counts, not what they use, except for object_store_memory, which is what is full.
func (g *GCS) AvailableResources(ctx context.Context) (map[string]map[string]float64, error) {
	reply, err := g.resources.GetAllAvailableResources(ctx, &corepb.GetAllAvailableResourcesRequest{})
	if err == nil {
		err = gcsError(reply.GetStatus())
	}
	if err != nil {
		return nil, fmt.Errorf("ray: available resources: %w", err)
	}
	nodes := make(map[string]map[string]float64, len(reply.GetResourcesList()))
	for _, n := range reply.GetResourcesList() {
		nodes[hex.EncodeToString(n.GetNodeId())] = n.GetResourcesAvailable()
	}
	return nodes, nil
}

// ActorCounts is how many actors a cluster has in each state.
type ActorCounts struct {
	// ByState has every state but ActorDead.
	ByState map[ActorState]int
	// Dead is the number of dead actors that the GCS remembers; Ray forgets the oldest above 100,000. It is 0 with AtLeast.
	Dead int
	// AtLeast: the limit was reached in a state, which has that many actors or more.
	AtLeast bool
}

// CountActors counts the actors by state. The GCS has no counters: it is asked for the actors of each state but the dead
// ones, up to limit of each, and the dead are what is left of all. On a cluster with few live actors and many dead ones
// that is little; of live ones each costs the GCS and the network about half a kilobyte. The states are asked for one
// after the other, so that an actor in between may be counted twice or as dead. The states are those of the GCS's memory:
// the table that Actors reads has an actor that waits for a place as ActorDependenciesUnready.
func (g *GCS) CountActors(ctx context.Context, limit int) (ActorCounts, error) {
	counts := ActorCounts{ByState: make(map[ActorState]int, 4)}
	total, live := 0, 0
	for _, state := range []corepb.ActorTableData_ActorState{
		corepb.ActorTableData_DEPENDENCIES_UNREADY, corepb.ActorTableData_PENDING_CREATION, corepb.ActorTableData_RESTARTING, corepb.ActorTableData_ALIVE,
	} {
		reply, err := g.actors.GetAllActorInfo(ctx, &corepb.GetAllActorInfoRequest{
			Limit: new(int64(limit)), Filters: &corepb.GetAllActorInfoRequest_Filters{State: state.Enum()},
		})
		if err == nil {
			err = gcsError(reply.GetStatus())
		}
		if err != nil {
			return ActorCounts{}, fmt.Errorf("ray: count actors: %w", err)
		}
		n := len(reply.GetActorTableData())
		counts.ByState[ActorState(state.String())] = n
		counts.AtLeast = counts.AtLeast || n >= limit
		total, live = int(reply.GetTotal()), live+n
	}
	if !counts.AtLeast {
		counts.Dead = max(0, total-live)
	}
	return counts, nil
}

// SomeAliveActors lists actors that are ALIVE, of all namespaces and without a name too: as many as limit, which the GCS
// chooses.
func (g *GCS) SomeAliveActors(ctx context.Context, limit int) ([]ActorInfo, error) {
	return g.listActors(ctx, &corepb.GetAllActorInfoRequest{
		Limit: new(int64(limit)), Filters: &corepb.GetAllActorInfoRequest_Filters{State: corepb.ActorTableData_ALIVE.Enum()},
	})
}
