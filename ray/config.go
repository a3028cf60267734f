package ray

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"time"
)

// Defaults and bounds of a Session.
const (
	// DefaultReconnectGrace is how long a session outlives its connection when Config does not say.
	DefaultReconnectGrace = 30 * time.Second
	// DefaultOpenTimeout bounds Open when its context has no deadline.
	DefaultOpenTimeout = 60 * time.Second
	// MaxInFlight is how many requests of one session may wait for an answer, gets that were given up included: the server
	// answers these too, once the value is there. A quarter of them may wait for one actor.
	MaxInFlight = 10_000
	// MaxInFlightBytes is how many bytes of arguments and values may wait for an answer in one session. A single larger
	// request may go when nothing else waits.
	MaxInFlightBytes = 1 << 30
	// MaxObjectSize is the largest pickled value that a session sends or takes, in bytes. This process holds a value twice
	// while it is put; the server's two processes hold it up to four times, outside the object store.
	MaxObjectSize = 8 << 30
)

// Config says which cluster a Session belongs to. The zero value is not usable: Address and Namespace are required.
type Config struct {
	// Address is host:port of the Ray Client server, by default port 10001 of the head node. A name is resolved anew for
	// every connection.
	Address string
	// Namespace is the Ray namespace of the session's named actors. Required; it is always sent, and Open fails when Ray
	// puts the session into another one.
	Namespace string
	// ReconnectGrace is how long the cluster keeps the session while it is not connected, rounded up to whole seconds.
	// Within it a cut connection is resumed and every request still runs exactly once. Zero: DefaultReconnectGrace. It is
	// no bound on how long a call may take.
	ReconnectGrace time.Duration
	// CallTimeout ends a request whose context has no deadline when nothing came of it for so long: no answer, and no piece
	// of a large value in either direction; one that waits for the value of a task ends when the task takes longer. A
	// request that is one message, such as KVPut, has this for every 5 MiB of it. The error wraps ErrCallTimeout. Zero:
	// DefaultCallTimeout; negative: none.
	CallTimeout time.Duration
	// RuntimeEnv of the session's process and of all its tasks and actors that have none of their own; nil: the cluster's.
	// What it imports (Function) has to be here. One that cannot be set up is ErrRuntimeEnvSetup: do not try it again
	// unchanged, since Ray's server keeps one of its thousand ports for each.
	RuntimeEnv *RuntimeEnv
	// Packages are uploaded before the session begins, so that RuntimeEnv can name their URIs; see UploadPackage.
	Packages []*Package
	// Dial opens the connections; nil: TCP.
	Dial Dialer
	// Credentials of the cluster; nil: plain text, no token. A token that would cross a network in clear text is warned of.
	Credentials *Credentials
	// Epoch numbers the sessions of whoever opens them; it appears in Info and in StaleSessionError, and means nothing to Ray.
	Epoch uint64
	// ClusterLog receives what the session's tasks and actors print, and what the server logs for it, line by line; nil: no
	// log is asked for. Ray also sends lines of processes that belong to no job yet, another client's among them. Lines are
	// lost while the connection is cut. A handler that is slow delays the lines behind.
	ClusterLog *slog.Logger
	// Tracer is told of every operation of the session. Nil: nothing is traced, and nothing spent on it.
	Tracer Tracer
	// Logger receives cuts and resumptions of the connection. Nil: nothing is logged. Errors that are returned are not
	// logged.
	Logger *slog.Logger

	bounds sessionBounds
}

// sessionBounds are bounds that only tests change.
type sessionBounds struct {
	pinned time.Duration // how long Ray keeps a package without a renewal
	init   time.Duration // of the attempt to make the server start its process for the session
}

// withDefaults checks c and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	switch host, port, err := net.SplitHostPort(c.Address); {
	case c.Address == "":
		errs = append(errs, errors.New("address: missing; set host:port of the Ray Client server, such as 127.0.0.1:10001"))
	case strings.Contains(c.Address, "://"):
		errs = append(errs, fmt.Errorf("address: %q has a scheme; give host:port alone", c.Address))
	case err != nil:
		errs = append(errs, fmt.Errorf("address: %w; give host:port", err))
	case host == "" || port == "":
		errs = append(errs, fmt.Errorf("address: %q lacks a host or a port; give host:port", c.Address))
	}
	if c.Namespace == "" {
		errs = append(errs, errors.New("namespace: missing; Ray would make up a new one for every session"))
	}
	switch {
	case c.ReconnectGrace < 0:
		errs = append(errs, fmt.Errorf("reconnect grace: %v is negative", c.ReconnectGrace))
	case c.ReconnectGrace > math.MaxInt32*time.Second:
		errs = append(errs, fmt.Errorf("reconnect grace: %v is too long", c.ReconnectGrace))
	case c.ReconnectGrace == 0:
		c.ReconnectGrace = DefaultReconnectGrace
	default:
		// The wire carries whole seconds, and zero would switch recovery off.
		c.ReconnectGrace = (c.ReconnectGrace + time.Second - 1).Truncate(time.Second)
	}
	c.bounds.pinned, c.bounds.init = cmp.Or(c.bounds.pinned, pinned), cmp.Or(c.bounds.init, initTimeout)
	if c.CallTimeout == 0 {
		c.CallTimeout = DefaultCallTimeout
	}
	if c.RuntimeEnv != nil {
		_, err := c.RuntimeEnv.processOptions()
		if err = errors.Join(c.RuntimeEnv.forActorsOnly(), err); err != nil {
			errs = append(errs, fmt.Errorf("%w: runtime env: %w", ErrInvalidOption, err))
		}
	}
	for i, p := range c.Packages {
		if err := p.check(); err != nil {
			errs = append(errs, fmt.Errorf("packages[%d]: %w", i, err))
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(errs...); err != nil {
		return c, fmt.Errorf("ray: config: %w", err)
	}
	return c, nil
}
