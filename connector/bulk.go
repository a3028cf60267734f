package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// WithBulk runs f with a session of the bulk lane: one beside the main session, so that a large value holds up no call
// there. It is opened when it is first needed, at the address of the main session, shared by the calls of WithBulk that
// overlap, and closed after Config.BulkIdle without any, or once it is of another epoch than the main session. Further ones
// are opened, up to Config.MaxSessions, when all are in use.
//
// Refs and handles belong to the session that made them: use what f makes in f alone, and nothing of the main session in
// it. Named actors and packages are the same in all sessions. The session lives until f has returned, unless it is lost: f's
// calls fail with ray.ErrSessionLost then, the main session goes on, and the next WithBulk opens another. WithBulk does not
// repeat f, and does not end it: it passes f's error on.
//
// Without a main session it fails with ErrNotConnected, and with a *ConnectError if the session cannot be opened. It waits,
// until ctx ends, while the only sessions that are allowed are of an epoch before, and still in use. With Config.MaxSessions
// of 1 there is no bulk lane, and f has the main session.
func (c *Connector) WithBulk(ctx context.Context, f func(session *ray.Session) error) error {
	if f == nil {
		return fmt.Errorf("%w: the function of WithBulk is nil", ray.ErrInvalidOption)
	}
	client, err := c.enter()
	if err != nil {
		return err
	}
	defer c.leave()
	if c.cfg.MaxSessions == 1 {
		return f(client.Session())
	}
	s, err := c.acquireBulk(ctx)
	if err != nil {
		return err
	}
	defer c.bulk.release(s)
	return f(s.session)
}

// BulkStat tells of the sessions of WithBulk.
type BulkStat struct {
	Max     int    `json:"max"`     // as many as there may be
	Opening int    `json:"opening"` // being opened
	InUse   int    `json:"in_use"`  // open, with a WithBulk under way
	Idle    int    `json:"idle"`    // open, without
	Closing int    `json:"closing"` // being closed
	Opened  uint64 `json:"opened"`  // since New
	Closed  uint64 `json:"closed"`  // since New, the lost ones included
	Lost    uint64 `json:"lost"`    // since New
	Failed  uint64 `json:"failed"`  // attempts to open one that failed
	// BytesSent and BytesCame are those of ray.SessionStats, of all sessions since New.
	BytesSent int64 `json:"bytes_sent"`
	BytesCame int64 `json:"bytes_came"`
}

// bulkLane is the pool of the bulk lane's sessions.
type bulkLane struct {
	max  int
	idle time.Duration // how long a session without users is kept

	background sync.WaitGroup  // openings and closings, which begin under mu and before closed
	farewells  context.Context // of closings
	hurry      context.CancelFunc

	mu       sync.Mutex // guards what follows
	epoch    uint64     // of the main session: sessions of another one get no new users
	sessions []*bulkSession
	changed  chan struct{} // closed and replaced whenever a session comes, goes, or has a user less
	closed   bool
	stat     BulkStat // its counters
}

// bulkSession is one session of the lane. Its fields are guarded by bulkLane.mu, but for session and err after ready.
type bulkSession struct {
	epoch   uint64
	ready   chan struct{} // closed when session or err is set
	session *ray.Session
	err     error
	users   int
	unused  *time.Timer // runs while there are no users
	closing bool
}

func newBulkLane(cfg Config) bulkLane {
	farewells, hurry := context.WithCancel(context.Background())
	return bulkLane{max: cfg.MaxSessions - 1, idle: cfg.BulkIdle, farewells: farewells, hurry: hurry, changed: make(chan struct{})}
}

// opened tells whether a session is there or could not be had.
func (s *bulkSession) opened() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// lost tells whether the cluster has nothing of s any more.
func (s *bulkSession) lost() bool { return s.opened() && (s.err != nil || s.session.Err() != nil) }

// alive counts the sessions that the cluster keeps something for; l.mu is held.
func (l *bulkLane) alive() int {
	n := 0
	for _, s := range l.sessions {
		if !s.lost() {
			n++
		}
	}
	return n
}

// usable tells whether s may get another user; l.mu is held.
func (l *bulkLane) usable(s *bulkSession) bool {
	return !s.closing && s.epoch == l.epoch && !s.lost()
}

// acquireBulk gives the caller a session that is open, and counts it among its users.
func (c *Connector) acquireBulk(ctx context.Context) (*bulkSession, error) {
	for {
		address, epoch, err := c.mainSession()
		if err != nil {
			return nil, err
		}
		s, changed, err := c.bulk.pick(epoch, func(s *bulkSession) { c.openBulk(s, address) })
		if err != nil {
			return nil, err
		}
		if s == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("connector: all sessions of the bulk lane are of an epoch before, and in use: %w", ctx.Err())
			}
		}
		select {
		case <-s.ready:
			if err = s.err; err == nil {
				return s, nil
			}
		case <-ctx.Done():
			err = fmt.Errorf("connector: open a session of the bulk lane: %w", ctx.Err())
		}
		c.bulk.release(s)
		return nil, err
	}
}

// mainSession tells where the main session is, and its epoch.
func (c *Connector) mainSession() (address string, epoch uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.info.State.ends():
		return "", 0, ErrClosed
	case c.info.SessionID == "":
		return "", 0, fmt.Errorf("%w: %s", ErrNotConnected, cmp.Or(c.info.LastError, string(c.info.State)))
	}
	return c.info.Resolved, c.info.Epoch, nil
}

// pick chooses a session and adds a user to it: one without users, or a new one, or the one that has the fewest. Without any
// that is usable it returns nil, and what to wait for.
func (l *bulkLane) pick(epoch uint64, open func(*bulkSession)) (*bulkSession, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	l.renew(epoch)
	var best *bulkSession
	for _, s := range l.sessions {
		if l.usable(s) && (best == nil || s.users < best.users) {
			best = s
		}
	}
	if (best == nil || best.users > 0) && l.alive() < l.max {
		best = &bulkSession{epoch: epoch, ready: make(chan struct{})}
		l.sessions = append(l.sessions, best)
		l.background.Go(func() { open(best) })
	}
	if best == nil {
		return nil, l.changed, nil
	}
	best.users++
	if best.unused != nil {
		best.unused.Stop()
	}
	return best, nil, nil
}

// openBulk opens a session that was added to the lane.
func (c *Connector) openBulk(s *bulkSession, address string) {
	ctx, cancel := context.WithTimeout(c.owner, c.cfg.ConnectTimeout)
	defer cancel()
	session, err := ray.Open(ctx, c.sessionConfig(address, s.epoch))
	l := &c.bulk
	l.mu.Lock()
	defer l.mu.Unlock()
	s.session = session
	if err != nil {
		s.err = newConnectError(address, err)
		l.stat.Failed++
		l.remove(s)
	} else {
		l.stat.Opened++
	}
	close(s.ready)
	if s.users == 0 {
		l.unused(s)
	}
	l.tell()
}

// release takes a user from a session.
func (l *bulkLane) release(s *bulkSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.users--
	if s.users == 0 && s.opened() {
		l.unused(s)
	}
	l.tell()
}

// unused keeps a session that has no users for a while, or closes it if nobody may use it again; l.mu is held.
func (l *bulkLane) unused(s *bulkSession) {
	switch {
	case l.closed || s.closing || s.err != nil:
	case !l.usable(s):
		l.retire(s)
	default:
		s.unused = time.AfterFunc(l.idle, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if s.users == 0 && !s.closing && !l.closed {
				l.retire(s)
			}
		})
	}
}

// retire closes a session without users, and makes room for another once that is done; l.mu is held.
func (l *bulkLane) retire(s *bulkSession) {
	s.closing = true
	if s.unused != nil {
		s.unused.Stop()
	}
	l.background.Go(func() {
		ctx, cancel := context.WithTimeout(l.farewells, farewell)
		defer cancel()
		lost := s.lost()
		_ = s.session.Close(ctx) // nothing was under way in it
		l.mu.Lock()
		defer l.mu.Unlock()
		l.gone(s, lost)
		l.tell()
	})
}

// renew makes an epoch the present one: what is of another is closed, or will be when its users are done; l.mu is held.
func (l *bulkLane) renew(epoch uint64) {
	l.epoch = max(l.epoch, epoch)
	for _, s := range l.sessions {
		if s.users == 0 && s.opened() && !s.closing && !l.usable(s) {
			l.retire(s)
		}
	}
}

// setEpoch is told when there is a new main session.
func (l *bulkLane) setEpoch(epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.renew(epoch)
	}
}

// gone counts a session that is closed; l.mu is held.
func (l *bulkLane) gone(s *bulkSession, lost bool) {
	l.remove(s)
	l.stat.add(s.session.Stats())
	l.stat.Closed++
	if lost {
		l.stat.Lost++
	}
}

func (l *bulkLane) remove(s *bulkSession) {
	l.sessions = slices.DeleteFunc(l.sessions, func(other *bulkSession) bool { return other == s })
}

// tell wakes those who wait for a session; l.mu is held.
func (l *bulkLane) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// close refuses new users and closes all sessions. Each lets its calls under way end until ctx does.
func (l *bulkLane) close(ctx context.Context) error {
	defer l.hurry()
	defer context.AfterFunc(ctx, l.hurry)()
	l.mu.Lock()
	l.closed = true
	l.tell()
	for _, s := range l.sessions {
		if s.unused != nil {
			s.unused.Stop()
		}
	}
	l.mu.Unlock()
	l.background.Wait()
	l.mu.Lock()
	rest := slices.Clone(l.sessions)
	l.mu.Unlock()
	failures := make([]error, len(rest))
	var closing sync.WaitGroup
	for i, s := range rest {
		closing.Go(func() {
			lost := s.lost()
			failures[i] = s.session.Close(ctx)
			l.mu.Lock()
			defer l.mu.Unlock()
			l.gone(s, lost)
		})
	}
	closing.Wait()
	return errors.Join(failures...)
}

// add counts what went through a session.
func (b *BulkStat) add(s ray.SessionStats) {
	b.BytesSent += s.BytesSent
	b.BytesCame += s.BytesCame
}

// snapshot counts the sessions by state.
func (l *bulkLane) snapshot() BulkStat {
	l.mu.Lock()
	defer l.mu.Unlock()
	stat := l.stat
	stat.Max = l.max
	for _, s := range l.sessions {
		if s.opened() && s.err == nil {
			stat.add(s.session.Stats())
		}
		switch {
		case s.closing:
			stat.Closing++
		case !s.opened():
			stat.Opening++
		case s.users > 0:
			stat.InUse++
		default:
			stat.Idle++
		}
	}
	return stat
}
