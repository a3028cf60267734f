package organism

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// Defaults of Options.
const (
	DefaultStartTimeout      = 60 * time.Second
	DefaultTaskTimeout       = 30 * time.Second
	DefaultReconcileInterval = 5 * time.Second
	DefaultCallTimeout       = 5 * time.Second
)

const (
	firstRetry, slowestRetry = time.Second, 15 * time.Second
	// startsAtOnce bounds the actors that are created side by side: each start runs a Python process for a moment.
	startsAtOnce = 4
)

// ErrNotReady means: the organism does not stand yet, or not any more; Health tells why.
var ErrNotReady = errors.New("organism: not initialized")

// ErrUnknownOrgan means: no organ of that id is configured.
var ErrUnknownOrgan = errors.New("organism: unknown organ")

// Options tunes an Organism. The zero value works.
type Options struct {
	// Binary is the program that hosts the actors on the cluster: a Linux executable that calls seedcore.Main. Default:
	// the running program.
	Binary string
	// StartTimeout bounds the start of one actor, from its creation to its first answer. Default 60 s.
	StartTimeout time.Duration
	// TaskTimeout bounds a task whose context has no earlier deadline. Default 30 s.
	TaskTimeout time.Duration
	// CallTimeout bounds a question to an actor other than a task. Default 5 s.
	CallTimeout time.Duration
	// ReconcileInterval is the time between two looks at what runs. Default 5 s.
	ReconcileInterval time.Duration
	// Logger takes one line an event. Default: discard.
	Logger *slog.Logger
}

// Organism keeps the configured singletons, organs and agents alive on the cluster, as named detached actors in the
// connection's namespace, and gives them tasks. Run does the first, on every session anew; the other methods only use
// what Run has brought up. It is safe for concurrent use.
//
// The cluster's actor names are the truth: what already runs under a name is adopted, whoever made it, and creation
// means "get if it exists".
type Organism struct {
	config Config
	opts   Options
	conn   *connector.Connector
	log    *slog.Logger

	uploading sync.Mutex   // held while the program is uploaded; guards program
	program   *ray.Package // nil until it is needed

	mu      sync.Mutex // guards health and changed
	health  Health
	changed chan struct{} // closed and replaced when health changes
}

// Health is what the last look at the organism found.
type Health struct {
	// OK: everything that is configured runs.
	OK bool `json:"ok"`
	// Epoch is the connection's epoch for which it was brought up; 0 before the first time.
	Epoch uint64 `json:"epoch"`
	// Problem says what is missing; empty when OK.
	Problem string `json:"problem,omitempty"`
	// Observed is when that was seen.
	Observed time.Time `json:"observed,omitzero"`
	// Created and Adopted count the actors that this process made and found, on the present epoch.
	Created int `json:"created"`
	Adopted int `json:"adopted"`
}

// New makes an organism on a connection, which it does not own. It does no I/O.
func New(conn *connector.Connector, config Config, opts Options) (*Organism, error) {
	if len(config.Organs) == 0 {
		return nil, errors.New("organism: the configuration has no organs: take one from LoadConfig or DefaultConfig")
	}
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{
		{&opts.StartTimeout, DefaultStartTimeout},
		{&opts.TaskTimeout, DefaultTaskTimeout},
		{&opts.CallTimeout, DefaultCallTimeout},
		{&opts.ReconcileInterval, DefaultReconcileInterval},
	} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
		if *d.field < 0 {
			return nil, fmt.Errorf("organism: a negative duration in the options: %s", *d.field)
		}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Organism{
		config: config, opts: opts, conn: conn, log: opts.Logger,
		health:  Health{Problem: "not started"},
		changed: make(chan struct{}),
	}, nil
}

// Config returns what the organism was made from.
func (o *Organism) Config() Config { return o.config }

// Health returns what was last seen. It makes no round trip. After a loss of the connection it says so even before the
// organism itself noticed.
func (o *Organism) Health() Health {
	info := o.conn.Info()
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.health
	switch {
	case !h.OK:
	case info.Epoch != h.Epoch:
		h.OK, h.Problem = false, "a new session is up, the organism is being brought up on it"
	case !info.State.Answers():
		h.OK, h.Problem = false, "the connection is "+string(info.State)
		if info.LastError != "" {
			h.Problem += ": " + info.LastError
		}
	}
	return h
}

// WaitReady returns when everything runs, or with ctx's error and what was missing.
func (o *Organism) WaitReady(ctx context.Context) error {
	for {
		o.mu.Lock()
		changed := o.changed
		o.mu.Unlock()
		h := o.Health()
		if h.OK {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrNotReady, h.Problem, ctx.Err())
		}
	}
}

// Run brings the organism up on every session that the connector opens, and keeps looking after it until ctx ends or the
// connector is closed. What fails is retried for ever, with a growing pause, and is visible in Health. The actors outlive
// Run: they are detached.
func (o *Organism) Run(ctx context.Context) {
	for after := uint64(0); ; {
		client, epoch, err := o.conn.WaitSession(ctx, after)
		if err != nil { // ctx has ended, or the connector is closed
			return
		}
		o.serve(ctx, client, epoch)
		after = epoch
	}
}

// Bootstrap makes the three singletons run, without the organs: it adopts those that do and creates the others, and waits
// until all answer. It may be called at any time and by many processes at once; every caller ends with the same actors.
// Run does this by itself. The connection must be up.
func (o *Organism) Bootstrap(ctx context.Context) error {
	client, err := o.conn.Client()
	if err != nil {
		return err
	}
	k := keeper{organism: o, client: client, namespace: o.conn.Info().Namespace, log: o.log}
	return k.keep(ctx, singletons())
}

// Singletons returns the names of the actors that exist once in a namespace.
func Singletons() []string {
	var names []string
	for _, spec := range singletons() {
		names = append(names, spec.name)
	}
	return names
}

// serve looks after the organism for the life of one session.
func (o *Organism) serve(parent context.Context, client *ray.Client, epoch uint64) {
	ctx, cancel := context.WithCancelCause(parent)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-client.Session().Done():
			cancel(client.Session().Err())
		case <-ctx.Done():
		}
	})
	k := keeper{organism: o, client: client, epoch: epoch, namespace: o.conn.Info().Namespace}
	k.log = o.log.With("epoch", epoch)
	delay := firstRetry
	for ctx.Err() == nil {
		if client, err := o.conn.Client(); err == nil && client.Session() == k.client.Session() {
			k.client = client // direct calls may have become possible
		}
		err := k.reconcile(ctx)
		if ctx.Err() != nil {
			break
		}
		o.observe(&k, err)
		next := o.opts.ReconcileInterval
		if err != nil {
			next, delay = delay, min(2*delay, slowestRetry)
		} else {
			delay = firstRetry
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	if parent.Err() == nil {
		o.observe(&k, fmt.Errorf("the session ended: %w", context.Cause(ctx)))
	}
}

// observe records what a look found. A change is logged once, here.
func (o *Organism) observe(k *keeper, err error) {
	h := Health{OK: err == nil, Epoch: k.epoch, Observed: time.Now(), Created: k.created, Adopted: k.adopted}
	if err != nil {
		h.Problem = err.Error()
	}
	o.mu.Lock()
	before := o.health
	o.health = h
	close(o.changed)
	o.changed = make(chan struct{})
	o.mu.Unlock()
	switch {
	case h.OK && (!before.OK || before.Epoch != h.Epoch):
		k.log.Info("organism is up", "organs", len(o.config.Organs), "actors_created", h.Created, "actors_adopted", h.Adopted, "namespace", k.namespace)
	case !h.OK && h.Problem != before.Problem:
		k.log.Warn("organism is not up", "cause", h.Problem)
	}
}

// upload makes the program that hosts the actors available in the cluster. One at a time: of many creations at once the
// first uploads, and the others find it there.
func (o *Organism) upload(ctx context.Context, session *ray.Session) (uri string, err error) {
	o.uploading.Lock()
	defer o.uploading.Unlock()
	if o.program == nil {
		path := o.opts.Binary
		if path == "" {
			path = runningProgram
		}
		if o.program, err = ray.BinaryPackage(path); err != nil {
			return "", fmt.Errorf("%w (--worker-binary or Options.Binary names another program)", err)
		}
	}
	return session.UploadPackage(ctx, o.program)
}

// runningProgram is this process's own program, also after its file was replaced by another version.
const runningProgram = "/proc/self/exe"
