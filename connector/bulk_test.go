package connector_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/faultproxy"
	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// hold is a WithBulk that lasts until it is let go.
type hold struct {
	session *ray.Session
	release chan struct{}
	over    chan error
}

func holdBulk(t *testing.T, conn *connector.Connector) *hold {
	t.Helper()
	h := &hold{release: make(chan struct{}), over: make(chan error, 1)}
	begun := make(chan struct{})
	go func() {
		h.over <- conn.WithBulk(deadline(t), func(s *ray.Session) error {
			h.session = s
			close(begun)
			<-h.release
			return s.Err()
		})
	}()
	select {
	case <-begun:
	case err := <-h.over:
		t.Fatal(err)
	}
	return h
}

func (h *hold) letGo(t *testing.T) {
	t.Helper()
	close(h.release)
	if err := <-h.over; err != nil {
		t.Error(err)
	}
}

// wantBulk waits for the sessions of the bulk lane to be as many as that.
func wantBulk(t *testing.T, conn *connector.Connector, inUse, idle int, opened, closed uint64) {
	t.Helper()
	end := time.Now().Add(30 * time.Second)
	for {
		s := conn.Stat().Bulk
		if s.InUse == inUse && s.Idle == idle && s.Opened == opened && s.Closed == closed && s.Opening == 0 && s.Closing == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, want %d in use, %d idle, %d opened, %d closed", s, inUse, idle, opened, closed)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// The bulk lane has sessions of its own: as few as are needed, as many as are allowed, for as long as they are used.
func TestTheBulkLane(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), MaxSessions: 3, BulkIdle: 300 * time.Millisecond,
	})
	if err := conn.WithBulk(deadline(t), func(*ray.Session) error { return nil }); !errors.Is(err, connector.ErrNotConnected) {
		t.Errorf("without a main session: %v", err)
	}
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	wantBulk(t, conn, 0, 0, 0, 0)
	var holds []*hold
	sessions := map[string]int{session(t, conn).ID(): 1}
	for range 4 {
		h := holdBulk(t, conn)
		holds = append(holds, h)
		sessions[h.session.ID()]++
	}
	if len(sessions) != 3 || sessions[holds[0].session.ID()] != 2 || sessions[holds[1].session.ID()] != 2 {
		t.Errorf("four at once, with three sessions allowed, used %v", sessions)
	}
	wantBulk(t, conn, 2, 0, 2, 0)
	if n := conn.Stat().InFlight; n != 4 {
		t.Errorf("%d in flight", n)
	}
	value := bytes.Repeat([]byte("bulk"), 4<<20)
	ref, err := holds[0].session.Put(deadline(t), value)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := holds[0].session.Get(deadline(t), ref); err != nil || !bytes.Equal(v.([]byte), value) {
		t.Errorf("what went through the lane: %v", err)
	}
	if _, err := session(t, conn).Get(deadline(t), ref); !errors.Is(err, ray.ErrStaleSession) {
		t.Errorf("a ref of the bulk lane in the main lane: %v", err)
	}
	size := int64(len(value))
	if b := conn.Stat().Bulk; b.BytesSent < size || b.BytesCame < size {
		t.Errorf("%d bytes there and back: %+v", size, b)
	}
	// One that is lost fails its own users alone.
	lost := holds[1].session
	if err := lost.Close(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for i, h := range holds {
		close(h.release)
		if err := <-h.over; errors.Is(err, ray.ErrClosed) != (i%2 == 1) {
			t.Errorf("user %d: %v", i, err)
		}
	}
	wantBulk(t, conn, 0, 0, 2, 2) // the other one is closed after a while without use
	if s := conn.Stat().Bulk; s.Lost != 1 || s.Max != 2 || s.BytesSent < size || s.BytesCame < size {
		t.Errorf("%+v", s)
	}
	if info := conn.Info(); info.State != connector.StateConnected || info.Epoch != 1 {
		t.Errorf("the main lane: %+v", info)
	}
	if err := conn.WithBulk(deadline(t), func(s *ray.Session) error { return s.Ping(deadline(t)) }); err != nil {
		t.Error(err)
	}
}

// What is small does not wait for what is large: a call on the main lane ends while a value is stuck in the bulk lane.
func TestACallPassesALargePut(t *testing.T) {
	t.Parallel() // it is mostly the opening of sessions
	head := raytest.Head(t)
	front, bulk := faultproxy.New(t, head.ClientAddress()), faultproxy.New(t, head.ClientAddress())
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + front.Address(), Namespace: raytest.Namespace(t), Direct: ray.DirectOff})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	front.SetTarget(bulk.Address()) // for the connections from here on, which are those of the bulk lane
	stuck, put := make(chan struct{}), make(chan error, 1)
	go func() {
		put <- conn.WithBulk(deadline(t), func(s *ray.Session) error {
			bulk.Stall()
			close(stuck)
			_, err := s.Put(deadline(t), make([]byte, 32<<20))
			return err
		})
	}()
	select {
	case <-stuck:
	case err := <-put:
		t.Fatal(err)
	}
	until(t, func() bool { return conn.Stat().Bulk.BytesSent > 0 })
	for range 3 {
		if _, err := conn.Call(deadline(t), "nobody", "nothing"); !errors.Is(err, ray.ErrActorNotFound) {
			t.Errorf("a call beside a large value: %v", err)
		}
	}
	select {
	case err := <-put:
		t.Errorf("the value arrived before the calls ended: %v", err)
	default:
	}
	if s := conn.Stat(); s.Bulk.InUse != 1 || s.Session.Outstanding != 0 {
		t.Errorf("%+v", s)
	}
	bulk.Resume()
	if err := <-put; err != nil {
		t.Error(err)
	}
}

// A session that cannot be opened is an error of that call alone, and a new epoch of the main lane is one of the bulk lane too.
func TestTheBulkLaneFollowsTheMainLane(t *testing.T) {
	proxy := faultproxy.New(t, raytest.Head(t).ClientAddress())
	conn, _ := newConnector(t, connector.Config{Address: "ray://" + proxy.Address(), Namespace: raytest.Namespace(t)})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	proxy.Refuse(true)
	err := conn.WithBulk(deadline(t), func(*ray.Session) error { return nil })
	if problem, ok := errors.AsType[*connector.ConnectError](err); !ok || problem.Kind != connector.KindNotRay {
		t.Errorf("%v", err)
	}
	proxy.Refuse(false)
	h := holdBulk(t, conn)
	if err := conn.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn.WithBulk(short, func(*ray.Session) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the one session that is allowed is of an epoch before: %v", err)
	}
	if err := h.session.Ping(deadline(t)); err != nil {
		t.Errorf("what was under way during a Reset: %v", err)
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if err := conn.WithBulk(deadline(t), func(s *ray.Session) error {
			if s.ID() == h.session.ID() || s.Info().Epoch != 2 {
				t.Errorf("the session is of epoch %d", s.Info().Epoch)
			}
			return s.Ping(deadline(t))
		}); err != nil {
			t.Error(err)
		}
	})
	h.letGo(t)
	waiting.Wait()
	if s := conn.Stat().Bulk; s.Opened != 2 || s.Closed != 1 || s.Failed != 1 || s.Lost != 0 {
		t.Errorf("%+v", s)
	}
}

// Drain lets what has begun end, and takes nothing new.
func TestDrain(t *testing.T) {
	conn, _ := newConnector(t, connector.Config{
		Address: "ray://" + raytest.Head(t).ClientAddress(), Namespace: raytest.Namespace(t), MaxSessions: 1, MaxInFlight: 1,
	})
	if err := conn.Connect(deadline(t)); err != nil {
		t.Fatal(err)
	}
	client, err := conn.Client()
	if err != nil {
		t.Fatal(err)
	}
	h := holdBulk(t, conn)
	if h.session != client.Session() {
		t.Error("a second session, where one is allowed")
	}
	if _, err := conn.Call(deadline(t), "nobody", "nothing"); !errors.Is(err, ray.ErrOverloaded) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("above the bound of what is in flight: %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- conn.Drain(deadline(t)) }()
	until(t, func() bool { _, err := conn.Client(); return errors.Is(err, connector.ErrClosed) })
	nothing := func(*ray.Session) error { return nil }
	_, _, waited := conn.WaitSession(deadline(t), 1)
	_, called := conn.Call(deadline(t), "nobody", "nothing")
	for _, err := range []error{waited, called, conn.WithBulk(deadline(t), nothing), conn.Connect(deadline(t)), conn.Reset(deadline(t))} {
		if !errors.Is(err, connector.ErrClosed) {
			t.Errorf("new work: %v", err)
		}
	}
	if err := client.Session().Ping(deadline(t)); err != nil || conn.Info().State != connector.StateConnected {
		t.Errorf("what has begun: %v, %+v", err, conn.Info())
	}
	h.letGo(t)
	if err := <-drained; err != nil || conn.Info().State != connector.StateClosed {
		t.Errorf("%v, %+v", err, conn.Info())
	}
	if err := conn.Drain(deadline(t)); err != nil {
		t.Error(err)
	}
}
