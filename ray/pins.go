package ray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// maxPins bounds the packages that a session keeps in the cluster.
	maxPins = 100
	// pinned is how long Ray keeps a package that nothing uses yet: its own drivers ask for the same.
	pinned = 10 * time.Minute
)

// ErrPackageGone means: the cluster does not have a package that a runtime environment names, or not any more. It comes with
// ErrRuntimeEnvSetup when Open or a node found out, or without when the session did and could not bring the package back,
// since its files are gone or changed: nothing was sent then. Upload it again (UploadPackage), from a new Package if the files changed.
// A node that found out refuses the same environment for another ten minutes, whatever is uploaded: one that differs, in
// EnvVars for example, is set up at once.
var ErrPackageGone = errors.New("ray: the cluster does not have the package, upload it again")

// pins are the packages that a session uploaded last, which it keeps in the cluster while it lives: Ray drops a package that
// is not pinned any more, although tasks and actors need it, unless a job or a detached actor names it.
type pins struct {
	added chan struct{} // has room for one signal that there is another package

	mu   sync.Mutex // guards kept and the fields of its pins
	kept []*pin     // at most maxPins, the one that was uploaded longest ago first
}

type pin struct {
	pkg   *Package
	since time.Time // when it was pinned last
	// failed tells that it could not be pinned again since; retry is when that is worth another attempt.
	failed bool
	retry  time.Time
	// renewing admits one renewal at a time.
	renewing chan struct{}
}

func newPins() *pins { return &pins{added: make(chan struct{}, 1)} }

// add remembers a package that was uploaded.
func (p *pins) add(pkg *Package, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.DeleteFunc(p.kept, func(k *pin) bool { return k.pkg.hash == pkg.hash })
	if len(p.kept) == maxPins {
		p.kept = slices.Delete(p.kept, 0, 1)
	}
	p.kept = append(p.kept, &pin{pkg: pkg, since: since, renewing: make(chan struct{}, 1)})
	select {
	case p.added <- struct{}{}:
	default:
	}
}

// find returns the pin of a package; nil if the session did not upload it, or more than it remembers after it.
func (p *pins) find(uri string) *pin {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.kept {
		if k.pkg.URI() == uri {
			return k
		}
	}
	return nil
}

// left is how much of a time is left since then, by whichever clock says less: the monotonic one stops while the machine
// sleeps, and the other one may be set back.
func left(since time.Time, of time.Duration) time.Duration {
	return of - max(time.Since(since), time.Now().Round(0).Sub(since.Round(0)))
}

// isDue tells whether half of the time of a pin is over.
func (p *pins) isDue(k *pin, of time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return left(k.since, of/2) <= 0
}

// next returns a pin to renew, or how long to wait for one.
func (p *pins) next(of time.Duration) (due *pin, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = of
	for _, k := range p.kept {
		in := max(left(k.since, of/2), time.Until(k.retry))
		if in <= 0 {
			return k, 0
		}
		wait = min(wait, in)
	}
	return nil, wait
}

// renewed takes note of an attempt, and reports whether it is the first that failed.
func (p *pins) renewed(k *pin, since time.Time, of time.Duration, err error) (news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		k.since, k.failed = since, false
		return false
	}
	news = !k.failed
	k.failed, k.retry = true, time.Now().Add(of/20)
	return news
}

// keepPackages renews pins until the session is over.
func (s *Session) keepPackages() {
	for {
		k, wait := s.pins.next(s.cfg.bounds.pinned)
		if k == nil {
			select {
			case <-s.ctx.Done():
				return
			case <-s.pins.added:
			case <-time.After(wait):
			}
			continue
		}
		if s.ctx.Err() != nil {
			return
		}
		_ = s.renew(s.ctx, k) // what is wrong was logged, and whoever needs the package is told
	}
}

// renew pins a package again, and uploads it if Ray dropped it, unless that was done meanwhile.
func (s *Session) renew(ctx context.Context, k *pin) error {
	of := s.cfg.bounds.pinned
	select {
	case k.renewing <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx)
	}
	defer func() { <-k.renewing }()
	if !s.pins.isDue(k, of) {
		return nil
	}
	since := time.Now()
	gone, err := s.store(ctx, k.pkg)
	if gone {
		err = fmt.Errorf("%w: %s: %w", ErrPackageGone, k.pkg.URI(), err)
	}
	if ctx.Err() != nil || s.closing.Load() {
		return err
	}
	if s.pins.renewed(k, since, of, err) {
		s.cfg.Logger.Warn("a package could not be kept in the cluster; trying again", "package", k.pkg.URI(), "session", s.id, "cause", err)
	}
	return err
}

// havePackages sees to it that the cluster has the packages of an environment, as far as the session uploaded them.
func (s *Session) havePackages(ctx context.Context, env *RuntimeEnv) error {
	if env == nil {
		return nil
	}
	for _, uri := range append([]string{env.WorkingDir}, env.PyModules...) {
		k := s.pins.find(uri)
		if k == nil || !s.pins.isDue(k, s.cfg.bounds.pinned) {
			continue
		}
		if err := s.renew(ctx, k); err != nil {
			return fmt.Errorf("runtime env: %w", err)
		}
	}
	return nil
}
