package raytest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seedcore/seedcore/internal/rayhead"
)

const (
	// Generous: several heads may start on two busy cores.
	startTimeout = 4 * time.Minute
	stopTimeout  = 30 * time.Second
	logicalCPUs  = 8
	objectStore  = 100 << 20
)

// shared is the head of the test binary, and how to start it.
var shared struct {
	once sync.Once
	cfg  rayhead.Config // set by Main, before any test
	head *rayhead.Head  // set by once
	err  error          // set by once
}

// An Option changes what Main does.
type Option func(*options)

type options struct {
	head    func(*rayhead.Config)
	leaks   bool
	ignored []goleak.Option
	ends    []func()
}

// WithDashboard starts the shared head with Ray's dashboard, which serves the state API too.
func WithDashboard() Option {
	return WithHead(func(cfg *rayhead.Config) { cfg.Dashboard = true })
}

// WithHead lets change change the shared head's configuration before it is started.
func WithHead(change func(*rayhead.Config)) Option {
	return func(o *options) {
		before := o.head
		o.head = func(cfg *rayhead.Config) { before(cfg); change(cfg) }
	}
}

// WithEnd runs f once the tests and examples are over, before the shared head is stopped.
func WithEnd(f func()) Option {
	return func(o *options) { o.ends = append(o.ends, f) }
}

// WithLeakCheck fails the run if goroutines are left after it, once the shared head is stopped.
func WithLeakCheck(ignored ...goleak.Option) Option {
	return func(o *options) {
		o.leaks = true
		o.ignored = append(o.ignored, ignored...)
	}
}

// Main runs the tests, stops the shared head if a test has started it, and exits. Call it from TestMain.
func Main(m *testing.M, opts ...Option) {
	o := options{head: func(*rayhead.Config) {}}
	for _, opt := range opts {
		opt(&o)
	}
	shared.cfg = rayhead.Config{NumCPUs: logicalCPUs, ObjectStoreMemory: objectStore}
	o.head(&shared.cfg)

	code := m.Run()
	for _, end := range o.ends {
		end()
	}
	for _, end := range slices.Backward(ofExamples) {
		end()
	}
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "raytest:", err)
		code = max(code, 1)
	}
	if o.leaks && code == 0 {
		if err := goleak.Find(o.ignored...); err != nil {
			fmt.Fprintln(os.Stderr, "raytest: goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func stopShared() error {
	// A run without a test that needs Ray must not start it now.
	shared.once.Do(func() { shared.err = fmt.Errorf("raytest: the tests are over") })
	if shared.head == nil {
		return nil
	}
	if err := shared.head.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return shared.head.Stop(ctx)
}

// Head returns the head that all tests of this test binary share, and starts it at the first call. It has 8 logical
// CPUs, a small object store and, unless Main was told otherwise, no dashboard. Tests must not stop it.
func Head(t testing.TB) *rayhead.Head {
	t.Helper()
	cfg := shared.cfg
	if cfg.NumCPUs == 0 {
		t.Fatal("raytest: this package has no TestMain that calls raytest.Main")
	}
	shared.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if cfg, shared.err = complete(cfg); shared.err == nil {
			shared.head, shared.err = start(ctx, cfg)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	if err := shared.head.Err(); err != nil {
		t.Fatal(err)
	}
	return shared.head
}

// Example is what Head, NewHead and NewAuthority need of a test, in an example of the documentation. What would fail a test
// panics, and what a test cleans up stays until the end of the test binary.
type Example struct{ testing.TB }

// ofExamples is what examples leave to be cleaned up. They run one after the other.
var ofExamples []func()

// Helper does nothing.
func (Example) Helper() {}

// Fatal panics.
func (Example) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Context never ends.
func (Example) Context() context.Context { return context.Background() }

// Cleanup has Main run f when the tests and examples are over.
func (Example) Cleanup(f func()) { ofExamples = append(ofExamples, f) }

// TempDir makes a directory that is there until the end of the test binary.
func (e Example) TempDir() string {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		e.Fatal(err)
	}
	e.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// NewHead starts a head of the test's own, which the test may stop or kill; what is left of it at the end of the test
// is killed. Fields of cfg that are zero are set as for the shared head. To bring a killed head back at the same
// addresses, pass its Ports. It waits for other tests that have one: see OnlyHead.
func NewHead(t testing.TB, cfg rayhead.Config) *rayhead.Head {
	t.Helper()
	OnlyHead(t)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	cfg, err := complete(cfg)
	if err != nil {
		t.Fatal(err)
	}
	head, err := start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(head.Kill)
	return head
}

// AddNode adds a node to a head; what is left of it at the end of the test is killed.
func AddNode(t testing.TB, head *rayhead.Head, cfg rayhead.NodeConfig) *rayhead.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	node, err := patiently(func() (*rayhead.Node, error) { return head.AddNode(ctx, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Kill)
	return node
}

func start(ctx context.Context, cfg rayhead.Config) (*rayhead.Head, error) {
	if cfg.Dashboard { // before 2.54 the time is 20 seconds, whatever one says
		cfg.Env = append([]string{"RAY_DASHBOARD_STARTUP_TIMEOUT_S=120", "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT=120"}, cfg.Env...)
	}
	return patiently(func() (*rayhead.Head, error) { return rayhead.Start(ctx, cfg) })
}

// patiently tries up to three times: `ray start` ends when the raylet or the dashboard is not up in time, which on a busy
// machine says nothing.
func patiently[T any](start func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		started, err := start()
		if !errors.Is(err, rayhead.ErrEnded) || attempt == 3 {
			return started, err
		}
	}
}

// only is held by the test that has a head of its own.
var only = struct {
	turn chan struct{}
	mu   sync.Mutex // guards test
	test testing.TB // whose turn it is, or nil
}{turn: make(chan struct{}, 1)}

// OnlyHead waits until no other test of this binary has a head of its own, and keeps others waiting until the end of
// this test. Call it before a head is started by other means than NewHead; a test may call it again.
//
// Two heads that have just started must not open sessions at the same moment in one network: each looks for a free port
// for the session's process, from 23000 on, and the processes bind it with SO_REUSEPORT, so that both get it and either
// one answers for the other. (Ray's proxier.py, _get_unused_port.) The shared head is past the first ports by then.
func OnlyHead(t testing.TB) {
	t.Helper()
	only.mu.Lock()
	mine := only.test == t
	only.mu.Unlock()
	if mine {
		return
	}
	select {
	case only.turn <- struct{}{}:
	case <-t.Context().Done():
		t.Fatal("raytest: the test ended while it waited for its turn to have a head")
	}
	setHolder(t)
	t.Cleanup(func() {
		setHolder(nil)
		<-only.turn
	})
}

func setHolder(t testing.TB) {
	only.mu.Lock()
	defer only.mu.Unlock()
	only.test = t
}

// complete sets what every head of a test has.
func complete(cfg rayhead.Config) (rayhead.Config, error) {
	if cfg.Python == "" {
		python, err := venvPython()
		if err != nil {
			return cfg, err
		}
		cfg.Python = python
	}
	if cfg.NumCPUs == 0 {
		cfg.NumCPUs = logicalCPUs
	}
	if cfg.ObjectStoreMemory == 0 {
		cfg.ObjectStoreMemory = objectStore
	}
	path, err := pythonPath()
	if err != nil {
		return cfg, err
	}
	// First, so that the caller's own PYTHONPATH wins.
	cfg.Env = append([]string{"PYTHONPATH=" + path}, cfg.Env...)
	return cfg, nil
}

// Root returns the directory of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// root is looked for once: a test may change its directory.
var root = sync.OnceValues(func() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("raytest: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("raytest: no go.mod in %s or above", start)
		}
	}
})
