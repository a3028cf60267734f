package unary_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// bubbled runs a real server within a bubble of synctest, and connects to it.
func bubbled(t *testing.T, options ...grpc.ServerOption) (*service, *unary.Conn) {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	s := newService(options...)
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	nc, err := listener.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, connect(t, nc, unary.Options{})
}

// wantLost checks that a call fails since the server takes none.
func wantLost(t *testing.T, call *unary.Call, left bool) {
	t.Helper()
	if _, err := ended(call); status.Code(err) != codes.Unavailable || call.Left() != left {
		t.Errorf("got %v, left: %v", err, call.Left())
	}
}

// A server that stops with patience answers what it has, and gets nothing else.
func TestGracefulStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := bubbled(t)
		var calls []*unary.Call
		for range 10 {
			calls = append(calls, begin(t, c, "Wait", []byte("waited")))
			<-s.entered
		}
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.GracefulStop()
		}()
		synctest.Wait()
		wantLost(t, begin(t, c, "Echo", nil), false)
		for _, call := range calls {
			if isOver(call) {
				t.Error(call.Err)
			}
		}
		close(s.leave)
		for _, call := range calls {
			if got, err := ended(call); string(got) != "waited" || !call.Left() {
				t.Errorf("%q, %v", got, err)
			}
		}
		<-stopped
		<-c.Done()
		wantLost(t, begin(t, c, "Echo", nil), false)
	})
}

// The same while calls are made all the time: each is answered, or was never run.
func TestGracefulStopInTraffic(t *testing.T) {
	for range 10 {
		s := serve(t)
		c := s.dial(t, unary.Options{}, nil)
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				for i := 0; ; i++ {
					call := begin(t, c, "Echo", make([]byte, 1000*i%20_000))
					_, err := ended(call)
					if err == nil {
						continue
					}
					if status.Code(err) != codes.Unavailable || call.Left() {
						t.Errorf("%v, left: %v", err, call.Left())
					}
					return
				}
			})
		}
		if _, err := invoke(t.Context(), c, "Echo", nil); err != nil {
			t.Error(err)
		}
		s.GracefulStop()
		callers.Wait()
		<-c.Done()
	}
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := bubbled(t)
		call := begin(t, c, "Wait", nil)
		served := <-s.entered
		s.Stop()
		wantLost(t, call, true)
		<-served.Done()
		<-c.Done()
		wantLost(t, begin(t, c, "Echo", nil), false)
	})
}

// A server that wants to know whether a client lives is answered, and one that ends quiet or old connections takes no calls on them.
func TestKeepalive(t *testing.T) {
	t.Run("pings", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c := bubbled(t, grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: time.Second}))
			call := begin(t, c, "Wait", []byte("waited"))
			<-s.entered
			time.Sleep(time.Hour)
			close(s.leave)
			if got, err := ended(call); string(got) != "waited" {
				t.Errorf("%q, %v", got, err)
			}
			time.Sleep(time.Hour)
			if got, err := invoke(t.Context(), c, "Echo", []byte("quiet")); string(got) != "quiet" {
				t.Errorf("%q, %v", got, err)
			}
		})
	})
	t.Run("enforced", func(t *testing.T) { // against what a client sends of its own accord, in time or in answer
		synctest.Test(t, func(t *testing.T) {
			_, c := bubbled(t, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Hour}))
			for range 1000 {
				time.Sleep(time.Second)
				if _, err := invoke(t.Context(), c, "Echo", make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
	t.Run("quiet", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, c := bubbled(t, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: time.Minute}))
			if _, err := invoke(t.Context(), c, "Echo", nil); err != nil {
				t.Error(err)
			}
			<-c.Done()
			wantLost(t, begin(t, c, "Echo", nil), false)
		})
	})
	t.Run("old", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, c := bubbled(t, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: time.Minute, MaxConnectionAgeGrace: time.Minute}))
			begun := begin(t, c, "Wait", []byte("waited"))
			late := begin(t, c, "Wait", nil)
			<-s.entered
			<-s.entered
			time.Sleep(90 * time.Second)
			wantLost(t, begin(t, c, "Echo", nil), false)
			s.leave <- struct{}{}
			select {
			case <-begun.Done():
			case <-late.Done():
				begun, late = late, begun
			}
			if got, err := ended(begun); err != nil {
				t.Errorf("%q, %v", got, err)
			}
			wantLost(t, late, true) // when grace is over
			<-c.Done()
		})
	})
}
