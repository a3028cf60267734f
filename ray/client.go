package ray

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Client pairs a session with the direct path of the same cluster, and chooses between them for each call of a named
// actor. Either may be missing: calls then take the other path or fail with its error, with ErrNoSession if that one is
// missing too. It owns neither: whoever opened them closes them. It is safe for concurrent use.
type Client struct {
	session   *Session
	gcs       *GCS
	direct    *Direct
	noDirect  error // why direct is nil
	viaDirect atomic.Int64
	viaProxy  atomic.Int64

	mu      sync.Mutex // guards handles
	handles map[actorKey]*ActorHandle
}

// maxHandles bounds the handles that a client keeps.
const maxHandles = 4096

// NewClient makes a client of what there is: any of the three may be nil. noDirect says why there is no direct path.
func NewClient(session *Session, gcs *GCS, direct *Direct, noDirect error) *Client {
	return &Client{session: session, gcs: gcs, direct: direct, noDirect: noDirect, handles: map[actorKey]*ActorHandle{}}
}

// Session returns the Ray Client session; nil where there is none.
func (c *Client) Session() *Session { return c.session }

// GCS returns the connection to the cluster's control store; nil where it is not reachable from here.
func (c *Client) GCS() *GCS { return c.gcs }

// Direct returns the direct path, or nil and the reason why there is none.
func (c *Client) Direct() (*Direct, error) { return c.direct, c.noDirect }

// PathStats counts the calls by the path they took.
type PathStats struct {
	Direct  int64 `json:"direct"`
	Session int64 `json:"session"`
}

// Paths returns how many calls took which path so far.
func (c *Client) Paths() PathStats {
	return PathStats{Direct: c.viaDirect.Load(), Session: c.viaProxy.Load()}
}

// Call runs a method of a named actor: directly where possible, else through the session. The choice is made before
// anything is sent; a call that may have been sent is never repeated on the other path. See Direct.Call and
// ActorHandle.Call for what comes back.
func (c *Client) Call(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	key := actorKey{namespace, name}
	if c.direct != nil {
		v, err := c.direct.Call(ctx, namespace, name, method, args...)
		if err == nil || c.session == nil || ctx.Err() != nil || !usesSession(err) {
			c.viaDirect.Add(1)
			return v, err
		}
	} else if c.session == nil {
		err := ErrNoSession
		if c.noDirect != nil {
			err = fmt.Errorf("%w, and no direct path: %w", ErrNoSession, c.noDirect)
		}
		return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
	}
	c.viaProxy.Add(1)
	return c.callBySession(ctx, key, method, args)
}

// usesSession tells whether a direct call failed, unsent, for a reason that the session does not have.
func usesSession(err error) bool {
	if SentOf(err) != SentNo {
		return false
	}
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnsupportedValue) || errors.Is(err, ErrUnsupportedVersion) ||
		errors.Is(err, ErrClusterReplaced) || errors.Is(err, ErrGCSUnavailable)
}

// callBySession keeps the handle of an actor for the life of the session. A handle of an actor that died is dropped, since
// another actor may have its name by now; the call that noticed is not repeated.
func (c *Client) callBySession(ctx context.Context, key actorKey, method string, args []any) (any, error) {
	c.mu.Lock()
	handle := c.handles[key]
	c.mu.Unlock()
	if handle == nil {
		var err error
		if handle, err = c.session.GetActor(ctx, key.name, key.namespace); err != nil {
			return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
		}
		c.mu.Lock()
		if len(c.handles) >= maxHandles {
			clear(c.handles)
		}
		c.handles[key] = handle
		c.mu.Unlock()
	}
	v, err := handle.Call(ctx, method, args...)
	if errors.Is(err, ErrActorDied) {
		c.mu.Lock()
		if c.handles[key] == handle {
			delete(c.handles, key)
		}
		c.mu.Unlock()
	}
	return v, err
}
