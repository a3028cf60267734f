package worker

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Registry is a registry of a test's own.
type Registry = registry

func RegisterIn(r *Registry, name string, construct any, options ...Option) error {
	return register(r, name, construct, options...)
}

func LocalIn(r *Registry, class string, args ...any) (*Local, error) { return newLocal(r, class, args) }

func (r *registry) Trace(t Tracer) { r.trace(t) }

func (r *registry) List() []Class { return r.list() }

// Launch is what parseLaunch made of flags and environment.
type Launch struct {
	WorkerID, JobID                               []byte
	NodeIP, Raylet, GCSAddress, ClusterID, LogDir string
	RuntimeEnvHash                                int32
	LaunchTimeMs                                  uint64
	StartupToken                                  int64
	RayVersion                                    string
	Refusal                                       error
	Old                                           bool                // the layout of Ray 2.48
	Environment                                   func(string) string // for credentials; may be nil
}

func ParseLaunch(args []string, getenv func(string) string) (*Launch, error) {
	l, err := parseLaunch(args, getenv)
	if err != nil {
		return nil, err
	}
	return &Launch{
		l.workerID, l.jobID, l.nodeIP, l.raylet, l.gcsAddress, l.clusterID, l.logDir, l.runtimeEnvHash, l.launchTimeMs,
		l.startupToken, l.rayVersion, l.refusal, l.layout.old, nil,
	}, nil
}

func Requested(args []string) bool { return requested(args) }

func Layouts() []string { return slices.Sorted(maps.Keys(layouts)) }

func SnakeCase(name string) string { return snakeCase(name) }

// LaunchErrorSource names the flag or variable of a typed launch error.
func LaunchErrorSource(err error) string {
	var e *launchError
	if !errors.As(err, &e) {
		return ""
	}
	return e.source
}

type Limits = limits

func NewLimits(waiting int, waitingBytes int64, callers, gaps int, reorder time.Duration) Limits {
	return limits{waiting, waitingBytes, callers, gaps, reorder}
}

var (
	DefaultLimits     = defaultLimits
	RememberedCallers = defaultLimits.callers
)

// Process is a worker inside of the test's process.
type Process struct{ p *process }

func NewProcess(l *Launch, r *Registry, limits Limits, log *slog.Logger, captured func(jobID []byte, class string) error) *Process {
	version := "2.60"
	if l.Old {
		version = "2.48"
	}
	var a access
	if l.Environment != nil {
		var err error
		if a, err = newAccess(l.Environment); err != nil {
			panic(err)
		}
	}
	p := newProcess(&launch{
		l.WorkerID, l.JobID, l.NodeIP, l.Raylet, l.GCSAddress, l.ClusterID, l.RuntimeEnvHash, l.LaunchTimeMs, l.LogDir, a,
		l.StartupToken, layouts[version], l.RayVersion, l.Refusal,
	}, r, log)
	p.limits = limits
	p.captureOutput = captured
	p.renice = func() error { return nil } // the test's process stays as it is
	return &Process{p}
}

func (p *Process) Run(ctx context.Context) int { return p.p.run(ctx) }

// Shutdown does what the end of the process does elsewhere.
func (p *Process) Shutdown() {
	p.p.cancel()
	if p.p.server != nil {
		p.p.server.Stop()
	}
	if p.p.raylet != nil {
		_ = p.p.raylet.conn.Close()
	}
	p.p.closeCaller(0)
	p.p.closeEvents(0)
	if p.p.gcs != nil {
		_ = p.p.gcs.conn.Close()
	}
	p.p.tasks.Wait()
}

// Scheduler and Call give tests the scheduler without a network.
type Scheduler struct{ s *scheduler }

type Call struct {
	c         *call
	Cancelled chan struct{}
}

func NewScheduler(ordered bool, slots int, l Limits) Scheduler {
	return Scheduler{newScheduler(creationSpec{outOfOrder: !ordered, maxConcurrency: slots}, l, nil)}
}

func (s Scheduler) Enter(taskID, caller string, seq int64, attempt int32, processed, size int64) (*Call, error) {
	c := &Call{Cancelled: make(chan struct{}, 10)}
	c.c = &call{
		taskID: taskID, caller: caller, seq: seq, attempt: attempt, size: size,
		cancel: func() { c.Cancelled <- struct{}{} }, granted: make(chan error, 1),
	}
	return c, s.s.enter(c.c, processed)
}

func (s Scheduler) Leave(c *Call)                          { s.s.leave(c.c) }
func (s Scheduler) Close()                                 { s.s.close() }
func (s Scheduler) CancelTask(id string) (bool, bool)      { return s.s.cancelTask(id) }
func (s Scheduler) WasCancelled(c *Call) bool              { return s.s.wasCancelled(c.c) }
func (s Scheduler) Load() (running, waiting, executed int) { return s.s.load() }
func (s Scheduler) Ready() int                             { return len(s.s.rest.ready) }
func (s Scheduler) Callers() int                           { return len(s.s.callers) }
func (s Scheduler) Numbers() int                           { return len(s.s.numbers) }
func (c *Call) Granted() <-chan error                      { return c.c.granted }

var (
	ErrStale     = errStale
	ErrDuplicate = errDuplicate
	ErrHole      = errHole
	ErrFull      = errFull
	ErrCancelled = errCancelled
	ErrExiting   = errExiting
	ErrSequence  = errSequence
)

// Spans is the set of skipped sequence numbers.
type Spans struct{ s spans }

func (s *Spans) Add(n int64)           { s.s.add(n) }
func (s *Spans) Contains(n int64) bool { return s.s.contains(n) }
func (s *Spans) Pass(n int64) int64    { return s.s.pass(n) }
func (s *Spans) Ranges() int           { return len(s.s) }

// NewCaller is what an actor's RuntimeContext.Call uses.
func NewCaller(gcsAddress string) Caller { return &directCaller{gcsAddress: gcsAddress} }
