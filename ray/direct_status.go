package ray

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/unary"
)

// refusedUnrun begins the text with which a Go worker refuses a call that it did not run.
const refusedUnrun = "worker: "

// classify turns the error of a PushTask into the vocabulary of this package. left tells that the worker may have seen the request;
// moved, that the actor does not run at t any more, as far as this error tells.
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
	if errors.Is(err, unary.ErrReplyTooLarge) {
		return SentYes, false, fmt.Errorf("%w: the result is too large: %w", ErrUnsupportedValue, err)
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
		return sent, false, fmt.Errorf("%w: %s", ErrOverloaded, s.Message())
	default:
		return sent, false, fmt.Errorf("ray: the worker failed the call: %w", err)
	}
}
