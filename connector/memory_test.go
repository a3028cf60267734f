package connector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// memory is what a connector sees of a cluster, scripted, behind connections that lie in memory: in a bubble of synctest
// its time is virtual, so that hours of it are tested in moments. What a real Ray does is tested on a real one.
type memory struct {
	raypb.UnimplementedRayletDriverServer
	raypb.UnimplementedRayletDataStreamerServer
	session, gcs *wire
	nodes        memoryNodes
	serving      sync.WaitGroup

	mu      sync.Mutex // guards what follows
	version int        // of the cluster: another one has other ids
	clients map[string]*memoryClient
	full    bool          // new sessions are refused
	mute    chan struct{} // nothing is answered, on connections that are well, until it is closed; nil: all is
	opened  int           // sessions
	asked   []time.Time
}

// memoryClient is a session at the server.
type memoryClient struct {
	grace time.Duration
	gone  time.Time // since when it has no stream; zero while it has
	hangs bool
	ended chan struct{}
}

// newMemory serves a cluster until the test, or the bubble, is over.
func newMemory(t *testing.T) *memory {
	t.Helper()
	m := &memory{session: newWire(), gcs: newWire(), clients: map[string]*memoryClient{}}
	m.nodes.memory = m
	// Ray's server takes as many pings of the transport.
	often := keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}
	driver := grpc.NewServer(grpc.WaitForHandlers(true), grpc.KeepaliveEnforcementPolicy(often))
	raypb.RegisterRayletDriverServer(driver, m)
	raypb.RegisterRayletDataStreamerServer(driver, m)
	store := grpc.NewServer(grpc.WaitForHandlers(true))
	corepb.RegisterNodeInfoGcsServiceServer(store, &m.nodes)
	corepb.RegisterNodeResourceInfoGcsServiceServer(store, memoryResources{m: m})
	corepb.RegisterActorInfoGcsServiceServer(store, memoryActors{m: m})
	m.serving.Go(func() { _ = driver.Serve(m.session.listener) })
	m.serving.Go(func() { _ = store.Serve(m.gcs.listener) })
	t.Cleanup(func() {
		for _, w := range []*wire{m.session, m.gcs} {
			w.heal()
			w.cut()
		}
		driver.Stop()
		store.Stop()
		m.serving.Wait()
	})
	return m
}

// config is for a connector to the cluster.
func (m *memory) config() connector.Config {
	return connector.Config{
		Address: "head:6379", Namespace: "memory",
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":6379") {
				return m.gcs.dial(ctx)
			}
			return m.session.dial(ctx)
		},
	}
}

// id is one of the cluster's.
func (m *memory) id(kind byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Repeat([]byte{kind, byte(m.version)}, 14)
}

// replace puts another cluster in the place of this one: nothing of it is left.
func (m *memory) replace() {
	m.mu.Lock()
	m.version++
	m.mu.Unlock()
	m.forget()
}

// forget ends the sessions, as when their processes are killed.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, c := range m.clients {
		close(c.ended)
		delete(m.clients, id)
	}
}

// hang makes the processes of the sessions that there are answer nothing any more.
func (m *memory) hang() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.clients {
		c.hangs = true
	}
}

func (m *memory) setFull(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

func (m *memory) setMute(mute bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mute != nil && !mute {
		close(m.mute)
		m.mute = nil
	}
	if m.mute == nil && mute {
		m.mute = make(chan struct{})
	}
}

// silent waits while the servers are mute.
func (m *memory) silent(ctx context.Context) error {
	m.mu.Lock()
	mute := m.mute
	m.mu.Unlock()
	if mute == nil {
		return nil
	}
	select {
	case <-mute:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (m *memory) ClusterInfo(ctx context.Context, in *raypb.ClusterInfoRequest) (*raypb.ClusterInfoResponse, error) {
	if err := m.silent(ctx); err != nil {
		return nil, err
	}
	switch in.GetType() {
	case raypb.ClusterInfoType_RUNTIME_CONTEXT:
		return &raypb.ClusterInfoResponse{ResponseType: &raypb.ClusterInfoResponse_RuntimeContext_{RuntimeContext: &raypb.ClusterInfoResponse_RuntimeContext{
			Namespace: "memory", NodeId: m.id('n'), GcsAddress: "head:6379",
		}}}, nil
	case raypb.ClusterInfoType_NODES:
		return &raypb.ClusterInfoResponse{ResponseType: &raypb.ClusterInfoResponse_Json{Json: `[{"Alive":true}]`}}, nil
	case raypb.ClusterInfoType_CLUSTER_RESOURCES, raypb.ClusterInfoType_AVAILABLE_RESOURCES:
		return &raypb.ClusterInfoResponse{ResponseType: &raypb.ClusterInfoResponse_ResourceTable_{ResourceTable: &raypb.ClusterInfoResponse_ResourceTable{}}}, nil
	}
	return &raypb.ClusterInfoResponse{}, nil
}

func (m *memory) KVExists(ctx context.Context, _ *raypb.KVExistsRequest) (*raypb.KVExistsResponse, error) {
	return &raypb.KVExistsResponse{}, m.silent(ctx)
}

// attach finds or makes the session of a stream.
func (m *memory) attach(ctx context.Context) (*memoryClient, string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	id := strings.Join(md.Get("client_id"), "")
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.clients[id]
	if c != nil && !c.gone.IsZero() && time.Since(c.gone) > c.grace {
		delete(m.clients, id)
		c = nil
	}
	resumes := strings.Join(md.Get("reconnecting"), "") == "True"
	switch {
	case resumes && c == nil:
		return nil, "", status.Error(codes.NotFound, "no such client")
	case c == nil && m.full:
		return nil, "", status.Error(codes.ResourceExhausted, "full")
	case c == nil:
		c = &memoryClient{ended: make(chan struct{})}
		m.clients[id] = c
		m.opened++
	}
	c.gone = time.Time{}
	return c, id, nil
}

func (m *memory) Datapath(stream grpc.BidiStreamingServer[raypb.DataRequest, raypb.DataResponse]) error {
	ctx := stream.Context()
	client, id, err := m.attach(ctx)
	if err != nil {
		return err
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		client.gone = time.Now()
	}()
	requests := make(chan *raypb.DataRequest)
	var receiving sync.WaitGroup
	receiving.Go(func() {
		defer close(requests)
		for {
			in, err := stream.Recv()
			if err != nil {
				return
			}
			select {
			case requests <- in:
			case <-ctx.Done():
				return
			case <-client.ended:
				return
			}
		}
	})
	for {
		var in *raypb.DataRequest
		select {
		case in = <-requests:
		case <-client.ended:
			return status.Error(codes.NotFound, "the process of the session is gone")
		}
		if in == nil {
			return nil
		}
		if err := m.silent(ctx); err != nil {
			return err
		}
		m.mu.Lock()
		hangs := client.hangs
		m.mu.Unlock()
		if hangs {
			continue
		}
		out := &raypb.DataResponse{ReqId: in.GetReqId()}
		switch body := in.GetType().(type) {
		case *raypb.DataRequest_Init:
			m.mu.Lock()
			client.grace = time.Duration(body.Init.GetReconnectGracePeriod()) * time.Second
			m.mu.Unlock()
			out.Type = &raypb.DataResponse_Init{Init: &raypb.InitResponse{Ok: true}}
		case *raypb.DataRequest_ConnectionInfo:
			m.mu.Lock()
			m.asked = append(m.asked, time.Now())
			m.mu.Unlock()
			out.Type = &raypb.DataResponse_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoResponse{NumClients: 1, RayVersion: "2.60.0", PythonVersion: "3.12.0"}}
		case *raypb.DataRequest_Put:
			out.Type = &raypb.DataResponse_Put{Put: &raypb.PutResponse{Valid: true, Id: fmt.Appendf(nil, "%028d", in.GetReqId())}}
		case *raypb.DataRequest_Release:
			out.Type = &raypb.DataResponse_Release{Release: &raypb.ReleaseResponse{}}
		case *raypb.DataRequest_ConnectionCleanup:
			m.mu.Lock()
			delete(m.clients, id)
			m.mu.Unlock()
			out.Type = &raypb.DataResponse_ConnectionCleanup{ConnectionCleanup: &raypb.ConnectionCleanupResponse{}}
		default:
			continue
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// known refuses a caller that takes the cluster for another one.
func (m *memory) known(ctx context.Context) error {
	if err := m.silent(ctx); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if id := md.Get("ray_cluster_id"); len(id) > 0 && id[0] != fmt.Sprintf("%x", m.id('c')) {
		return status.Error(codes.Unauthenticated, "WrongClusterID: another one")
	}
	return nil
}

type memoryNodes struct {
	corepb.UnimplementedNodeInfoGcsServiceServer
	memory *memory
}

func (n *memoryNodes) CheckAlive(ctx context.Context, _ *corepb.CheckAliveRequest) (*corepb.CheckAliveReply, error) {
	return &corepb.CheckAliveReply{RayVersion: "2.60.0"}, n.memory.known(ctx)
}

func (n *memoryNodes) GetClusterId(ctx context.Context, _ *corepb.GetClusterIdRequest) (*corepb.GetClusterIdReply, error) {
	return &corepb.GetClusterIdReply{ClusterId: n.memory.id('c')}, n.memory.known(ctx)
}

func (n *memoryNodes) GetAllNodeInfo(ctx context.Context, _ *corepb.GetAllNodeInfoRequest) (*corepb.GetAllNodeInfoReply, error) {
	return &corepb.GetAllNodeInfoReply{NodeInfoList: []*corepb.GcsNodeInfo{{NodeId: n.memory.id('n'), NodeManagerAddress: "head"}}}, n.memory.known(ctx)
}

type memoryResources struct {
	corepb.UnimplementedNodeResourceInfoGcsServiceServer
	m *memory
}

func (r memoryResources) GetAllAvailableResources(ctx context.Context, _ *corepb.GetAllAvailableResourcesRequest) (*corepb.GetAllAvailableResourcesReply, error) {
	return &corepb.GetAllAvailableResourcesReply{}, r.m.known(ctx)
}

type memoryActors struct {
	corepb.UnimplementedActorInfoGcsServiceServer
	m *memory
}

func (a memoryActors) GetAllActorInfo(ctx context.Context, _ *corepb.GetAllActorInfoRequest) (*corepb.GetAllActorInfoReply, error) {
	return &corepb.GetAllActorInfoReply{Total: 0}, a.m.known(ctx)
}

func (a memoryActors) GetNamedActorInfo(ctx context.Context, _ *corepb.GetNamedActorInfoRequest) (*corepb.GetNamedActorInfoReply, error) {
	return &corepb.GetNamedActorInfoReply{Status: &corepb.GcsStatus{Code: 17}}, a.m.known(ctx)
}

// wire is the way to one server, and its faults.
type wire struct {
	listener *bufconn.Listener

	mu      sync.Mutex // guards what follows
	refused bool
	stalled chan struct{} // closed when it goes on; nil while it does
	open    map[*wireConn]struct{}
}

func newWire() *wire {
	return &wire{listener: bufconn.Listen(64 << 10), open: map[*wireConn]struct{}{}}
}

func (w *wire) dial(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	refused := w.refused
	w.mu.Unlock()
	if refused {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: syscall.ECONNREFUSED}
	}
	conn, err := w.listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, wire: w, gone: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[c] = struct{}{}
	return c, nil
}

// refuse turns new connections away, and ends those that are open.
func (w *wire) refuse() {
	w.mu.Lock()
	w.refused = true
	w.mu.Unlock()
	w.cut()
}

// stall lets nothing through, and says nothing of it.
func (w *wire) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stalled == nil {
		w.stalled = make(chan struct{})
	}
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = false
	if w.stalled != nil {
		close(w.stalled)
		w.stalled = nil
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	open := make([]*wireConn, 0, len(w.open))
	for c := range w.open {
		open = append(open, c)
	}
	w.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
}

// wireConn is the client's end of a connection.
type wireConn struct {
	net.Conn
	wire *wire
	once sync.Once
	gone chan struct{}
}

// pass waits for as long as nothing gets through.
func (c *wireConn) pass() error {
	for {
		c.wire.mu.Lock()
		stalled := c.wire.stalled
		c.wire.mu.Unlock()
		if stalled == nil {
			return nil
		}
		select {
		case <-stalled:
		case <-c.gone:
			return io.ErrClosedPipe
		}
	}
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, errors.Join(c.pass(), err)
}

func (c *wireConn) Write(p []byte) (int, error) {
	if err := c.pass(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (c *wireConn) Close() error {
	c.once.Do(func() {
		close(c.gone)
		c.wire.mu.Lock()
		delete(c.wire.open, c)
		c.wire.mu.Unlock()
	})
	return c.Conn.Close()
}

// A replacement of the real thing is worth what it has in common with it: a connection comes up, is used and ends.
func TestTheClusterInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		conn, _ := newConnector(t, m.config())
		if err := conn.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		info := conn.Info()
		if info.State != connector.StateConnected || !info.GCS.Answers || !info.Direct || info.Epoch != 1 || info.RayVersion != "2.60.0" {
			t.Errorf("%+v", info)
		}
		if ref, err := session(t, conn).Put(t.Context(), 1); err != nil {
			t.Error(err)
		} else {
			ref.Release() // by hand: the garbage collector is in no bubble
		}
		before := time.Now()
		time.Sleep(time.Hour)
		if info := conn.Info(); info.State != connector.StateConnected || info.Epoch != 1 || info.Session.LastHealthy.Sub(before) < 59*time.Minute {
			t.Errorf("%+v", info)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
