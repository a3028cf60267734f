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
	DefaultUploadTimeout     = 2 * time.Minute
	DefaultTaskTimeout       = 30 * time.Second
	DefaultCallTimeout       = 5 * time.Second
	DefaultReconcileInterval = 5 * time.Second
	DefaultProbeInterval     = 5 * time.Second
	DefaultUnresponsiveAfter = time.Minute
)

const (
	firstRetry, slowestRetry = time.Second, 15 * time.Second
	// startsAtOnce bounds the actors that are created side by side: each start runs a Python process for a moment.
	startsAtOnce = 4
	// asksAtOnce bounds the questions to actors that are asked side by side.
	asksAtOnce = 32
)

// Conditions that callers test for with errors.Is.
var (
	// ErrNotReady means: the connection is down, or what was asked for was not brought up yet. Nothing was sent.
	ErrNotReady = errors.New("organism: not initialized")
	// ErrUnknownOrgan means: no organ of that id is configured. Nothing was sent.
	ErrUnknownOrgan = errors.New("organism: unknown organ")
	// ErrNameTaken means: an actor of another class has the name.
	ErrNameTaken = errors.New("organism: the actor name is taken")
	// ErrNoGCS means: the question needs the cluster's control store, which is not reachable from here.
	ErrNoGCS = errors.New("organism: the cluster's control store is not reachable from here")
)

// Options tunes an Organism. The zero value works.
type Options struct {
	// Binary is the program that hosts the actors on the cluster: a Linux executable that calls seedcore.Main, or several
	// for nodes of different kinds, as in "linux/amd64=path,linux/arm64=path", of which each node starts its own. Default: the
	// running program.
	Binary string
	// StartTimeout bounds the start of one actor, from its creation to its first answer. Default 60 s.
	StartTimeout time.Duration
	// UploadTimeout bounds the upload of the program, which is not part of a start. Default 2 min.
	UploadTimeout time.Duration
	// TaskTimeout bounds a task whose context has no earlier deadline. Default 30 s.
	TaskTimeout time.Duration
	// CallTimeout bounds a question to an actor other than a task. Default 5 s.
	CallTimeout time.Duration
	// NoCPU makes actors that reserve no CPU, for trials on a cluster that is full. Otherwise each reserves 0.1.
	NoCPU bool
	// ReconcileInterval is the time between two looks at what runs. Default 5 s.
	ReconcileInterval time.Duration
	// ProbeInterval is the time from the start of one round in which every actor is asked for an answer to the start of the
	// next; a round takes CallTimeout when one does not answer. That an actor is silent is told after two rounds: within
	// ProbeInterval and twice CallTimeout. Default 5 s.
	ProbeInterval time.Duration
	// UnresponsiveAfter is how long an actor must have left every probe unanswered, three at least, before it is killed by
	// name, so that Ray starts it again. It is also the least time between two such kills by one Organism: several servers
	// do not wait for each other. An actor that is at work answers, however long that takes. Default 1 min; negative:
	// nothing is ever killed.
	UnresponsiveAfter time.Duration
	// Logger takes one line an event. Default: discard.
	Logger *slog.Logger
}

// Organism keeps the configured singletons, organs and agents alive on the cluster, as named detached actors in the
// connection's namespace, and gives them tasks. Run does the first, on every session anew; the other methods only use
// what Run has brought up. It is safe for concurrent use.
//
// The cluster's actor names are the truth: what already runs under a name is adopted if it is of the right class,
// whoever made it, and nothing is made under a name that is taken. An adopted actor that another program or another
// configuration made goes on running and is told as outdated in Health; see ReplaceOutdated.
type Organism struct {
	config Config
	opts   Options
	conn   *connector.Connector
	log    *slog.Logger
	// classes of the configured actors, by name.
	classes map[string]string

	packaging sync.Mutex   // guards program
	program   *ray.Package // nil until it is needed
	uploading sync.Mutex   // held while the program is uploaded

	mu      sync.Mutex        // guards what follows
	look    Health            // what the last look found
	changed chan struct{}     // closed and replaced when look or silent changes
	silent  map[string]string // actors that do not answer, with what is known of them
	killed  int               // actors that were killed since they did not answer
	session string            // where Run is, see enter
	cluster string            // the cluster of that session; empty while it is not known
	met     map[string]error  // names that were asked for an answer there: nil when the actor is ours, else why it is not
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
		{&opts.UploadTimeout, DefaultUploadTimeout},
		{&opts.ProbeInterval, DefaultProbeInterval},
		{&opts.UnresponsiveAfter, DefaultUnresponsiveAfter},
	} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
		if *d.field < 0 && d.field != &opts.UnresponsiveAfter {
			return nil, fmt.Errorf("organism: a negative duration in the options: %s", *d.field)
		}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	classes := map[string]string{}
	for _, spec := range append(singletons(), config.specs()...) {
		classes[spec.name] = spec.class
	}
	return &Organism{
		config: config, opts: opts, conn: conn, log: opts.Logger, classes: classes,
		look:    Health{Problem: "not started"},
		changed: make(chan struct{}),
		met:     map[string]error{},
	}, nil
}

// Config returns what the organism was made from.
func (o *Organism) Config() Config { return o.config }

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
	k, specs := o.newKeeper(client, 0), singletons()
	return each(len(specs), startsAtOnce, func(i int) error { return k.ensure(ctx, specs[i]) })
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
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer cancel(nil)
	helpers.Go(func() {
		select {
		case <-client.Session().Done():
			cancel(client.Session().Err())
		case <-ctx.Done():
		}
	})
	k := o.newKeeper(client, epoch)
	k.log = o.log.With("epoch", epoch)
	k.lost = func(err error) { o.observe(k, err) }
	defer k.tries.Wait()
	defer cancel(nil)
	o.enter(client.Session().ID(), k.cluster()) // before anything asks what was met
	p := newProber(k)
	helpers.Go(func() { p.run(ctx) })
	delay := firstRetry
	for ctx.Err() == nil {
		o.enter(client.Session().ID(), k.cluster())
		err := k.reconcile(ctx)
		if ctx.Err() != nil {
			break
		}
		o.observe(k, err)
		next := o.opts.ReconcileInterval
		if err != nil {
			next, delay = min(delay, next), min(2*delay, slowestRetry)
		} else {
			delay = firstRetry
		}
		if !k.settle(ctx, next) { // what comes up is seen at once
			rest(ctx, next)
		}
	}
	if parent.Err() == nil {
		o.observe(k, fmt.Errorf("the session ended: %w", context.Cause(ctx)))
	}
}

// rest waits for d or until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// packaged is the program that hosts the actors, as it is uploaded, for all platforms that there is one for. It is read once.
func (o *Organism) packaged() (*ray.Package, error) {
	o.packaging.Lock()
	defer o.packaging.Unlock()
	if o.program == nil {
		list := o.opts.Binary
		if list == "" {
			list = runningProgram
		}
		programs, err := ray.BinaryPackages(list)
		var program *ray.Package
		if err == nil {
			program, err = ray.JoinPackages(programs...)
		}
		if err != nil {
			return nil, fmt.Errorf("%w (--worker-binary or Options.Binary names another program)", err)
		}
		o.program = program
	}
	return o.program, nil
}

// upload makes the program that hosts the actors available in the cluster. One at a time: of many creations at once the
// first uploads, and the others find it there.
func (o *Organism) upload(ctx context.Context, session *ray.Session) (uri string, err error) {
	program, err := o.packaged()
	if err != nil {
		return "", err
	}
	o.uploading.Lock()
	defer o.uploading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, o.opts.UploadTimeout)
	defer cancel()
	uri, err = session.UploadPackage(ctx, program)
	if errors.Is(err, ray.ErrUnsupportedBinary) {
		return "", fmt.Errorf("%w, and name it by --worker-binary linux/ARCH=PATH or Options.Binary", err)
	}
	return uri, err
}

// runningProgram is this process's own program, also after its file was replaced by another version.
const runningProgram = "/proc/self/exe"
