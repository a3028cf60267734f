package ray

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// SchedulingStrategy chooses the node of a task or an actor: Spread, NodeAffinity or InPlacementGroup.
type SchedulingStrategy interface {
	// strategy is what Ray takes for it.
	strategy() (any, error)
}

// Spread puts tasks and actors on different nodes, as far as possible.
type Spread struct{}

func (Spread) strategy() (any, error) { return "SPREAD", nil }

// NodeAffinity asks for a certain node.
type NodeAffinity struct {
	// NodeID is Ray's id of the node, in hex, such as SessionInfo.NodeID.
	NodeID string
	// Soft allows another node when this one does not exist or never has the resources.
	Soft bool
}

const (
	strategies = "ray.util.scheduling_strategies"
	nodeIDLen  = 28
	groupIDLen = 18
)

func (n NodeAffinity) strategy() (any, error) {
	if id, err := hex.DecodeString(n.NodeID); err != nil || len(id) != nodeIDLen {
		return nil, fmt.Errorf("node id %q is not %d hex digits", n.NodeID, 2*nodeIDLen)
	}
	return pickle.Call{Func: pickle.Global{Module: strategies, Name: "NodeAffinitySchedulingStrategy"}, Args: pickle.Tuple{n.NodeID, n.Soft}}, nil
}

// InPlacementGroup uses the resources that a placement group reserved.
type InPlacementGroup struct {
	Group *PlacementGroup
	// Bundle is the number of the bundle, from 0; nil: any that has room.
	Bundle *int
	// CaptureChildTasks makes what the task or actor starts use the group as well.
	CaptureChildTasks bool
}

func (p InPlacementGroup) strategy() (any, error) {
	id, err := p.Group.id()
	if err != nil {
		return nil, err
	}
	bundle := -1
	if p.Bundle != nil {
		if bundle = *p.Bundle; bundle < 0 || len(p.Group.Bundles) > 0 && bundle >= len(p.Group.Bundles) {
			return nil, fmt.Errorf("bundle %d of %d", bundle, len(p.Group.Bundles))
		}
	}
	group := pickle.Call{
		Func: pickle.Global{Module: "ray.util.placement_group", Name: "PlacementGroup"},
		Args: pickle.Tuple{pickle.Call{Func: pickle.Global{Module: "ray._raylet", Name: "PlacementGroupID"}, Args: pickle.Tuple{id}}},
	}
	return pickle.Call{Func: pickle.Global{Module: strategies, Name: "PlacementGroupSchedulingStrategy"}, Args: pickle.Tuple{group, bundle, p.CaptureChildTasks}}, nil
}

// PlacementGroup is a set of bundles of resources that the cluster reserves together. It belongs to the cluster, not to a
// session: another session can use one that it knows the ID of.
type PlacementGroup struct {
	ID string // hex
	// Bundles are what was asked for; may be empty for a group that was made elsewhere.
	Bundles []map[string]float64
}

// id returns what ID says.
func (g *PlacementGroup) id() ([]byte, error) {
	if g == nil {
		return nil, errors.New("the placement group is nil")
	}
	id, err := hex.DecodeString(g.ID)
	if err != nil || len(id) != groupIDLen {
		return nil, fmt.Errorf("placement group id %q is not %d hex digits", g.ID, 2*groupIDLen)
	}
	return id, nil
}

// PlacementStrategy says how the bundles of a placement group are spread over the nodes.
type PlacementStrategy string

// Ray's placement strategies. The strict ones fail where the others do their best.
const (
	Pack         PlacementStrategy = "PACK"
	SpreadOut    PlacementStrategy = "SPREAD"
	StrictPack   PlacementStrategy = "STRICT_PACK"
	StrictSpread PlacementStrategy = "STRICT_SPREAD"
)

// PlacementGroupOptions say what a placement group reserves.
type PlacementGroupOptions struct {
	// Bundles are resources by name ("CPU", "GPU", "memory" in bytes, custom ones). At least one, none empty.
	Bundles []map[string]float64
	// Strategy; empty: Pack.
	Strategy PlacementStrategy
	// Name by which GetPlacementGroup and the dashboard find the group; optional.
	Name string
	// Detached lets the group outlive the session.
	Detached bool
}

func (o PlacementGroupOptions) validate() error {
	var errs []error
	errs = append(errs, option(len(o.Bundles) > 0, "bundles: none"))
	for i, bundle := range o.Bundles {
		total := 0.0
		for name, amount := range bundle {
			errs = append(errs, option(name != "" && isAmount(amount), "bundles[%d]: %v of %q", i, amount, name))
			total += amount
		}
		errs = append(errs, option(total > 0, "bundles[%d]: empty", i))
	}
	errs = append(errs, option(slices.Contains([]PlacementStrategy{"", Pack, SpreadOut, StrictPack, StrictSpread}, o.Strategy), "strategy: %q is unknown", o.Strategy))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: placement group: %w", ErrInvalidOption, err)
	}
	return nil
}

// groupSource runs on the cluster: placement groups have no request of their own.
const groupSource = `
def create(bundles, strategy, name, lifetime):
    from ray.util.placement_group import placement_group
    return placement_group(bundles, strategy=strategy, name=name, lifetime=lifetime).id.hex()

def _group(id):
    from ray._raylet import PlacementGroupID
    from ray.util.placement_group import PlacementGroup
    return PlacementGroup(PlacementGroupID.from_hex(id))

def find(name):
    from ray.util.placement_group import get_placement_group
    group = get_placement_group(name)
    return {"id": group.id.hex(), "bundles": group.bundle_specs}

def ready(id):
    import ray
    ray.get(_group(id).ready())

def state(id):
    from ray.util.placement_group import placement_group_table
    return placement_group_table(_group(id)).get("state", "REMOVED")

def remove(id):
    from ray.util.placement_group import remove_placement_group
    remove_placement_group(_group(id))
`

// CreatePlacementGroup asks the cluster to reserve bundles, and does not wait until it did: see WaitPlacementGroup.
func (s *Session) CreatePlacementGroup(ctx context.Context, opts PlacementGroupOptions) (*PlacementGroup, error) {
	if err := opts.validate(); err != nil {
		return nil, &CallError{Target: "create placement group", Sent: SentNo, Err: err}
	}
	if opts.Strategy == "" {
		opts.Strategy = Pack
	}
	bundles := make([]any, len(opts.Bundles))
	for i, bundle := range opts.Bundles {
		bundles[i] = bundle
	}
	var lifetime any
	if opts.Detached {
		lifetime = "detached"
	}
	v, err := s.groupCall(ctx, "create", bundles, string(opts.Strategy), opts.Name, lifetime)
	if err != nil {
		return nil, err
	}
	id, ok := v.(string)
	if !ok {
		return nil, &CallError{Target: "create placement group", Sent: SentYes, Err: fmt.Errorf("%w: %T", errBadAnswer, v)}
	}
	return &PlacementGroup{ID: id, Bundles: opts.Bundles}, nil
}

// GetPlacementGroup returns the placement group of that name, of the session's namespace; ErrNotFound if there is none.
func (s *Session) GetPlacementGroup(ctx context.Context, name string) (*PlacementGroup, error) {
	target := "get placement group " + name
	if err := checkText(name); err != nil || name == "" {
		return nil, &CallError{Target: target, Sent: SentNo, Err: errors.Join(fmt.Errorf("%w: %q is no name of a placement group", ErrInvalidOption, name), err)}
	}
	v, err := s.groupCall(ctx, "find", name)
	if raised, ok := errors.AsType[*TaskError](err); ok && raised.Class == "ValueError" && strings.HasPrefix(raised.Message, "Failed to look up placement group") {
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: no placement group of that name in namespace %q", ErrNotFound, s.cfg.Namespace)}
	}
	if err != nil {
		return nil, err
	}
	var group PlacementGroup
	if err := Decode(v, &group); err != nil {
		return nil, &CallError{Target: target, Sent: SentYes, Err: fmt.Errorf("%w: %w", errBadAnswer, err)}
	}
	return &group, nil
}

// WaitPlacementGroup waits until the bundles of a group are reserved.
func (s *Session) WaitPlacementGroup(ctx context.Context, group *PlacementGroup) error {
	_, err := s.ofGroup(ctx, "ready", group)
	return err
}

// PlacementGroupState returns what Ray says about a group: PENDING, PREPARED, CREATED, RESCHEDULING or REMOVED.
func (s *Session) PlacementGroupState(ctx context.Context, group *PlacementGroup) (string, error) {
	v, err := s.ofGroup(ctx, "state", group)
	if err != nil {
		return "", err
	}
	state, ok := v.(string)
	if !ok {
		return "", &CallError{Target: "placement group state", Sent: SentYes, Err: fmt.Errorf("%w: %T", errBadAnswer, v)}
	}
	return state, nil
}

// RemovePlacementGroup gives the reservation up. Tasks and actors that use it are ended.
func (s *Session) RemovePlacementGroup(ctx context.Context, group *PlacementGroup) error {
	_, err := s.ofGroup(ctx, "remove", group)
	return err
}

// ofGroup is groupCall for a group that exists.
func (s *Session) ofGroup(ctx context.Context, name string, group *PlacementGroup) (any, error) {
	if _, err := group.id(); err != nil {
		return nil, &CallError{Target: name + " placement group", Sent: SentNo, Err: fmt.Errorf("%w: %w", ErrInvalidOption, err)}
	}
	return s.groupCall(ctx, name, group.ID)
}

// groupCall runs one of the functions in groupSource, in a task that needs no CPU.
func (s *Session) groupCall(ctx context.Context, name string, args ...any) (any, error) {
	refs, err := s.SubmitWith(ctx, Function{Name: name, Source: groupSource}, TaskOptions{Name: name + " placement group", NumCPUs: new(0.0)}, args...)
	if err != nil {
		return nil, err
	}
	defer refs[0].Release()
	target := groupTargets[name]
	v, err := s.get(ctx, target, refs[0].hold())
	return v, begun(target, err)
}

// groupTargets are how errors name the functions in groupSource.
var groupTargets = map[string]string{
	"create": "create placement group", "find": "get placement group", "ready": "wait for placement group",
	"state": "placement group state", "remove": "remove placement group",
}
