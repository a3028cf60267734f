package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/pushtask"
	"github.com/seedcore/seedcore/internal/wire/rayletipc"
)

const (
	// graceTime is how long methods that run may take to notice that their context has ended.
	graceTime = 2 * time.Second
	// exitTime is how long an OnExit may take.
	exitTime = 3 * time.Second
	// goodbyeTime is how long the raylet may take to answer our goodbye.
	goodbyeTime = 2 * time.Second
	// maxMessage is what Ray allows a gRPC message to have, in bytes.
	maxMessage = 512 << 20
	// readBuffer and writeBuffer are those of a connection, in bytes: an actor has few and small messages, and there may be
	// thousands of actors on a node. gRPC holds a write buffer only while it writes. Larger messages only take
	// more system calls.
	readBuffer, writeBuffer = 8 << 10, 32 << 10
	// streamWorkers are goroutines that run requests one after the other: their stacks have grown to what a request needs.
	// With more at once, waiting ones included, each gets a goroutine of its own.
	streamWorkers = 128
	// streamWindow and connWindow are what a caller may send before it is read, in one request and in all, in bytes.
	// Nothing of that size is set aside for them.
	streamWindow, connWindow = 4 << 20, 16 << 20
	// pingPause: Ray's callers ping more often than gRPC allows by default, and would be disconnected.
	pingPause = 5 * time.Second
)

// process is one life of a worker: it registers with the raylet, serves, and says goodbye.
type process struct {
	launch   *launch
	registry *registry
	limits   limits
	log      *slog.Logger
	// captureOutput is called once, before the actor is constructed.
	captureOutput func(jobID []byte, class string) error
	// renice is called once, when the raylet knows the process.
	renice func() error

	raylet *raylet
	server *grpc.Server
	gcs    *gcsClient
	events *taskevents.Buffer // nil: none are reported
	caller *directCaller
	tracer Tracer // may be nil
	exits  chan exitRequest
	ended  chan struct{}
	tasks  sync.WaitGroup // the goroutines of run
	// cancel ends the context of the methods. Not when the process ends at once: a method that notices would answer its
	// caller with an exception of its own, where Ray's own error tells what happened.
	cancel context.CancelFunc
}

func newProcess(l *launch, r *registry, log *slog.Logger) *process {
	methods, calls := r.traced()
	return &process{
		launch: l, registry: r, limits: defaultLimits, log: log,
		captureOutput: func(jobID []byte, class string) error { return captureOutput(l.logDir, l.workerID, jobID, class) },
		renice: func() error {
			add, err := niceness(os.Getenv)
			return errors.Join(err, renice(add))
		},
		caller: &directCaller{gcsAddress: l.gcsAddress, clusterID: l.clusterID, credentials: l.access.credentials, tracer: calls},
		tracer: methods,
		exits:  make(chan exitRequest, 1), ended: make(chan struct{}),
	}
}

// run serves until the process has to end, and returns its exit code. It does not wait for what it started: methods may
// run for ever, and the end of the process ends them. The end of ctx is a request to exit, as SIGTERM is.
func (p *process) run(ctx context.Context) int {
	defer close(p.ended)
	var actorCtx context.Context
	actorCtx, p.cancel = context.WithCancel(context.Background())
	started := time.Now()
	core, listener, err := p.register(ctx, actorCtx)
	if err != nil {
		p.log.Error("worker cannot start", "error", err)
		return 1
	}
	// Like Ray's own workers, not before: on a busy node, whoever starts should not have to wait.
	if err := p.renice(); err != nil {
		p.log.Warn("the niceness is not what Ray's workers have", "error", err)
	}
	options, err := p.launch.access.serverOptions()
	if err != nil {
		p.log.Error("worker cannot start", "error", err)
		return 1
	}
	p.server = grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(maxMessage), grpc.ReadBufferSize(readBuffer), grpc.WriteBufferSize(writeBuffer),
		// Fixed windows: to find better ones gRPC would send a ping along with every request.
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connWindow),
		grpc.ForceServerCodecV2(pushtask.Codec{}), grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingPause, PermitWithoutStream: true}),
	)...)
	corepb.RegisterCoreWorkerServiceServer(p.server, core)
	served := make(chan error, 1)
	p.tasks.Go(func() { served <- p.server.Serve(listener) })
	if err := p.raylet.announce(core.port); err != nil {
		p.log.Error("worker cannot start", "error", err)
		return 1
	}
	address := &corepb.Address{NodeId: core.nodeID, IpAddress: core.nodeIP, Port: core.port, WorkerId: core.workerID}
	p.tasks.Go(func() {
		if err := p.gcs.addWorkerInfo(actorCtx, p.launch, address, started); err != nil && actorCtx.Err() == nil {
			p.log.Warn("Ray's state API will not list this worker", "error", err)
		}
	})
	gone := make(chan error, 1)
	p.tasks.Go(func() { gone <- p.raylet.watch() })
	return p.serve(ctx, core, served, gone)
}

// register opens the connection to the raylet and the port that the raylet assigns.
func (p *process) register(ctx, actorCtx context.Context) (*coreWorker, net.Listener, error) {
	var err error
	if p.gcs, err = newGCSClient(p.launch); err != nil {
		return nil, nil, err
	}
	p.events = newTaskEvents(p.launch, p.gcs, os.Getenv, p.log)
	p.caller.events = p.events != nil
	if p.raylet, err = dialRaylet(ctx, p.launch.raylet, p.launch.layout.old); err != nil {
		return nil, nil, err
	}
	reply, err := p.raylet.register(&rayletipc.RegisterClientRequest{
		WorkerType: rayletipc.WorkerTypeWorker, WorkerID: p.launch.workerID, PID: int64(os.Getpid()), JobID: p.launch.jobID,
		RuntimeEnvHash: p.launch.runtimeEnvHash, Language: rayletipc.LanguagePython, IP: p.launch.nodeIP,
		HasStartupToken: p.launch.layout.old, StartupToken: p.launch.startupToken,
	})
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(listenHost(p.launch.nodeIP), strconv.Itoa(int(reply.Port))))
	if err != nil {
		return nil, nil, fmt.Errorf("listen on the port that the raylet assigned: %w", err)
	}
	return &coreWorker{
		registry: p.registry, launch: p.launch, limits: p.limits, log: p.log, caller: p.caller, tracer: p.tracer, events: p.events,
		workerID: p.launch.workerID, nodeID: reply.NodeID, nodeIP: p.launch.nodeIP, port: int32(listener.Addr().(*net.TCPAddr).Port),
		ctx: actorCtx, created: p.raylet.actorCreated, captureOutput: p.captureOutput, exit: p.requestExit, ended: p.ended,
		failed: make(chan struct{}),
	}, listener, nil
}

// listenHost: like Ray's own workers, on all interfaces, unless the node has only the loopback one.
func listenHost(nodeIP string) string {
	if ip, err := netip.ParseAddr(nodeIP); err == nil && ip.IsLoopback() {
		return nodeIP
	}
	return ""
}

// requestExit never blocks. The first request counts, but a forced one is not kept waiting by it.
func (p *process) requestExit(req exitRequest) {
	for {
		select {
		case p.exits <- req:
			return
		default:
		}
		if !req.force {
			return
		}
		select { // make room: what is there is not forced, or as good as this one
		case <-p.exits:
		default:
		}
	}
}

// serve waits for a reason to end and goes through the end.
func (p *process) serve(ctx context.Context, core *coreWorker, served, gone <-chan error) int {
	var (
		leaving *exitRequest
		drained <-chan struct{}  // closed when the actor has come to its end
		timeout <-chan time.Time // of the goodbye
		asked   = ctx.Done()     // SIGTERM
	)
	leave := func(req exitRequest) {
		leaving, asked = &req, nil
		if req.exception == nil { // else it is in the log already
			p.log.Info("worker exits", "type", req.exitType, "detail", req.detail)
		}
		done := make(chan struct{})
		drained = done
		p.tasks.Go(func() {
			defer close(done)
			if req.exception == nil { // the creation task is not answered, so that there would be nothing to wait for
				p.drain(core)
			}
			p.cancel()
		})
	}
	goodbye := func() error {
		drained, timeout = nil, time.After(goodbyeTime)
		p.closeCaller(lastReportTime)
		p.closeEvents(lastReportTime)
		return p.raylet.disconnect(leaving.exitType, leaving.detail, leaving.exception)
	}
	for {
		select {
		case <-asked:
			leave(exitRequest{exitType: corepb.WorkerExitType_INTENDED_SYSTEM_EXIT, detail: "Worker exits on SIGTERM."})
		case req := <-p.exits:
			if req.force {
				p.log.Info("worker exits at once", "type", req.exitType, "detail", req.detail)
				// So that Ray does not report a crash. If it fails, the raylet sees the socket close.
				_ = p.raylet.disconnect(req.exitType, req.detail, nil)
				return 1
			}
			if leaving == nil {
				leave(req)
			}
		case <-drained:
			if err := goodbye(); err != nil {
				p.log.Error("no goodbye to the raylet", "error", err)
				return 1
			}
		case <-timeout:
			p.log.Warn("the raylet did not answer the goodbye", "waited", goodbyeTime)
			return 1
		case err := <-gone:
			if leaving != nil && errors.Is(err, errDisconnected) {
				return exitCode(leaving)
			}
			p.log.Error("worker exits at once", "error", err)
			return 1
		case err := <-served:
			if leaving == nil {
				p.log.Error("worker exits at once: it cannot serve", "error", err)
				return 1
			}
			served = nil
		}
	}
}

// drain ends the calls of the actor, if there is one, or its constructor, and lets it know.
func (p *process) drain(core *coreWorker) {
	if a := core.current(); a != nil {
		a.calls.close()
	}
	p.cancel()
	answered := make(chan struct{})
	p.tasks.Go(func() { p.server.GracefulStop(); close(answered) })
	select {
	case <-answered:
	case <-core.failed: // its task is never answered
	case <-time.After(graceTime):
		what := "methods still run"
		if core.constructing() {
			what = "the constructor still runs"
		}
		p.log.Warn(what, "waited", graceTime)
	}
	a := core.current() // also one that was just made
	if a == nil || a.onExit == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), exitTime)
	defer cancel()
	finished := make(chan error, 1)
	p.tasks.Go(func() {
		_, err := guarded(func() (struct{}, error) { a.onExit(ctx); return struct{}{}, nil })
		finished <- err
	})
	select {
	case err := <-finished:
		if err != nil {
			p.log.Error("OnExit failed", "error", err)
		}
	case <-ctx.Done():
		p.log.Warn("OnExit still runs", "waited", exitTime)
	}
}

// closeCaller cuts the calls that the actor still has under way then, for nobody waits for them any more, and lets the GCS
// hear of the last ones.
func (p *process) closeCaller(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.caller.close(ctx)
}

// closeEvents lets the GCS hear of the last tasks.
func (p *process) closeEvents(patience time.Duration) {
	if p.events == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.events.Close(ctx)
}

func exitCode(req *exitRequest) int {
	if req.exception != nil {
		return 1
	}
	return 0
}
