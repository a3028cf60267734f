package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seedcore/seedcore/ray"
)

// Caller calls methods of named actors. A [ray.Client] and a [ray.Direct] are ones.
type Caller interface {
	Call(ctx context.Context, namespace, name, method string, args ...any) (any, error)
}

// RuntimeContext says which actor a method belongs to and where it runs. Ids are in hex.
type RuntimeContext struct {
	Class      string
	ActorID    string
	ActorName  string // empty: it has none
	Namespace  string
	JobID      string // of the job that created the actor
	WorkerID   string
	NodeID     string
	NodeIP     string
	GCSAddress string
	RayVersion string // "" when it is unknown

	// Caller is what Call uses.
	Caller Caller
}

// FromContext returns the actor to which the context of a constructor, a method or an OnExit belongs; nil elsewhere.
func FromContext(ctx context.Context) *RuntimeContext {
	r, _ := ctx.Value(runtimeKey{}).(*RuntimeContext)
	return r
}

// WithRuntimeContext returns a context for tests of methods that ask for their actor, with a Caller of the test's own.
func WithRuntimeContext(ctx context.Context, r *RuntimeContext) context.Context {
	return context.WithValue(ctx, runtimeKey{}, r)
}

type runtimeKey struct{}

// Call runs a method of a named actor, of any language, in the actor's own namespace, and returns its result. It goes
// directly from process to process, through no session and under no job but that of the actor that is called. See
// [ray.Direct.Call] for values, errors and what is known about a call that failed: errors.Is and ray.SentOf work here.
//
// The connections are made when they are first needed and kept for the life of the process. An actor that handles one
// call at a time and calls itself waits until the call's deadline: that of ctx, or else ray.DefaultCallTimeout.
func (r *RuntimeContext) Call(ctx context.Context, name, method string, args ...any) (any, error) {
	namespace := ""
	if r != nil {
		namespace = r.Namespace
	}
	return r.CallIn(ctx, namespace, name, method, args...)
}

// CallIn is Call for an actor of another namespace.
func (r *RuntimeContext) CallIn(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	if r == nil || r.Caller == nil {
		return nil, fmt.Errorf("worker: call %s/%s.%s: there is no actor behind this context", namespace, name, method)
	}
	return r.Caller.Call(ctx, namespace, name, method, args...)
}

// directCaller is a ray.Direct that is connected when it is first used.
type directCaller struct {
	gcsAddress, clusterID string
	credentials           *ray.Credentials
	tracer                ray.Tracer // may be nil
	events                bool       // the calls are reported to the GCS

	mu      sync.Mutex    // guards what follows
	dialing chan struct{} // set while one caller connects; closed when that has ended
	gcs     *ray.GCS
	direct  *ray.Direct
	closed  bool
}

func (c *directCaller) Call(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	direct, err := c.connected(ctx)
	if err != nil {
		return nil, &ray.CallError{Target: namespace + "/" + name + "." + method, Sent: ray.SentNo, Err: err}
	}
	return direct.Call(ctx, namespace, name, method, args...)
}

// connected returns the connection, and makes it if there is none: one caller does, the others wait, each under its own
// context, and try next if that failed.
func (c *directCaller) connected(ctx context.Context) (*ray.Direct, error) {
	for {
		c.mu.Lock()
		direct, closed, dialing := c.direct, c.closed, c.dialing
		first := !closed && direct == nil && dialing == nil
		if first {
			c.dialing = make(chan struct{})
		}
		c.mu.Unlock()
		switch {
		case closed:
			return nil, errCallerClosed
		case direct != nil:
			return direct, nil
		case first:
			return c.connect(ctx)
		}
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

var errCallerClosed = fmt.Errorf("the actor is exiting: %w", ray.ErrClosed)

// connect is for the caller that set dialing.
func (c *directCaller) connect(ctx context.Context) (*ray.Direct, error) {
	gcs, direct, err := c.dial(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.dialing)
	c.dialing = nil
	switch {
	case err != nil:
		return nil, err
	case c.closed: // direct holds nothing yet
		return nil, errors.Join(errCallerClosed, gcs.Close())
	}
	c.gcs, c.direct = gcs, direct
	return direct, nil
}

func (c *directCaller) dial(ctx context.Context) (*ray.GCS, *ray.Direct, error) {
	gcs, err := ray.DialGCS(ctx, c.gcsAddress, ray.GCSOptions{ClusterID: c.clusterID, Credentials: c.credentials})
	if err != nil {
		return nil, nil, err
	}
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{Tracer: c.tracer, TaskEvents: c.events})
	if err != nil {
		return nil, nil, errors.Join(err, gcs.Close())
	}
	return gcs, direct, nil
}

// close gives up calls under way when ctx ends.
func (c *directCaller) close(ctx context.Context) {
	c.mu.Lock()
	gcs, direct := c.gcs, c.direct
	c.closed, c.gcs, c.direct = true, nil, nil
	c.mu.Unlock()
	if direct != nil {
		_ = direct.Close(ctx) // what it cut was told to its caller
		_ = gcs.Close()
	}
}
