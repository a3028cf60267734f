package worker

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// coreWorker serves CoreWorkerService: it hosts at most one actor.
type coreWorker struct {
	corepb.UnimplementedCoreWorkerServiceServer

	registry *registry
	launch   *launch
	limits   limits
	log      *slog.Logger
	workerID []byte
	nodeID   []byte
	nodeIP   string
	port     int32
	caller   *directCaller
	owners   owners             // of the streams that are being made
	tracer   Tracer             // may be nil
	events   *taskevents.Buffer // nil: none are reported

	// ctx ends when the process is about to exit; methods see it.
	ctx context.Context
	// created tells the raylet that the actor is there.
	created func() error
	// captureOutput directs the output of the process to the files of the job, before the constructor runs.
	captureOutput func(jobID []byte, class string) error
	// exit asks the process to end. It does not wait.
	exit func(exitRequest)
	// failed is closed when the constructor has failed.
	failed chan struct{}
	// ended is closed when the process has said goodbye to the raylet.
	ended <-chan struct{}

	mu          sync.Mutex // guards the fields below
	constructed bool       // or being constructed: a process gets one actor, once
	actorID     []byte     // of the same; nil before
	actor       *actor     // nil until its constructor has returned
}

type actor struct {
	*instance
	id    []byte
	jobID []byte
	class string
	ctx   context.Context // of its methods
	calls *scheduler
}

// exitRequest says why the process should end.
type exitRequest struct {
	exitType  corepb.WorkerExitType
	detail    string
	exception []byte // of a failed constructor
	force     bool   // without waiting for methods that run
}

// The methods that Ray gives to every actor and that a Go actor has too: one answers as soon as the actor is there, the
// other ends it for good after the calls before it.
const (
	readyMethod     = "__ray_ready__"
	terminateMethod = "__ray_terminate__"
)

// constructing tells whether the constructor runs.
func (w *coreWorker) constructing() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.constructed && w.actor == nil
}

func (w *coreWorker) current() *actor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.actor
}

// PushTask creates the actor or runs one of its methods.
func (w *coreWorker) PushTask(ctx context.Context, req *corepb.PushTaskRequest) (*corepb.PushTaskReply, error) {
	if err := w.checkRecipient(ctx, req.GetIntendedWorkerId()); err != nil {
		return nil, err
	}
	spec := req.GetTaskSpec()
	if len(spec.GetTaskId()) != taskIDSize {
		return nil, invalid(ctx, fmt.Sprintf("a task id has %d bytes, not %d", taskIDSize, len(spec.GetTaskId())))
	}
	if n := spec.GetNumReturns(); n > maxReturns {
		return nil, invalid(ctx, fmt.Sprintf("%d return values are wanted; the limit is %d", n, maxReturns))
	}
	switch spec.GetType() {
	case corepb.TaskType_ACTOR_CREATION_TASK:
		return w.createActor(ctx, spec)
	case corepb.TaskType_ACTOR_TASK:
		return w.callActor(ctx, req)
	default:
		// As an answer, not as a failure, so that Ray does not try it again on other workers.
		return w.failure(spec, spec.GetName(), errors.New("this worker is a Go program and runs actors only: set "+
			"py_executable in the runtime_env of the actor, not of the job or of a task"))
	}
}

func (w *coreWorker) createActor(ctx context.Context, spec *corepb.TaskSpec) (*corepb.PushTaskReply, error) {
	w.mu.Lock()
	again := w.constructed
	w.constructed = true
	w.mu.Unlock()
	if again {
		return nil, invalid(ctx, "this process has an actor already")
	}
	className := spec.GetFunctionDescriptor().GetPythonFunctionDescriptor().GetClassName()
	if err := w.captureOutput(spec.GetJobId(), className); err != nil {
		w.log.Warn("output stays where the raylet's goes", "error", err)
	}
	running := w.begins(spec)
	a, creation, err := w.construct(ctx, spec, className)
	w.ends(running)
	if err != nil {
		return nil, w.constructorFailed(className, err)
	}
	w.mu.Lock()
	w.actor = a
	w.mu.Unlock()
	if err := w.created(); err != nil {
		w.exit(exitRequest{exitType: corepb.WorkerExitType_SYSTEM_ERROR, detail: err.Error(), force: true})
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	w.log.Info("actor created", "class", className, "name", creation.name, "namespace", creation.namespace,
		"actor_id", fmt.Sprintf("%x", a.id), "max_concurrency", creation.maxConcurrency)
	return &corepb.PushTaskReply{}, nil
}

// construct makes the actor. Its errors are what callers of the actor will see.
func (w *coreWorker) construct(rpc context.Context, spec *corepb.TaskSpec, className string) (*actor, creationSpec, error) {
	if w.launch.refusal != nil {
		return nil, creationSpec{}, w.launch.refusal
	}
	creation, err := parseCreation(spec.GetActorCreationTaskSpec(), w.launch.layout.creation)
	if err != nil {
		return nil, creation, err
	}
	w.mu.Lock()
	w.actorID = creation.actorID
	w.mu.Unlock()
	class, err := w.registry.find(className)
	if err != nil {
		return nil, creation, err
	}
	args, err := parseArgs(spec.GetArgs())
	if err != nil {
		return nil, creation, err
	}
	a := &actor{id: creation.actorID, jobID: spec.GetJobId(), class: class.Name, calls: newScheduler(creation, w.limits, w.ctx.Done())}
	a.ctx = WithRuntimeContext(w.ctx, &RuntimeContext{
		Class: class.Name, ActorID: hex.EncodeToString(creation.actorID), ActorName: creation.name, Namespace: creation.namespace,
		JobID: hex.EncodeToString(spec.GetJobId()), WorkerID: hex.EncodeToString(w.workerID), NodeID: hex.EncodeToString(w.nodeID),
		NodeIP: w.nodeIP, GCSAddress: w.launch.gcsAddress, RayVersion: w.launch.rayVersion, Caller: w.caller,
	})
	a.instance, err = traced(rpc, a.ctx, w.tracer, constructor, spec, func(ctx context.Context) (*instance, error) { return class.create(ctx, args) })
	return a, creation, err
}

// constructorFailed ends the process with the error and never answers the creation task: the GCS takes any answer, an
// application error too, for success, and callers would then talk to an actor that is not there.
func (w *coreWorker) constructorFailed(class string, err error) error {
	text := errorText(err, 1)
	exception, encodeErr := w.raiser(class + ".__init__").constructorError(text)
	if encodeErr != nil {
		text += "\n" + encodeErr.Error()
	}
	w.log.Error("constructor failed", "class", class, "error", text)
	w.exit(exitRequest{
		exitType: corepb.WorkerExitType_USER_ERROR,
		detail: "Worker exits because there was an exception in the initialization method of the Go actor " + class +
			". Fix the exceptions from the initialization to resolve the issue. " + text,
		exception: exception,
	})
	close(w.failed) // once: there is one constructor
	<-w.ended
	return status.Error(codes.Unavailable, "worker: the constructor failed and the process has ended")
}

func (w *coreWorker) callActor(ctx context.Context, req *corepb.PushTaskRequest) (*corepb.PushTaskReply, error) {
	spec := req.GetTaskSpec()
	a := w.current()
	if a == nil {
		return nil, invalid(ctx, "no actor lives in this process")
	}
	if id := spec.GetActorTaskSpec().GetActorId(); !bytes.Equal(id, a.id) {
		return nil, invalid(ctx, fmt.Sprintf("mismatched ActorID: the task is for %x, this is %x", id, a.id))
	}
	callerID := spec.GetCallerAddress().GetWorkerId()
	if len(callerID) != workerIDSize {
		return nil, invalid(ctx, fmt.Sprintf("the caller's worker id has %d bytes, not %d", len(callerID), workerIDSize))
	}
	method := spec.GetFunctionDescriptor().GetPythonFunctionDescriptor().GetFunctionName()
	// The context outlives the RPC: Ray runs what it has accepted.
	callCtx := &callContext{actor: a.ctx, task: taskevents.TaskID(spec.GetTaskId())}
	defer callCtx.end()
	sequence := string(callerID)
	if w.launch.layout.groupSequence {
		sequence += spec.GetConcurrencyGroupName()
	}
	c := &call{
		taskID: string(spec.GetTaskId()), caller: sequence, group: spec.GetConcurrencyGroupName(), method: method,
		seq: req.GetSequenceNumber(), attempt: spec.GetAttemptNumber(), size: argsSize(spec.GetArgs()),
		cancel: callCtx.end, granted: make(chan error, 1),
	}
	if !spec.GetStreamingGenerator() {
		c.err = errGoexit // stands when the method does not return
		c.run = func() {
			defer w.ends(w.begins(spec))
			c.values, c.err = w.runTraced(ctx, callCtx, a, c, spec)
		}
	}
	if err := a.calls.enter(c, req.GetClientProcessedUpTo()); err != nil {
		return nil, refusal(ctx, err)
	}
	if err := <-c.granted; err != nil {
		if errors.Is(err, errNoGroup) { // an answer: nothing is wrong with the transport
			return w.failure(spec, a.class+"."+method, err)
		}
		return nil, refusal(ctx, err)
	}
	if c.run == nil {
		defer a.calls.leave(c)
		defer w.ends(w.begins(spec))
		return w.streamCall(callCtx, ctx, a, c, spec)
	}
	switch {
	case c.err == nil:
		r := reply(spec, c.values)
		if method == terminateMethod {
			r.WorkerExiting = true
			w.exit(exitRequest{exitType: corepb.WorkerExitType_INTENDED_USER_EXIT, detail: "Worker exits by an user request."})
		}
		return r, nil
	case a.calls.wasCancelled(c):
		return w.cancelled(spec, c.err)
	default:
		return w.failure(spec, a.class+"."+method, c.err)
	}
}

// runTraced runs a method on this goroutine and encodes its results: before the slot is given back, for they may share memory
// with the actor. It does not return where the method calls runtime.Goexit and nothing is traced.
func (w *coreWorker) runTraced(rpc, ctx context.Context, a *actor, c *call, spec *corepb.TaskSpec) ([]value, error) { //nolint:revive // two contexts
	run := func(ctx context.Context) ([]value, error) { return w.run(ctx, a, c, spec) }
	if w.tracer == nil {
		return recovered(func() ([]value, error) { return run(ctx) })
	}
	return traced(rpc, ctx, w.tracer, c.method, spec, run)
}

func (w *coreWorker) run(ctx context.Context, a *actor, c *call, spec *corepb.TaskSpec) ([]value, error) {
	if spec.GetReturnsDynamic() {
		return nil, errors.New("a Go actor has no dynamic return values: num_returns has to be a number or \"streaming\"")
	}
	result, err := w.result(ctx, a, c, spec)
	if err != nil {
		return nil, err
	}
	if _, ok := sequence(result); ok {
		return nil, errStreaming(c.method)
	}
	return encodeResults(result, spec.GetNumReturns())
}

// result is what the method returns in the end.
func (w *coreWorker) result(ctx context.Context, a *actor, c *call, spec *corepb.TaskSpec) (any, error) {
	args, err := parseArgs(spec.GetArgs())
	if err != nil {
		return nil, err
	}
	if c.method == readyMethod || c.method == terminateMethod {
		return nil, nil
	}
	f := a.methods[c.method]
	if f == nil {
		return nil, noMethod(a.class, c.method)
	}
	result, err := f(ctx, args)
	for err == nil {
		later, ok := result.(Async)
		if !ok {
			return result, nil
		}
		if err = a.calls.detach(c); err == nil {
			result, err = later(ctx)
		}
	}
	return nil, err
}

// cancelled answers a task that was asked to stop.
func (w *coreWorker) cancelled(spec *corepb.TaskSpec, err error) (*corepb.PushTaskReply, error) {
	text := "Task was cancelled. " + errorText(err, spec.GetNumReturns())
	v, err := cancelledError(text)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return errorReply(spec, v, text), nil
}

// failure answers a task with an exception.
func (w *coreWorker) failure(spec *corepb.TaskSpec, function string, err error) (*corepb.PushTaskReply, error) {
	text := errorText(err, spec.GetNumReturns())
	v, err := w.raiser(function).methodError(text)
	if err != nil {
		return nil, status.Error(codes.Internal, text+"\n"+err.Error())
	}
	return errorReply(spec, v, text), nil
}

func (w *coreWorker) raiser(function string) raiser {
	return raiser{function: function, pid: os.Getpid(), ip: w.nodeIP}
}

// KillActor ends the process, also while the constructor runs.
func (w *coreWorker) KillActor(ctx context.Context, req *corepb.KillActorRequest) (*corepb.KillActorReply, error) {
	w.mu.Lock()
	id := w.actorID
	w.mu.Unlock()
	if !bytes.Equal(req.GetIntendedActorId(), id) {
		return nil, invalid(ctx, fmt.Sprintf("mismatched ActorID: ignoring KillActor for %x, this is %x", req.GetIntendedActorId(), id))
	}
	w.exit(exitRequest{
		exitType: corepb.WorkerExitType_INTENDED_SYSTEM_EXIT, force: req.GetForceKill(),
		detail: "Worker exits because the actor is killed.",
	})
	return &corepb.KillActorReply{}, nil
}

// Exit ends the process when it is forced to or when nothing lives in it.
func (w *coreWorker) Exit(_ context.Context, req *corepb.ExitRequest) (*corepb.ExitReply, error) {
	w.mu.Lock()
	idle := !w.constructed
	w.mu.Unlock()
	if !idle && !req.GetForceExit() {
		return &corepb.ExitReply{Success: false}, nil
	}
	w.exit(exitRequest{
		exitType: corepb.WorkerExitType_INTENDED_SYSTEM_EXIT,
		detail:   "Worker exits because the raylet asked it to.",
	})
	return &corepb.ExitReply{Success: true}, nil
}

// CancelTask asks a method that runs to stop, by its context, or drops a call that waits. Success means that the
// method was asked, not that it has ended; one that ignores its context runs to its end.
func (w *coreWorker) CancelTask(_ context.Context, req *corepb.CancelTaskRequest) (*corepb.CancelTaskReply, error) {
	a := w.current()
	if a == nil || req.GetForceKill() { // which Ray does not offer for actors, as it would take all callers' calls along
		return &corepb.CancelTaskReply{}, nil
	}
	running, found := a.calls.cancelTask(string(req.GetIntendedTaskId()))
	return &corepb.CancelTaskReply{RequestedTaskRunning: running, AttemptSucceeded: found}, nil
}

// GetCoreWorkerStats describes the process to the raylet.
func (w *coreWorker) GetCoreWorkerStats(ctx context.Context, req *corepb.GetCoreWorkerStatsRequest) (*corepb.GetCoreWorkerStatsReply, error) {
	if err := w.checkRecipient(ctx, req.GetIntendedWorkerId()); err != nil {
		return nil, err
	}
	stats := &corepb.CoreWorkerStats{
		IpAddress: w.nodeIP, Port: int64(w.port), WorkerId: w.workerID, Pid: uint32(os.Getpid()),
		Language: corepb.Language_PYTHON, WorkerType: corepb.WorkerType_WORKER,
	}
	if a := w.current(); a != nil {
		running, waiting, executed := a.calls.load()
		stats.ActorId, stats.JobId = a.id, a.jobID
		stats.NumRunningTasks, stats.TaskQueueLength, stats.NumExecutedTasks = int64(running), int32(waiting), int32(executed)
	}
	return &corepb.GetCoreWorkerStatsReply{CoreWorkerStats: stats}, nil
}

// NumPendingTasks counts tasks that this process submitted: none.
func (w *coreWorker) NumPendingTasks(context.Context, *corepb.NumPendingTasksRequest) (*corepb.NumPendingTasksReply, error) {
	return &corepb.NumPendingTasksReply{}, nil
}

// LocalGC gives unused memory back to the system.
func (w *coreWorker) LocalGC(context.Context, *corepb.LocalGCRequest) (*corepb.LocalGCReply, error) {
	debug.FreeOSMemory()
	return &corepb.LocalGCReply{}, nil
}

// RayletNotifyGCSRestart needs nothing done: what this process tells the GCS finds its way to the new one.
func (w *coreWorker) RayletNotifyGCSRestart(context.Context, *corepb.RayletNotifyGCSRestartRequest) (*corepb.RayletNotifyGCSRestartReply, error) {
	w.log.Info("the GCS has started again; this process goes on")
	return &corepb.RayletNotifyGCSRestartReply{}, nil
}

// checkRecipient refuses an RPC for a worker that had this address before.
func (w *coreWorker) checkRecipient(ctx context.Context, intended []byte) error {
	if bytes.Equal(intended, w.workerID) {
		return nil
	}
	return invalid(ctx, fmt.Sprintf("mismatched WorkerID: ignoring RPC for worker %x, this is %x", intended, w.workerID))
}

// refusal is what the caller of a method sees when the scheduler did not run it.
func refusal(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errFull):
		return status.Error(codes.ResourceExhausted, "worker: "+err.Error())
	case errors.Is(err, errExiting):
		return status.Error(codes.Unavailable, "worker: "+err.Error())
	case errors.Is(err, errCancelled):
		return rayStatus(ctx, "SchedulingCancelled", err.Error())
	default:
		return invalid(ctx, err.Error())
	}
}

func invalid(ctx context.Context, text string) error { return rayStatus(ctx, "Invalid", text) }

// rayStatus is how Ray's own workers send a status: ABORTED, the name of the code as the message, and the text where
// gRPC has the details. The prefix keeps the text from being taken for a google.rpc.Status by a gRPC library: its
// first byte has a wire type that does not exist.
func rayStatus(ctx context.Context, code, text string) error {
	// This fails only outside of a handler, and then nobody reads the trailer.
	_ = grpc.SetTrailer(ctx, metadata.Pairs("grpc-status-details-bin", "worker: "+text))
	return status.Error(codes.Aborted, code)
}
