package unary_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/internal/wire/unary"
)

// certified returns the two sides of encrypted connections.
func certified(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	files := raytest.NewAuthority(t).Files(t, "server")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	server = &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{http2.NextProtoTLS}, MinVersion: tls.VersionTLS13}
	client = &tls.Config{InsecureSkipVerify: true, NextProtos: server.NextProtos, MinVersion: tls.VersionTLS13}
	return server, client
}

// Messages of all sizes pass in both directions, whatever the windows.
func TestEcho(t *testing.T) {
	secureServer, secureClient := certified(t)
	large := make([]byte, 20<<20)
	for i := range large {
		large[i] = byte(rand.Uint32())
	}
	small := []grpc.ServerOption{grpc.InitialWindowSize(65536), grpc.InitialConnWindowSize(65536)} // less is ignored
	for name, x := range map[string]struct {
		server []grpc.ServerOption
		client unary.Options
		secure *tls.Config
	}{
		"as it is":      {nil, unary.Options{}, nil},
		"small windows": {small, unary.Options{StreamWindow: 1, ConnWindow: 1}, nil},
		"large windows": {[]grpc.ServerOption{grpc.InitialWindowSize(1<<31 - 1), grpc.InitialConnWindowSize(1<<31 - 1)}, unary.Options{StreamWindow: math.MaxInt, ConnWindow: math.MaxInt}, nil},
		"encrypted":     {[]grpc.ServerOption{grpc.Creds(credentials.NewTLS(secureServer))}, unary.Options{TLS: true}, secureClient},
		"encrypted, small windows": {
			append(small, grpc.Creds(credentials.NewTLS(secureServer))), unary.Options{TLS: true, StreamWindow: 1, ConnWindow: 1}, secureClient,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, x.server...).dial(t, x.client, x.secure)
			sizes := []int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, 64 << 10, 1 << 20, 20 << 20}
			for _, size := range sizes { // one after another
				if got, err := invoke(t.Context(), c, "Echo", large[:size]); err != nil || !bytes.Equal(got, large[:size]) {
					t.Errorf("%d: %d bytes, %v", size, len(got), err)
				}
			}
			slices.Reverse(sizes)
			var calls []*unary.Call
			for _, size := range sizes { // at a time
				calls = append(calls, begin(t, c, "Echo", large[:size]))
			}
			for i, size := range sizes {
				if got, err := ended(calls[i]); err != nil || !bytes.Equal(got, large[:size]) {
					t.Errorf("%d at a time: %d bytes, %v", size, len(got), err)
				}
			}
		})
	}
}

func TestManyCallers(t *testing.T) {
	for name, options := range map[string][]grpc.ServerOption{
		"as many as they like": nil,
		"three at a time":      {grpc.MaxConcurrentStreams(3)},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, options...)
			c := s.dial(t, unary.Options{}, nil)
			var callers sync.WaitGroup
			for caller := range 200 {
				callers.Go(func() {
					for i := range 50 {
						want := fmt.Append(nil, caller, " ", i, strings.Repeat("#", 100*(i%7)))
						if got, err := invoke(t.Context(), c, "Echo", want); err != nil || !bytes.Equal(got, want) {
							t.Errorf("%d, %d: %q, %v", caller, i, got, err)
						}
					}
				})
			}
			callers.Wait()
			if most := s.most.Load(); options != nil && most > 3 {
				t.Errorf("%d at a time", most)
			}
		})
	}
}

func TestStatuses(t *testing.T) {
	c := serve(t).dial(t, unary.Options{}, nil)
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		message := fmt.Sprintf("100%% größer %v\n\t„世界“ \x7f%%41", code)
		_, err := invoke(t.Context(), c, "Fail", append([]byte{byte(code)}, message...))
		if s := status.Convert(err); s.Code() != code || s.Message() != message {
			t.Errorf("got %v %q, not %v %q", s.Code(), s.Message(), code, message)
		}
	}
	if _, err := invoke(t.Context(), c, "Nothing", nil); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

func TestMetadata(t *testing.T) {
	c := serve(t).dial(t, unary.Options{Authority: "some.where:1", Authorization: func() (string, error) { return "Bearer me", nil }}, nil)
	for name, want := range map[string]string{":authority": "some.where:1", "authorization": "Bearer me", "user-agent": "seedcore-unary", "nothing": ""} {
		call := begin(t, c, "Metadata", []byte(name))
		got, err := ended(call)
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if want := []hpack.HeaderField{{Name: "asked", Value: name}, {Name: "asked", Value: "again"}}; !slices.Equal(call.Trailer, want) {
			t.Errorf("the trailer is %v", call.Trailer)
		}
	}
	large := strings.Repeat("0123456789", 10_000)
	for name, want := range map[string]string{"large": large, "two": "ab"} {
		call := prepared(t, "Metadata", []byte(name))
		call.Metadata = []hpack.HeaderField{{Name: "large", Value: large}, {Name: "two", Value: "a"}, {Name: "two", Value: "b"}}
		c.Start(call)
		if got, err := ended(call); err != nil || string(got) != want {
			t.Errorf("%s: %.20q, %v", name, got, err)
		}
	}
}

// What one side does not want to take ends the call, and no other.
func TestTooLarge(t *testing.T) {
	c := serve(t, grpc.MaxRecvMsgSize(1000)).dial(t, unary.Options{MaxReply: 500}, nil)
	for range 3 {
		other := begin(t, c, "Echo", []byte("other"))
		call := begin(t, c, "Echo", make([]byte, 10<<20))
		if _, err := ended(call); status.Code(err) != codes.ResourceExhausted {
			t.Errorf("got %v", err)
		}
		call = begin(t, c, "Echo", make([]byte, 600))
		if _, err := ended(call); !errors.Is(err, unary.ErrReplyTooLarge) || !call.Left() {
			t.Errorf("got %v", err)
		}
		if got, err := ended(other); string(got) != "other" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// Who gives up on a call ends it at the server, too.
func TestInvokeGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := bubbled(t)
		cancelled, cancel := context.WithCancel(t.Context())
		defer cancel()
		expired, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		for code, ctx := range map[codes.Code]context.Context{codes.Canceled: cancelled, codes.DeadlineExceeded: expired} {
			failed := make(chan error)
			go func() {
				_, err := invoke(ctx, c, "Wait", nil)
				failed <- err
			}()
			served := <-s.entered
			if code == codes.Canceled {
				cancel()
			}
			if err := <-failed; status.Code(err) != code {
				t.Errorf("got %v", err)
			}
			<-served.Done()
			if _, err := invoke(ctx, c, "Wait", nil); status.Code(err) != code {
				t.Errorf("got %v", err)
			}
			synctest.Wait()
			if n := len(s.entered); n > 0 {
				t.Errorf("%d calls were made with a context that was over", n)
			}
		}
		if got, err := invoke(t.Context(), c, "Echo", []byte("on")); string(got) != "on" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestInvokeWithoutMessage(t *testing.T) {
	c := serve(t).dial(t, unary.Options{}, nil)
	if err := c.Invoke(t.Context(), prefix+"Echo", wrapperspb.String("\xff"), &wrapperspb.StringValue{}); err == nil {
		t.Error("a string that is none was sent")
	}
	if err := c.Invoke(t.Context(), prefix+"Echo", wrapperspb.Bytes([]byte("\xff")), &wrapperspb.StringValue{}); err == nil {
		t.Error("a string that is none was taken")
	}
	if _, err := c.NewStream(t.Context(), nil, prefix+"Echo"); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}
