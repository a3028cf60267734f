package ray

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// mutationLane names the order in which this session makes its changes; one name does, since they go one at a time.
const mutationLane = "lane-0"

// outgoing adds what every request carries.
func (s *Session) outgoing(ctx context.Context, more ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, append([]string{"client_id", s.id}, more...)...)
}

// method is a unary method of the Ray Client service.
type method[Q, A any] func(ctx context.Context, in *Q, opts ...grpc.CallOption) (*A, error)

// ask makes a unary request that changes nothing, and repeats it over connection failures until ctx ends or the session
// is over.
func ask[Q, A any](ctx context.Context, s *Session, target string, call method[Q, A], in *Q) (*A, error) {
	if err := s.out.enter(); err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	defer s.out.leave()
	ctx, cancel := bound(ctx, s.cfg.CallTimeout, 0)
	defer cancel()
	return repeat(ctx, s, target, call, in)
}

// change makes a unary request that changes something, one at a time. Its number lets the server recognise repetitions,
// so that it is carried out once.
func change[Q, A any](ctx context.Context, s *Session, target string, call method[Q, A], in *Q) (*A, error) {
	if err := s.out.enter(); err != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: err}
	}
	defer s.out.leave()
	ctx, cancel := bound(ctx, s.cfg.CallTimeout, sizeOf(in))
	defer cancel()
	select {
	case s.mutating <- struct{}{}:
	case <-s.done:
		return nil, &CallError{Target: target, Sent: SentNo, Err: s.Err()}
	case <-ctx.Done():
		return nil, &CallError{Target: target, Sent: SentNo, Err: ended(ctx)}
	}
	defer func() { <-s.mutating }()
	s.lastMutation++
	return repeat(ctx, s, target, call, in, "thread_id", mutationLane, "req_id", strconv.FormatInt(s.lastMutation, 10))
}

// sizeOf is the size of a request that may be large.
func sizeOf(in any) int {
	if put, ok := in.(*raypb.KVPutRequest); ok {
		return len(put.GetValue())
	}
	return 0
}

func repeat[Q, A any](ctx context.Context, s *Session, target string, call method[Q, A], in *Q, more ...string) (answer *A, err error) {
	if s.cfg.Tracer == nil {
		return persist(ctx, s, target, call, in, more)
	}
	err = traced(ctx, s.cfg.Tracer, TracedCall{unaryOperation(in), target}, func(ctx context.Context) error {
		answer, err = persist(ctx, s, target, call, in, more)
		return err
	})
	return answer, err
}

// persist makes a unary request until it has an answer that is no failure of the connection.
func persist[Q, A any](ctx context.Context, s *Session, target string, call method[Q, A], in *Q, more []string) (*A, error) {
	if ctx.Err() != nil {
		return nil, &CallError{Target: target, Sent: SentNo, Err: ended(ctx)}
	}
	live, cancel := context.WithCancel(s.outgoing(ctx, more...))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	pace := pacer{firstResumePause, lastResumePause}
	sent := SentNo // of the attempts before
	for {
		answer, err := call(live, in, grpc.WaitForReady(true))
		if deadline, ok := ctx.Deadline(); ok && status.Code(err) == codes.DeadlineExceeded && time.Until(deadline) < time.Second {
			<-ctx.Done() // gRPC, or the server, may be a moment ahead
		}
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, &CallError{Target: target, Sent: SentMaybe, Err: ended(ctx)}
		case s.ctx.Err() != nil:
			return nil, &CallError{Target: target, Sent: SentMaybe, Err: s.overError()}
		}
		if refusal := refused(s.cfg.Credentials, err); refusal != nil {
			return nil, &CallError{Target: target, Sent: sent, Err: refusal}
		}
		switch status.Code(err) {
		case codes.Unavailable:
			sent = SentMaybe
			_ = pace.wait(live) // the next call notices that live ended
		case codes.Aborted:
			return nil, remoteFailure(target, err)
		case codes.NotFound:
			// The server has no process for this client any more, or never had.
			if !s.isAccepted() {
				return nil, &CallError{Target: target, Sent: SentNo, Err: errLost(err)}
			}
			s.cancel(errLost(err))
			return nil, &CallError{Target: target, Sent: SentMaybe, Err: s.overError()}
		default:
			return nil, &CallError{Target: target, Sent: SentMaybe, Err: err}
		}
	}
}

// overError waits for the owner goroutine to say why the session is over; it is about to.
func (s *Session) overError() error {
	<-s.done
	return s.Err()
}

// remoteFailure reads the exception that the server put into the message of a status.
func remoteFailure(target string, err error) error {
	data, decodeErr := base64.StdEncoding.DecodeString(status.Convert(err).Message())
	if decodeErr != nil {
		return &CallError{Target: target, Sent: SentMaybe, Err: err}
	}
	if remote := failureOf(target, data); remote != nil {
		return remote
	}
	return &CallError{Target: target, Sent: SentMaybe, Err: fmt.Errorf("ray: the server raised something that cannot be read: %w", err)}
}
