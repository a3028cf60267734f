package ray

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// refusedUnrun begins the text with which a Go worker refuses a call that it did not run.
const refusedUnrun = "worker: "

// neverProcessed are the words of gRPC for a request that left, or was to leave, and of which HTTP/2 says that the worker never
// looks at it: the worker ends its connections, or takes no more requests on this one, or the connection ended before it was
// written. gRPC itself would send it again, if that were another connection.
var neverProcessed = []string{
	"the stream is rejected because server is draining the connection",
	"the connection is draining",
	"stream terminated by RST_STREAM with error code: REFUSED_STREAM",
	"transport is closing",
}

// classify turns the gRPC error of a PushTask into the vocabulary of this package. moved tells that the actor does not
// run at t any more, as far as this error tells.
func (t *target) classify(err error, left bool) (sent Sent, moved bool, _ error) {
	sent = SentNo
	if left {
		sent = SentMaybe
	}
	if cut := context.Cause(t.ctx); cut != nil {
		return sent, true, cut
	}
	if refusal := refused(t.credentials, err); refusal != nil {
		return SentNo, false, refusal
	}
	s := status.Convert(err)
	unrun := strings.HasPrefix(s.Message(), refusedUnrun)
	if unrun {
		sent = SentNo
	}
	if slices.Contains(orderlyEnd, s.Message()) {
		return sent, true, unavailable(t.data, s.Message(), nil)
	}
	switch s.Code() {
	case codes.Unavailable:
		if slices.Contains(neverProcessed, s.Message()) {
			sent = SentNo
		}
		return sent, true, unavailable(t.data, s.Message(), nil)
	case codes.Aborted: // Ray's own statuses: their name is all of the message
		switch s.Message() {
		case "Invalid": // another incarnation listens there, or the number was not to be used any more
			return SentNo, true, unavailable(t.data, "the worker refused the call as stale", nil)
		case "SchedulingCancelled":
			return SentNo, false, SystemError{Class: "TaskCancelledError", Message: "before it ran"}.typed()
		}
		return sent, true, unavailable(t.data, s.Message(), nil) // it ended while running the method
	case codes.ResourceExhausted:
		if strings.HasPrefix(s.Message(), "grpc: received message") {
			return SentYes, false, fmt.Errorf("%w: the result is too large: %s", ErrUnsupportedValue, s.Message())
		}
		return sent, false, fmt.Errorf("%w: %s", ErrOverloaded, s.Message())
	default:
		return sent, false, fmt.Errorf("ray: the worker failed the call: %w", err)
	}
}
