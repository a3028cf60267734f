package unary_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// However a connection ends, and whoever gives up on calls meanwhile: a call that has not left was not run, and one that was answered was
// run once. Others may have been run, and were so no more than once.
func TestLeft(t *testing.T) {
	for name, end := range map[string]func(*service, *unary.Conn, net.Conn){
		"stopped with patience": func(s *service, _ *unary.Conn, _ net.Conn) { s.GracefulStop() },
		"stopped":               func(s *service, _ *unary.Conn, _ net.Conn) { s.Stop() },
		"closed":                func(_ *service, c *unary.Conn, _ net.Conn) { c.Close() },
		"cut":                   func(_ *service, _ *unary.Conn, nc net.Conn) { _ = nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				testLeft(t, end)
			}
		})
	}
}

func testLeft(t *testing.T, end func(*service, *unary.Conn, net.Conn)) {
	s := serve(t, grpc.MaxConcurrentStreams(20), grpc.WaitForHandlers(true))
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, nc, unary.Options{})
	var (
		callers         sync.WaitGroup
		number, answers atomic.Uint32
		enough          = make(chan struct{})
		once            sync.Once
		mu              sync.Mutex // guards calls
		calls           = map[uint32]*unary.Call{}
	)
	for range 40 {
		callers.Go(func() {
			for {
				n := number.Add(1)
				value := make([]byte, 4+rand.IntN(2)*rand.IntN(100_000))
				binary.BigEndian.PutUint32(value, n)
				call := begin(t, c, "Count", value)
				mu.Lock()
				calls[n] = call
				mu.Unlock()
				if rand.IntN(4) == 0 {
					call.Cancel()
				}
				_, err := ended(call)
				if err == nil && answers.Add(1) == 500 {
					once.Do(func() { close(enough) })
				}
				if status.Code(err) == codes.Unavailable {
					return
				}
			}
		})
	}
	<-enough
	end(s, c, nc)
	callers.Wait()
	c.Close()
	s.Stop() // waits for what it runs
	for n, call := range calls {
		switch ran := s.count(n); {
		case ran > 1:
			t.Errorf("call %d ran %d times", n, ran)
		case call.Err == nil && (ran == 0 || !call.Left()):
			t.Errorf("call %d was answered: ran %d times, left: %v", n, ran, call.Left())
		case ran > 0 && !call.Left():
			t.Errorf("call %d ran, and had not left: %v", n, call.Err)
		}
	}
}
