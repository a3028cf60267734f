package unary_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const method = "/test.Service/Method"

// framed returns a message behind its head.
func framed(message string) []byte {
	b := append(make([]byte, unary.HeadLen), message...)
	unary.PutHead(b)
	return b
}

// newCall returns a call with a message.
func newCall(message string) *unary.Call {
	return &unary.Call{Method: method, Request: framed(message)}
}

// start begins a call.
func start(c *unary.Conn, message string) *unary.Call {
	call := newCall(message)
	c.Start(call)
	return call
}

// isOver tells whether a call has ended, when nothing moves any more.
func isOver(call *unary.Call) bool {
	synctest.Wait()
	select {
	case <-call.Done():
		return true
	default:
		return false
	}
}

// wantReply checks that calls have ended, and well.
func wantReply(t *testing.T, want string, calls ...*unary.Call) {
	t.Helper()
	for i, call := range calls {
		switch {
		case !isOver(call):
			t.Fatalf("call %d is not over", i)
		case call.Err != nil || string(call.Reply) != want:
			t.Errorf("call %d: %.100q, %v", i, call.Reply, call.Err)
		case !call.Left():
			t.Errorf("call %d was answered, and never left", i)
		}
	}
}

// wantError checks that a call has ended with a status that has this in its message.
func wantError(t *testing.T, call *unary.Call, code codes.Code, message string, left bool) {
	t.Helper()
	switch {
	case !isOver(call):
		t.Fatal("the call is not over")
	case status.Code(call.Err) != code || !strings.Contains(call.Err.Error(), message):
		t.Errorf("got %v, not %v %q", call.Err, code, message)
	case call.Left() != left:
		t.Errorf("%v: left is %v", call.Err, call.Left())
	case call.Reply != nil:
		t.Errorf("%v came with a reply of %d bytes", call.Err, len(call.Reply))
	}
}
