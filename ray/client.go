package ray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Client pairs a session with the direct path of the same cluster, and chooses between them for each call of a named
// actor. Either may be missing: calls then take the other path or fail with its error, with ErrNoSession if that one is
// missing too. The direct path may come, go and be replaced while calls are made, see SetDirect. A Client owns neither:
// whoever opened them closes them. It is safe for concurrent use.
type Client struct {
	*paths
	mode DirectMode
}

// paths is what a Client shares with those that WithDirect makes of it.
type paths struct {
	session *Session
	second  atomic.Pointer[secondPath]
	doubted chan struct{} // has room for one signal of doubt

	viaDirect atomic.Int64
	detours   [len(detours)]atomic.Int64

	mu      sync.Mutex // guards handles
	handles map[actorKey]*ActorHandle
}

// secondPath is what there is of the cluster beside the session. It does not change.
type secondPath struct {
	gcs    *GCS
	direct *Direct
	reason error // why direct is nil
}

// DirectMode says whether calls of named actors are made directly.
type DirectMode int8

// The modes of Client.WithDirect.
const (
	// DirectAuto makes calls directly where that is possible, else through the session.
	DirectAuto DirectMode = iota
	// DirectOff makes all calls through the session.
	DirectOff
	// DirectRequire makes all calls directly: what cannot go that way fails, unsent.
	DirectRequire
)

func (m DirectMode) String() string {
	switch m {
	case DirectOff:
		return "off"
	case DirectRequire:
		return "require"
	default:
		return "auto"
	}
}

// MarshalText gives the mode's name: auto, off or require.
func (m DirectMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the mode's name.
func (m *DirectMode) UnmarshalText(text []byte) error {
	for mode := DirectAuto; mode <= DirectRequire; mode++ {
		if mode.String() == string(text) {
			*m = mode
			return nil
		}
	}
	return fmt.Errorf("%w: direct mode %q is neither auto nor off nor require", ErrInvalidOption, text)
}

// Detour is a reason why a call went through the session.
type Detour string

// The reasons of PathStats.Detours.
const (
	// DetourOff means: DirectOff was asked for.
	DetourOff Detour = "off"
	// DetourNoPath means: there is no direct path; Client.Direct says why.
	DetourNoPath Detour = "no_path"
	// DetourUnreachable means: the actor's process accepts no connection from here (ErrUnreachable).
	DetourUnreachable Detour = "unreachable"
	// DetourGCS means: the actor could not be looked up (ErrGCSUnavailable, ErrClusterReplaced).
	DetourGCS Detour = "gcs"
	// DetourValue means: an argument, or the actor's class, is nothing for direct calls (ErrUnsupportedValue).
	DetourValue Detour = "value"
)

var detours = [...]Detour{DetourOff, DetourNoPath, DetourUnreachable, DetourGCS, DetourValue}

// maxHandles bounds the handles that a client keeps.
const maxHandles = 4096

// NewClient makes a client of what there is, in mode DirectAuto: any of the three may be nil. noDirect says why there is
// no direct path.
func NewClient(session *Session, gcs *GCS, direct *Direct, noDirect error) *Client {
	c := &Client{paths: &paths{session: session, doubted: make(chan struct{}, 1), handles: map[actorKey]*ActorHandle{}}}
	c.SetDirect(gcs, direct, noDirect)
	return c
}

// SetDirect replaces the GCS and the direct path, or takes them away, for this client and for all that share with it.
// Calls that begin from then on use the new ones, and the counts go on. Calls under way stay on the old ones, which are
// the caller's to close, after a while: some call may just have taken them.
func (c *Client) SetDirect(gcs *GCS, direct *Direct, noDirect error) {
	c.second.Store(&secondPath{gcs, direct, noDirect})
}

// WithDirect returns a client that makes calls as mode says. It shares everything else with c, the counts included: one
// may be made for a single call.
func (c *Client) WithDirect(mode DirectMode) *Client { return &Client{c.paths, mode} }

// Doubted returns a channel that has a signal when a Call failed in a way that puts a link into doubt since the last signal
// was taken: the GCS was not reached, the session is lost, or no answer came in time. It is a reason to look at the links, no
// more. It is for one receiver, shared by all that share with c, and never closed.
func (c *Client) Doubted() <-chan struct{} { return c.doubted }

// doubt leaves a signal for whoever looks at Doubted if err is a reason for it.
func (c *Client) doubt(err error) {
	if err == nil {
		return
	}
	for _, reason := range []error{ErrGCSUnavailable, ErrClusterReplaced, ErrSessionLost, context.DeadlineExceeded} {
		if errors.Is(err, reason) {
			select {
			case c.doubted <- struct{}{}:
			default:
			}
			return
		}
	}
}

// Session returns the Ray Client session; nil where there is none.
func (c *Client) Session() *Session { return c.session }

// GCS returns the connection to the cluster's control store that there is now; nil where it is not reachable from here.
func (c *Client) GCS() *GCS { return c.second.Load().gcs }

// Direct returns the direct path that there is now, or nil and the reason why there is none.
func (c *Client) Direct() (*Direct, error) {
	second := c.second.Load()
	if second.direct == nil && second.reason == nil {
		return nil, fmt.Errorf("%w: the client was given no direct path", ErrUnreachable)
	}
	return second.direct, second.reason
}

// PathStats counts the calls by the path they took.
type PathStats struct {
	Direct  int64 `json:"direct"`
	Session int64 `json:"session"`
	// Detours counts the calls through the session by reason. Every reason is there.
	Detours map[Detour]int64 `json:"detours"`
}

// Paths returns how many calls took which path so far.
func (c *Client) Paths() PathStats {
	stats := PathStats{Direct: c.viaDirect.Load(), Detours: make(map[Detour]int64, len(detours))}
	for i, why := range detours {
		n := c.detours[i].Load()
		stats.Session += n
		stats.Detours[why] = n
	}
	return stats
}

// Call runs a method of a named actor: directly or through the session, as the client's mode says. The choice is made
// before anything is sent; a call that may have been sent is never repeated on the other path. See Direct.Call and
// ActorHandle.Call for what comes back, and Config.CallTimeout and DirectOptions.CallTimeout for how long it takes when
// ctx has no deadline.
func (c *Client) Call(ctx context.Context, namespace, name, method string, args ...any) (any, error) {
	key := actorKey{namespace, name}
	second := c.second.Load()
	direct, noDirect := second.direct, second.reason
	why := DetourOff
	switch {
	case c.mode == DirectOff:
	case direct != nil:
		v, err := direct.callOr(ctx, key, method, args, c.session != nil && c.mode != DirectRequire)
		c.doubt(err)
		if why = detourFor(err); why == "" || ctx.Err() != nil || c.session == nil || c.mode == DirectRequire {
			c.viaDirect.Add(1)
			return v, err
		}
	case c.mode == DirectRequire:
		err := ErrUnreachable
		if noDirect != nil {
			err = fmt.Errorf("%w: there is no direct path: %w", ErrUnreachable, noDirect)
		}
		return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
	default:
		why = DetourNoPath
	}
	if c.session == nil {
		err := ErrNoSession
		if direct == nil && noDirect != nil {
			err = fmt.Errorf("%w, and no direct path: %w", ErrNoSession, noDirect)
		}
		return nil, &CallError{Target: key.method(method), Sent: SentNo, Err: err}
	}
	c.detours[slices.Index(detours[:], why)].Add(1)
	v, err := c.callBySession(ctx, key, method, args)
	c.doubt(err)
	return v, err
}

// detourFor tells for which reason, that the session does not have, a direct call failed unsent; empty for others.
func detourFor(err error) Detour {
	switch {
	case err == nil, SentOf(err) != SentNo:
		return ""
	case errors.Is(err, ErrUnreachable):
		return DetourUnreachable
	case errors.Is(err, ErrGCSUnavailable), errors.Is(err, ErrClusterReplaced):
		return DetourGCS
	case errors.Is(err, ErrUnsupportedValue):
		return DetourValue
	}
	return ""
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
