package ray

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// owner is what workers dial to hand over the items of streams: whoever calls a method owns what it returns. It listens
// from the first stream on until the Direct is closed, only on the addresses from which workers were reached.
type owner struct {
	corepb.UnimplementedCoreWorkerServiceServer
	direct *Direct

	mu      sync.Mutex // guards the fields below
	closed  bool
	server  *grpc.Server
	ports   map[string]int32 // by the IP address that is listened on
	streams map[string]*stream
	lanes   map[*lane]*laneUse // that the GCS knows
	serving sync.WaitGroup
}

// laneUse tells when a lane is done with.
type laneUse struct {
	streams int  // under way
	retired bool // no stream is added any more
}

// ownerPing is how often a worker may ask whether its owner is still there: more often than gRPC allows by default.
var ownerPing = keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}

// What a worker may send before it is read, in one report and in all, in bytes.
const ownerStreamWindow, ownerConnWindow = 4 << 20, 16 << 20

// listen returns the port at which workers reach this process by an address of its own.
func (o *owner) listen(ip string) (int32, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, ErrClosed
	}
	if port := o.ports[ip]; port != 0 {
		return port, nil
	}
	if o.server == nil {
		credentials := o.direct.gcs.credentials
		options, err := credentials.ServerOptions(credentials.HasToken())
		if err != nil {
			return 0, fmt.Errorf("receive a stream: %w", err)
		}
		o.server = grpc.NewServer(append(options, grpc.WaitForHandlers(true), grpc.MaxRecvMsgSize(o.direct.opts.MaxMessage), grpc.MaxSendMsgSize(math.MaxInt32),
			grpc.StaticStreamWindowSize(ownerStreamWindow), grpc.StaticConnWindowSize(ownerConnWindow),
			grpc.KeepaliveEnforcementPolicy(ownerPing))...)
		corepb.RegisterCoreWorkerServiceServer(o.server, o)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(ip, "0")) //nolint:noctx // nothing in it waits
	if err != nil {
		return 0, fmt.Errorf("receive a stream: %w", err)
	}
	port := int32(listener.Addr().(*net.TCPAddr).Port)
	o.ports[ip] = port
	server := o.server
	o.serving.Go(func() { _ = server.Serve(listener) }) // ends with the server; a stream notices what does not come
	return port, nil
}

// close ends the server. The streams have ended.
func (o *owner) close() {
	o.mu.Lock()
	o.closed = true
	server, lanes := o.server, slices.Collect(maps.Keys(o.lanes))
	o.mu.Unlock()
	var told sync.WaitGroup
	for _, l := range lanes {
		told.Go(func() { o.unregister(l) })
	}
	told.Wait()
	if server != nil {
		server.Stop()
	}
	o.serving.Wait()
}

// streamLane is the lane of a target's streams. The holder of turn may use it.
type streamLane struct {
	turn chan struct{} // holds a token while somebody does
	lane *lane
}

// lane returns the lane for the next stream of t, whose turn the caller then has. A worker takes the owner of a stream
// for dead, and stops, unless the GCS knows it: each lane is entered there as a driver.
func (o *owner) lane(ctx context.Context, t *target) (*lane, error) {
	select {
	case t.streams.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ended(ctx)
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	}
	if t.ctx.Err() != nil { // drop has been here
		<-t.streams.turn
		return nil, context.Cause(t.ctx)
	}
	if t.streams.lane == nil {
		l, err := o.register(ctx, t)
		if err != nil {
			<-t.streams.turn
			return nil, err
		}
		t.streams.lane = l
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if use := o.lanes[t.streams.lane]; use != nil { // else the owner is being closed
		use.streams++
	}
	return t.streams.lane, nil
}

func (o *owner) register(ctx context.Context, t *target) (*lane, error) {
	port, err := o.listen(t.localIP)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	l := newLane()
	l.caller.IpAddress, l.caller.Port = t.localIP, port
	if err := o.direct.gcs.addOwner(ctx, l.caller); err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lanes[l] = &laneUse{}
	return l, nil
}

// retire gives a lane up in which a number may have been lost: no further stream uses it. Those in it that still run go on.
func (o *owner) retire(t *target, l *lane) {
	t.streams.turn <- struct{}{} // held for the time of one registration at most
	if t.streams.lane == l {
		t.streams.lane = nil
	}
	<-t.streams.turn
	o.leave(l, 0)
}

// drop gives up the lane of a target that has ended.
func (o *owner) drop(t *target) {
	t.streams.turn <- struct{}{}
	l := t.streams.lane
	t.streams.lane = nil
	<-t.streams.turn
	if l != nil {
		o.leave(l, 0)
	}
}

// leave takes streams out of a lane, and retires it if it takes none. The cluster is told when the last has left, since
// that ends what the owner has under way.
func (o *owner) leave(l *lane, streams int) {
	o.mu.Lock()
	use := o.lanes[l]
	if use != nil {
		use.streams -= streams
		use.retired = use.retired || streams == 0
	}
	done := use != nil && use.retired && use.streams == 0
	o.mu.Unlock()
	if done {
		o.unregister(l)
	}
}

// unregister tells the cluster that an owner is gone.
func (o *owner) unregister(l *lane) {
	o.mu.Lock()
	use := o.lanes[l]
	delete(o.lanes, l)
	o.mu.Unlock()
	if use != nil {
		ctx, cancel := context.WithTimeout(context.Background(), unregisterTime)
		defer cancel()
		_ = o.direct.gcs.removeOwner(ctx, l.caller) // the GCS then lists a driver too many
	}
}

// unregisterTime bounds what is told to the GCS about an owner that is gone.
const unregisterTime = 2 * time.Second

func (o *owner) add(s *stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.streams[string(s.generatorID)] = s
}

func (o *owner) remove(s *stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.streams, func(_ string, other *stream) bool { return other == s })
}

// ReportGeneratorItemReturns takes an item in. The answer waits until the caller has room for more, which keeps the
// method waiting; should this process die, the connection goes with it and the method is released.
func (o *owner) ReportGeneratorItemReturns(ctx context.Context, req *corepb.ReportGeneratorItemReturnsRequest) (*corepb.ReportGeneratorItemReturnsReply, error) {
	o.mu.Lock()
	s := o.streams[string(req.GetGeneratorId())]
	o.mu.Unlock()
	if s == nil {
		return nil, status.Error(codes.NotFound, "the stream has ended")
	}
	consumed, err := s.accept(ctx, req)
	if err != nil {
		return nil, err
	}
	return &corepb.ReportGeneratorItemReturnsReply{TotalNumObjectConsumed: consumed}, nil
}
