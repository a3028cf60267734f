package ray

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	// firstPatience is how long the first request of a session waits before Open looks for the reason, and again between
	// two looks.
	firstPatience = 2 * time.Second
	// starvedTimeout is how long a look lasts. A server with a free thread answers a greeting in milliseconds.
	starvedTimeout = 5 * time.Second
)

// FullSign is what showed that a server is full.
type FullSign string

// The signs. Ray's server has as many threads as RAY_CLIENT_SERVER_MAX_THREADS says (100): each session keeps one for as long
// as it lasts, and each request that waits at the server another one.
const (
	// FullRefused: the server said so.
	FullRefused FullSign = "refused"
	// FullStarved: the session began, with the last thread that was free, and its requests got none.
	FullStarved FullSign = "starved"
	// FullSilent: the server keeps connections up and answers nothing. It may hang for another reason.
	FullSilent FullSign = "silent"
)

// FullError is how a server showed that it has no room for another session. It wraps ErrServerFull.
type FullError struct {
	Sign FullSign
	// Clients is how many sessions the server had, the one that failed included; 0 where it did not say.
	Clients int
	// Err is the server's own error; nil where it gave none.
	Err error
}

func (e *FullError) Error() string {
	text := map[FullSign]string{
		FullRefused: "it refuses another client",
		FullStarved: fmt.Sprintf("it began the session, one of %d, and has no thread left for what the session asks", e.Clients),
		FullSilent:  fmt.Sprintf("silence for %v", pingTimeout),
	}[e.Sign]
	text = fmt.Sprintf("%v: %s; it has as many threads as RAY_CLIENT_SERVER_MAX_THREADS says: close other clients, or raise that", ErrServerFull, text)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns ErrServerFull and the server's own error.
func (e *FullError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrServerFull}
	}
	return []error{ErrServerFull, e.Err}
}

// place is the first request of the session that needs a thread of the server besides that of the data channel. clients is
// how many sessions the server has.
func (s *Session) place(ctx context.Context, clients int) (*raypb.ClusterInfoResponse_RuntimeContext, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		if s.starves(ctx) {
			cancel(&FullError{Sign: FullStarved, Clients: clients})
		}
	}()
	place, err := s.runtimeContext(ctx)
	cancel(nil)
	<-looked
	if full, ok := errors.AsType[*FullError](context.Cause(ctx)); ok && err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoClientServer, full)
	}
	return place, err
}

// starves looks, for as long as ctx lives, whether the server has no thread for requests. A greeting is answered by the server
// itself, whatever the session's process does; the data channel, which has its thread already, by that process. So a process
// that is slow to answer has a server that greets, and a server that hangs has a data channel that is silent.
func (s *Session) starves(ctx context.Context) bool {
	for {
		select {
		case <-time.After(firstPatience):
		case <-ctx.Done():
			return false
		}
		if s.isStarved(ctx) {
			return true
		}
	}
}

func (s *Session) isStarved(ctx context.Context) bool {
	bounded, cancel := context.WithTimeout(ctx, starvedTimeout)
	defer cancel()
	channel := make(chan error, 1)
	go func() {
		_, err := s.connectionInfo(bounded, "connection info")
		channel <- err
	}()
	_, err := s.rpc.ClusterInfo(s.outgoing(bounded), &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_PING})
	return <-channel == nil && status.Code(err) == codes.DeadlineExceeded && ctx.Err() == nil
}
