package ray

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// Codes of GcsStatus, which travels in the body of a reply whose gRPC status is OK.
const (
	gcsOK       = 0
	gcsNotFound = 17
)

// DefaultGCSTimeout bounds every call to the GCS.
const DefaultGCSTimeout = 10 * time.Second

// GCSOptions tunes a GCS connection. The zero value works.
type GCSOptions struct {
	// ClusterID, when not empty, is the cluster (hex) that must answer; another one is ErrClusterReplaced.
	ClusterID string
	// Credentials of the cluster; nil: plain text, no token.
	Credentials *Credentials
	// Dial opens the connections, also those of a Direct to actors; nil: TCP.
	Dial Dialer
}

// GCS is a reader of a cluster's control store: its actors, nodes and identity. It registers nothing there, but for the
// receiver of a Direct's streams, and needs no session. It is safe for concurrent use. Every call is bounded by its context and by DefaultGCSTimeout: when its context
// ends it fails with the context's error, when the GCS does not answer in time with ErrGCSUnavailable.
//
// Every call carries the cluster's id, so that a GCS that was replaced behind the same address is noticed: calls then
// fail with ErrClusterReplaced, and the connection is of no further use.
type GCS struct {
	address     string
	credentials *Credentials
	dial        Dialer
	clusterID   []byte
	version     string
	conn        *grpc.ClientConn
	actors      corepb.ActorInfoGcsServiceClient
	nodes       corepb.NodeInfoGcsServiceClient
	resources   corepb.NodeResourceInfoGcsServiceClient
	kv          corepb.InternalKVGcsServiceClient
	workers     corepb.WorkerInfoGcsServiceClient
	tasks       corepb.TaskInfoGcsServiceClient
}

// DialGCS connects to the GCS at address ("host:port", Ray's port 6379) and asks for its identity and version. When
// nothing listens it fails with ErrGCSUnavailable at once, when it is another gRPC server with ErrOtherServer, when nothing answers after DefaultGCSTimeout; a ctx that ends
// earlier gives ctx's error instead.
func DialGCS(ctx context.Context, address string, opts GCSOptions) (*GCS, error) {
	g := &GCS{address: address, credentials: opts.Credentials, dial: opts.Dial}
	secured, _ := opts.Credentials.DialOptions(address)
	// As in a session, the dialler asks for the name at every connection.
	conn, err := grpc.NewClient("passthrough:///"+address, append(append(secured, redialing(opts.Dial.open, 4*time.Second)...),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUnaryInterceptor(g.intercept),
		grpc.WithDisableServiceConfig())...)
	if err != nil {
		return nil, fmt.Errorf("ray: GCS address %q: %w", address, err)
	}
	g.conn = conn
	g.actors = corepb.NewActorInfoGcsServiceClient(conn)
	g.nodes = corepb.NewNodeInfoGcsServiceClient(conn)
	g.resources = corepb.NewNodeResourceInfoGcsServiceClient(conn)
	g.kv = corepb.NewInternalKVGcsServiceClient(conn)
	g.workers = corepb.NewWorkerInfoGcsServiceClient(conn)
	g.tasks = corepb.NewTaskInfoGcsServiceClient(conn)
	if err := g.identify(ctx, opts.ClusterID); err != nil {
		return nil, errors.Join(fmt.Errorf("ray: GCS at %s: %w", address, err), conn.Close())
	}
	return g, nil
}

func (g *GCS) identify(caller context.Context, want string) error {
	ctx, cancel := context.WithTimeoutCause(caller, DefaultGCSTimeout, errGCSTimeout)
	defer cancel()
	id, err := g.nodes.GetClusterId(ctx, &corepb.GetClusterIdRequest{})
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("%w: %w", ErrOtherServer, err)
	}
	if err != nil {
		return err
	}
	if err := gcsError(id.GetStatus()); err != nil {
		return err
	}
	if len(id.GetClusterId()) != idLen {
		return fmt.Errorf("cluster id has %d bytes instead of %d", len(id.GetClusterId()), idLen)
	}
	if got := hex.EncodeToString(id.GetClusterId()); want != "" && want != got {
		return fmt.Errorf("%w: cluster %s answers instead of %s", ErrClusterReplaced, got, want)
	}
	g.clusterID = id.GetClusterId()
	alive, err := g.nodes.CheckAlive(ctx, &corepb.CheckAliveRequest{})
	if err != nil {
		return err
	}
	g.version = alive.GetRayVersion()
	return gcsError(alive.GetStatus())
}

// intercept adds the cluster's id and a deadline to every call, and tells a replaced cluster from other refusals.
func (g *GCS) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeoutCause(ctx, DefaultGCSTimeout, errGCSTimeout)
	defer cancel()
	if g.clusterID != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, "ray_cluster_id", hex.EncodeToString(g.clusterID))
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	code := status.Code(err)
	if deadline, ok := ctx.Deadline(); ok && code == codes.DeadlineExceeded && time.Until(deadline) < time.Second {
		<-ctx.Done() // the server, which knows the deadline, may be a moment ahead of our clock
	}
	if refusal := refused(g.credentials, err); refusal != nil {
		return refusal
	}
	switch {
	case code == codes.Unavailable:
		return fmt.Errorf("%w at %s: %s", ErrGCSUnavailable, g.address, status.Convert(err).Message())
	case (code == codes.DeadlineExceeded || code == codes.Canceled) && ctx.Err() != nil:
		if cause := context.Cause(ctx); errors.Is(cause, errGCSTimeout) {
			return fmt.Errorf("%w at %s: %w", ErrGCSUnavailable, g.address, cause)
		}
		return fmt.Errorf("no answer yet: %w", ended(ctx))
	}
	return err
}

// errGCSTimeout: the bound of this package ended a call, not the caller's context.
var errGCSTimeout = errors.New("silence")

// Address returns the address as it was dialled.
func (g *GCS) Address() string { return g.address }

// ClusterID returns the cluster's id as 56 hex characters. It changes when a cluster is created anew.
func (g *GCS) ClusterID() string { return hex.EncodeToString(g.clusterID) }

// RayVersion returns the version that the GCS reported when it was dialled, such as "2.60.0".
func (g *GCS) RayVersion() string { return g.version }

// CheckAlive makes a round trip: nil means that this very cluster answers now. A cluster whose Ray version is not the one
// that was dialled is ErrClusterReplaced too, whatever its id: what is true of the one need not be of the other.
func (g *GCS) CheckAlive(ctx context.Context) error {
	reply, err := g.nodes.CheckAlive(ctx, &corepb.CheckAliveRequest{})
	if err != nil {
		return fmt.Errorf("ray: GCS at %s: %w", g.address, err)
	}
	if err := gcsError(reply.GetStatus()); err != nil {
		return err
	}
	if v := reply.GetRayVersion(); v != g.version {
		return fmt.Errorf("ray: GCS at %s: %w: it runs Ray %s instead of %s", g.address, ErrClusterReplaced, v, g.version)
	}
	return nil
}

// NamedActor looks an actor up by name in a namespace: ErrActorNotFound when no live or restarting actor has it.
func (g *GCS) NamedActor(ctx context.Context, namespace, name string) (ActorInfo, error) {
	data, err := g.namedActor(ctx, namespace, name)
	if err != nil {
		return ActorInfo{}, err
	}
	return newActorInfo(data), nil
}

func (g *GCS) namedActor(ctx context.Context, namespace, name string) (*corepb.ActorTableData, error) {
	reply, err := g.actors.GetNamedActorInfo(ctx, &corepb.GetNamedActorInfoRequest{Name: name, RayNamespace: namespace})
	if err != nil {
		return nil, &lookupError{namespace, name, err}
	}
	if reply.GetStatus().GetCode() == gcsNotFound {
		return nil, &ActorNotFoundError{Name: name, Namespace: namespace}
	}
	if err := gcsError(reply.GetStatus()); err != nil {
		return nil, fmt.Errorf("ray: look up actor %s/%s: %w", namespace, name, err)
	}
	if reply.GetActorTableData() == nil {
		return nil, &ActorNotFoundError{Name: name, Namespace: namespace}
	}
	return reply.GetActorTableData(), nil
}

// lookupError is the failure of a question for a named actor.
type lookupError struct {
	namespace, name string
	err             error
}

func (e *lookupError) Error() string {
	return fmt.Sprintf("ray: look up actor %s/%s: %v", e.namespace, e.name, e.err)
}

func (e *lookupError) Unwrap() error { return e.err }

// ActorByID looks an actor up by its id (32 hex characters); dead actors are found as long as the GCS remembers them.
func (g *GCS) ActorByID(ctx context.Context, id string) (ActorInfo, error) {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != actorIDLen {
		return ActorInfo{}, fmt.Errorf("ray: actor id %q is not %d hex characters", id, 2*actorIDLen)
	}
	data, err := g.actor(ctx, raw)
	if err != nil {
		return ActorInfo{}, err
	}
	return newActorInfo(data), nil
}

func (g *GCS) actor(ctx context.Context, id []byte) (*corepb.ActorTableData, error) {
	reply, err := g.actors.GetActorInfo(ctx, &corepb.GetActorInfoRequest{ActorId: id})
	if err != nil {
		return nil, fmt.Errorf("ray: look up actor %x: %w", id, err)
	}
	if reply.GetStatus().GetCode() == gcsNotFound || reply.GetActorTableData() == nil {
		return nil, &ActorNotFoundError{ActorID: hex.EncodeToString(id)}
	}
	if err := gcsError(reply.GetStatus()); err != nil {
		return nil, fmt.Errorf("ray: look up actor %x: %w", id, err)
	}
	return reply.GetActorTableData(), nil
}

// Actors lists every actor that the GCS knows, in all namespaces and states, dead ones included as long as the GCS
// remembers them. The list is whole: it is not cut at a page.
func (g *GCS) Actors(ctx context.Context) ([]ActorInfo, error) {
	return g.listActors(ctx, &corepb.GetAllActorInfoRequest{ShowDeadJobs: true})
}

// AliveActors lists the named actors of a namespace that are ALIVE, sorted by name. The GCS sends those alone: on a
// cluster that has seen many actors it is much less than NamedActors reads.
func (g *GCS) AliveActors(ctx context.Context, namespace string) ([]ActorInfo, error) {
	all, err := g.listActors(ctx, &corepb.GetAllActorInfoRequest{Filters: &corepb.GetAllActorInfoRequest_Filters{State: corepb.ActorTableData_ALIVE.Enum()}})
	return namedIn(all, namespace), err
}

func (g *GCS) listActors(ctx context.Context, req *corepb.GetAllActorInfoRequest) ([]ActorInfo, error) {
	reply, err := g.actors.GetAllActorInfo(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ray: list actors: %w", err)
	}
	if err := gcsError(reply.GetStatus()); err != nil {
		return nil, fmt.Errorf("ray: list actors: %w", err)
	}
	actors := make([]ActorInfo, 0, len(reply.GetActorTableData()))
	for _, data := range reply.GetActorTableData() {
		actors = append(actors, newActorInfo(data))
	}
	return actors, nil
}

// NamedActors lists the named actors of a namespace that are not dead, sorted by name.
func (g *GCS) NamedActors(ctx context.Context, namespace string) ([]ActorInfo, error) {
	all, err := g.Actors(ctx)
	return namedIn(all, namespace), err
}

func namedIn(actors []ActorInfo, namespace string) []ActorInfo {
	named := slices.DeleteFunc(actors, func(a ActorInfo) bool {
		return a.Name == "" || a.Namespace != namespace || a.State == ActorDead
	})
	slices.SortFunc(named, func(a, b ActorInfo) int { return strings.Compare(a.Name, b.Name) })
	return named
}

// Nodes lists the nodes that the GCS knows, dead ones included.
func (g *GCS) Nodes(ctx context.Context) ([]NodeInfo, error) {
	reply, err := g.allNodes(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make([]NodeInfo, 0, len(reply.GetNodeInfoList()))
	for _, n := range reply.GetNodeInfoList() {
		nodes = append(nodes, NodeInfo{
			ID:         hex.EncodeToString(n.GetNodeId()),
			Address:    n.GetNodeManagerAddress(),
			Port:       int(n.GetNodeManagerPort()),
			Alive:      n.GetState() == corepb.GcsNodeInfo_ALIVE,
			Head:       n.GetIsHeadNode(),
			Resources:  n.GetResourcesTotal(),
			SessionDir: n.GetSessionDir(),
		})
	}
	return nodes, nil
}

func (g *GCS) allNodes(ctx context.Context) (*corepb.GetAllNodeInfoReply, error) {
	reply, err := g.nodes.GetAllNodeInfo(ctx, &corepb.GetAllNodeInfoRequest{})
	if err == nil {
		err = gcsError(reply.GetStatus())
	}
	if err != nil {
		return nil, fmt.Errorf("ray: list nodes: %w", err)
	}
	return reply, nil
}

// Close ends the connection. Calls in flight fail.
func (g *GCS) Close() error { return g.conn.Close() }

func gcsError(s *corepb.GcsStatus) error {
	if s.GetCode() == gcsOK {
		return nil
	}
	return fmt.Errorf("GCS status %d: %s", s.GetCode(), s.GetMessage())
}
