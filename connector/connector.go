package connector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// ErrNotConnected means: there is no connection at this moment; Info tells why.
var ErrNotConnected = errors.New("connector: not connected to Ray")

// ErrClosed means: Close was called.
var ErrClosed = errors.New("connector: closed")

// Connector is the one connection of a process. It is safe for concurrent use.
type Connector struct {
	cfg Config
	log *slog.Logger

	owner context.Context    // the owner goroutine's; ends with Close
	stop  context.CancelFunc // ends owner
	kick  chan struct{}      // wakes the owner from a pause; capacity 1

	background sync.WaitGroup // what the owner started and waits for
	path       path           // the owner's; Close takes it over
	lastGood   int            // the owner's: which of the addresses worked last
	bulk       bulkLane
	// The owner's: the id of the cluster that was last connected to, and why the last session is over.
	lastCluster, ended string
	asked              <-chan gcsAnswer // the owner's: a check of the GCS without a session; nil while there is none
	refusal            *ConnectError    // the owner's: the newest

	subscribers subscribers
	present     atomic.Pointer[snapshot]    // never nil
	cluster     atomic.Pointer[observation] // nil before the first reading; written by observe

	mu         sync.Mutex // guards everything below; client is written by the owner alone
	started    bool       // the owner runs
	persistent bool       // the owner goes on after a failed attempt
	reset      bool       // the owner is to replace the session
	draining   bool       // new work is refused
	underWay   int        // pieces of work that have begun
	hooks      []namedHook
	stat       Stat
	info       Info
	client     *ray.Client
	attempt    *attempt      // the attempt under way, or else the next one
	failure    string        // the kind of the newest failure to connect; empty after a success
	told       string        // the kind that was logged last
	untold     []Event       // what is to be told
	telling    bool          // a goroutine tells them
	changed    chan struct{} // closed and replaced whenever info changes
	drained    chan struct{} // closed when underWay reaches 0; nil while nobody waits for that
	ownerDone  chan struct{} // closed when the owner has returned; path is Close's then
	allDone    chan struct{} // closed when what the owner started has returned too
}

// attempt is one try to connect, shared by all who wait for it.
type attempt struct {
	done chan struct{}
	err  error // set before done is closed
}

func newAttempt() *attempt { return &attempt{done: make(chan struct{})} }

// New checks the configuration and makes a connector. It opens nothing. All problems are reported together, each as a
// *ConfigError.
func New(cfg Config) (*Connector, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Connector{
		cfg:       cfg,
		log:       cfg.Logger,
		kick:      make(chan struct{}, 1),
		attempt:   newAttempt(),
		changed:   make(chan struct{}),
		ownerDone: make(chan struct{}),
		allDone:   make(chan struct{}),
		bulk:      newBulkLane(cfg),
		info:      Info{State: StateDisconnected, Since: time.Now(), Address: cfg.Address, NamespaceAsked: cfg.Namespace, Namespace: cfg.Namespace, DirectMode: cfg.Direct},
	}
	c.owner, c.stop = context.WithCancel(context.Background())
	c.publish()
	cfg.Metrics.Attached(c)
	return c, nil
}

// Start keeps the connection up in the background: it connects, watches, and connects again for as long as it takes,
// until Close. It returns at once and may be called more than once.
func (c *Connector) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.persistent {
		c.persistent = true
		c.wake() // it may rest after an attempt that Connect asked for
	}
	c.run()
}

// run starts the owner once; c.mu is held.
func (c *Connector) run() {
	if c.started || c.info.State.ends() {
		return
	}
	c.started = true
	go c.supervise()
}

// Connect returns when the connection is up: at once when it is, else with the outcome of the attempt that is under way
// or of one that it causes. All callers of one moment share one attempt, each under its own context; when ctx ends
// first, the attempt goes on for the others. A failure is not remembered: the next call tries again.
//
// Connect alone makes one attempt, at each address, and after a failure nothing goes on behind it; with Start, before or
// after, the attempts go on. Once one has succeeded, the connection is kept up until Close, as Start does it.
func (c *Connector) Connect(ctx context.Context) error {
	c.mu.Lock()
	if !c.draining && c.info.Session.Answers && !c.reset && c.client.Session().Err() == nil {
		c.mu.Unlock()
		return nil
	}
	return c.await(ctx)
}

// Reset replaces the session by a new one, also when the present one is fine, and returns when the new one is up. Refs
// and handles of the old session fail with ray.ErrStaleSession or ray.ErrSessionLost. Without a connection it is Connect. A
// WithBulk under way goes on with its session, and the next one has another; with Config.MaxSessions of 1 they share this one.
func (c *Connector) Reset(ctx context.Context) error {
	c.mu.Lock()
	c.reset = c.reset || c.refused() == nil && c.info.SessionID != ""
	return c.await(ctx)
}

// await wakes the owner and waits for the outcome of the current attempt. It is entered with c.mu held and unlocks it.
func (c *Connector) await(ctx context.Context) error {
	if err := c.refused(); err != nil {
		c.mu.Unlock()
		return err
	}
	c.run()
	a := c.attempt
	c.wake()
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.err
	case <-c.owner.Done():
		return ErrClosed
	case <-ctx.Done():
		switch info := c.Info(); {
		case info.LastError != "":
			return fmt.Errorf("connector: connect: %w (%s)", ctx.Err(), info.LastError)
		case info.State == StateConnecting:
			return fmt.Errorf("connector: connect: %w: the attempt at %s has neither come up nor failed by now", ctx.Err(), info.Resolved)
		}
		return fmt.Errorf("connector: connect: %w", ctx.Err())
	}
}

// wake asks the owner to act now; c.mu is held.
func (c *Connector) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// refused tells whether nothing new may be begun, and why; c.mu is held.
func (c *Connector) refused() error {
	switch {
	case c.info.State.ends():
		return ErrClosed
	case c.draining:
		return errDraining
	}
	return nil
}

// now is Client with c.mu held.
func (c *Connector) now() (*ray.Client, error) {
	err := c.refused()
	switch {
	case err != nil:
		return nil, err
	case c.client == nil && c.info.LastError != "":
		return nil, fmt.Errorf("%w: %s", ErrNotConnected, c.info.LastError)
	case c.client == nil:
		return nil, ErrNotConnected
	}
	return c.client, nil
}

// WaitSession waits for a session whose epoch is above after, and returns its client and epoch. When ctx ends first the error
// tells where the connection stands.
func (c *Connector) WaitSession(ctx context.Context, after uint64) (*ray.Client, uint64, error) {
	for {
		c.mu.Lock()
		client, info, changed, err := c.client, c.info, c.changed, c.refused()
		c.mu.Unlock()
		switch {
		case err != nil:
			return nil, 0, err
		case info.Epoch > after && info.Session.Answers:
			return client, info.Epoch, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, 0, fmt.Errorf("connector: wait for a session after epoch %d: %s: %w", after, info.standing(), ctx.Err())
		}
	}
}

// Close ends the connection for good: it stops the supervisor, lets calls under way end until ctx does, and closes the
// sessions on the server. A hook that goes on although its context ended is an error once ctx ends, and keeps running; the
// rest is closed all the same. Connections on which not a byte can be written take some 5 s more. Close is idempotent; a later
// call returns at once.
func (c *Connector) Close(ctx context.Context) error {
	c.mu.Lock()
	if c.info.State.ends() {
		c.mu.Unlock()
		return nil
	}
	started := c.started
	c.set(func(i *Info) { i.State = StateClosing })
	c.stop()
	c.unlock()
	var err error
	if started {
		<-c.ownerDone // all that it does itself ends with c.owner
		select {
		case <-c.allDone:
		case <-ctx.Done():
			err = fmt.Errorf("connector: close: a hook of the session still runs: %w", ctx.Err())
		}
	}
	// At once, as far as they do not need each other: gRPC gives each connection on which nothing can be written 5 s.
	var closing sync.WaitGroup
	var bulk, direct, gcs, session error
	closing.Go(func() { bulk = c.bulk.close(ctx) })
	direct = c.path.closeDirect(ctx)
	closing.Go(func() { gcs = c.path.closeGCS() })
	if c.client != nil {
		session = c.client.Session().Close(ctx)
	}
	closing.Wait()
	err = errors.Join(err, bulk, direct, gcs, session)
	c.mu.Lock()
	defer c.unlock()
	c.set(func(i *Info) {
		i.State = StateClosed
		i.GCS.Answers = false
		i.forgetSession()
	})
	return err
}
