package ray

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// The bounds of the owner's pauses between attempts to resume, if the connection itself is up. While it is down, its redialer
// paces the dialling.
const (
	firstResumePause = 50 * time.Millisecond
	lastResumePause  = time.Second
)

// errGrace ends a stream on which nothing came before the server forgot the session.
var errGrace = errors.New("grace period over")

// run owns the data channel: it opens the stream, and opens it again after every cut, until the session is over. It
// receives, in this goroutine; a second one per stream sends.
func (s *Session) run() {
	defer close(s.stopped)
	var watching sync.WaitGroup
	watching.Go(s.watch)
	watching.Go(s.keepPackages)
	defer watching.Wait()
	defer s.out.carrying.Wait()
	var cutAt time.Time // when the last stream ended on which something came
	pace := pacer{firstResumePause, lastResumePause}
	for resuming := false; ; resuming = true {
		heard, err := s.stream(resuming, cutAt.Add(s.cfg.ReconnectGrace))
		now := time.Now()
		fresh := heard || !resuming
		if fresh {
			cutAt, pace.bound = now, firstResumePause
		}
		if last := s.lastWord(err, now.Sub(cutAt)); last != nil {
			s.end(last)
			// Nothing uses the connection any more; an error of Close only says that it was closed before.
			_ = s.conn.Close()
			return
		}
		if fresh {
			s.cfg.Logger.Warn("connection to the Ray Client server was cut; resuming", "session", s.id, "cause", err)
			s.turn()
		}
		// An error is the end of s.ctx; the next stream then fails at once.
		_ = pace.wait(s.ctx)
	}
}

// lastWord returns why the session is over, or nil if a stream that ended with err can be resumed. apart is how long ago
// the connection was cut.
func (s *Session) lastWord(err error, apart time.Duration) error {
	switch cause := context.Cause(s.ctx); {
	case errors.Is(cause, ErrSessionLost):
		return cause
	case cause != nil, s.left.Load():
		return ErrClosed
	case errors.Is(err, errGrace), s.isAccepted() && apart > s.cfg.ReconnectGrace:
		return errLost(fmt.Errorf("the connection to %s was not resumed within %v: %w", s.cfg.Address, s.cfg.ReconnectGrace, err))
	case !s.isAccepted(), isTerminal(err):
		return errLost(describe(s.cfg.Credentials, err))
	}
	return nil
}

// stream runs the data channel once, from opening the stream until it breaks. A stream that resumes the session starts
// with all that was not answered, and gives up at the deadline if nothing came by then. heard tells whether something
// came.
func (s *Session) stream(resuming bool, deadline time.Time) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	// The value must be spelled like Python's.
	value := "False"
	if resuming {
		value = "True"
	}
	var alive atomic.Bool // something came on this stream
	var grace *time.Timer
	if resuming {
		grace = time.AfterFunc(time.Until(deadline), func() {
			if !alive.Load() {
				cancel(errGrace)
			}
		})
		defer grace.Stop()
	}
	fail := func(err error) error {
		if cause := context.Cause(ctx); cause != nil && s.ctx.Err() == nil {
			return cause
		}
		return err
	}
	stream, err := s.data.Datapath(metadata.AppendToOutgoingContext(ctx, "client_id", s.id, "reconnecting", value),
		grpc.WaitForReady(true), grpc.ForceCodecV2(dataCodec{}))
	if err != nil {
		return false, fail(err)
	}
	again := s.resume(resuming)
	sender := make(chan struct{})
	go func() {
		defer close(sender)
		err := s.send(stream, again, func() {
			// The server takes what is sent, so that it has accepted the stream, even if a long repetition keeps it from
			// answering.
			if grace != nil && !alive.Load() {
				grace.Reset(s.cfg.ReconnectGrace)
			}
		})
		if err != nil {
			cancel(err)
		}
	}()
	defer func() {
		cancel(nil)
		<-sender
	}()
	var in incoming
	for {
		if err := stream.RecvMsg(&in); err != nil {
			return alive.Load(), fail(err)
		}
		if alive.CompareAndSwap(false, true) && resuming {
			s.reconnects.Add(1)
			s.turn()
			s.cfg.Logger.Info("session resumed", "session", s.id, "resent", len(again))
		}
		s.receive(in.resp)
	}
}

// resume returns what a stream that resumes the session sends first.
func (s *Session) resume(resuming bool) []*request {
	if !resuming {
		return nil
	}
	again, dropped := s.refs.replay()
	for _, r := range dropped {
		r.err = &CallError{Target: r.target, Sent: SentMaybe, Err: context.Canceled}
		s.out.finish(r)
	}
	s.resent.Add(int64(len(again)))
	// The server says nothing when it accepts a stream. Without an answer to something it could not be told from one that
	// it never noticed, and a stream may be idle for hours.
	if s.isAccepted() && s.probing.CompareAndSwap(false, true) {
		probe := &request{
			target: "resume", internal: true, probe: true,
			msg: &raypb.DataRequest{Type: &raypb.DataRequest_ConnectionInfo{ConnectionInfo: &raypb.ConnectionInfoRequest{}}},
		}
		// Refused only while closing, when the last request is the probe.
		if s.out.add(probe) != nil {
			s.probing.Store(false)
		}
	}
	return again
}

// send is the only sender of a stream: first what is sent again, in ascending order of ids, then what comes. A request of
// several chunks is never left half sent on a stream that lives, since the server would take the next one for its rest.
// progress is called after every message.
func (s *Session) send(stream grpc.BidiStreamingClient[raypb.DataRequest, raypb.DataResponse], again []*request, progress func()) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var out outgoing
	for {
		var next *request
		if len(again) > 0 {
			// The room of again lasts as long as the stream.
			next, again[0], again = again[0], nil, again[1:]
		} else {
			due := s.refs.flush(time.Now())
			ack, r, err := s.out.take()
			switch {
			case err != nil:
				return err
			case ack != 0:
				// Acknowledgements have id 0, and no answer.
				msg := &raypb.DataRequest{Type: &raypb.DataRequest_Acknowledge{Acknowledge: &raypb.AcknowledgeRequest{ReqId: ack}}}
				if stream.SendMsg(&outgoing{req: msg}) != nil {
					return nil // the receiver learns why
				}
				continue
			case r == nil:
				timer.Reset(time.Hour)
				if !due.IsZero() {
					timer.Reset(time.Until(due))
				}
				select {
				case <-s.out.wake:
				case <-timer.C:
				case <-stream.Context().Done():
					return nil
				}
				continue
			}
			s.requests.Add(1)
			s.refs.taken(r)
			next = r
		}
		if next.last {
			s.left.Store(true)
		}
		content := next.content()
		for i := range content.chunks() {
			out.req, out.content, out.chunk = next.msg, content, i
			if next.object != nil {
				out.chunk = next.from()
			}
			start, sent := content.span(i)
			s.bytesSent.Add(int64(sent - start))
			next.moved.touch()
			next.reportSent(sent, content.size()) // first, so that nothing is told once the answer is there
			if stream.SendMsg(&out) != nil {
				return nil
			}
			if i > 0 {
				s.heard() // there was room for it, so that those before it got on
			}
			progress()
		}
		// The sender may have nothing to do for hours, and must not keep a request meanwhile: with it go the bytes that it
		// carries, or those of the answer.
		out = outgoing{}
		if next.last {
			// The server ends the stream when it sees that nothing more will come.
			return stream.CloseSend()
		}
	}
}

// receive takes one message of the server.
func (s *Session) receive(resp *raypb.DataResponse) {
	s.heard()
	s.bytesCame.Add(int64(len(resp.GetGet().GetData())))
	listener := s.out.listener(resp)
	r := s.out.accept(resp)
	if listener != nil {
		// Only this goroutine touches what was put together so far.
		listener.progress(Progress{Done: int64(listener.object.received), Total: int64(resp.GetGet().GetTotalSize())})
	}
	if r == nil {
		return
	}
	s.answers.Add(1)
	if r.err == nil {
		s.absorb(r, resp)
	}
	if r.err != nil {
		r.err = &CallError{Target: r.target, Sent: SentMaybe, Err: r.err}
	}
	if r.promises != nil {
		s.refs.fulfil(r, resp.GetPut())
		s.putTurns.pass()
	}
	s.deliver(r)
}

// deliver makes the answer of r, and what it handed over, known to whoever waits.
func (s *Session) deliver(r *request) {
	s.settle(r)
	if r.releases != nil {
		s.refs.releaseDone(r)
	}
	if r.fetches != nil {
		s.refs.fetched(r)
	}
	if s.out.finish(r) {
		return
	}
	// The caller went away.
	for _, h := range r.handles {
		h.release()
	}
	if r.fetches != nil {
		s.dropValue(r)
	}
}

// absorb takes what an answer hands over to this session into its books, whether or not anybody still waits.
func (s *Session) absorb(r *request, resp *raypb.DataResponse) {
	switch x := resp.GetType().(type) {
	case *raypb.DataResponse_Put:
		if x.Put.GetValid() && r.promises == nil {
			s.take(r, kindObject, x.Put.GetId())
		}
	case *raypb.DataResponse_TaskTicket:
		if !x.TaskTicket.GetValid() {
			return
		}
		kind := kindObject
		if r.producesActor {
			kind = kindActor
		}
		s.take(r, kind, x.TaskTicket.GetReturnIds()...)
	case *raypb.DataResponse_ConnectionInfo:
		if r.probe {
			s.probing.Store(false)
		}
	}
}

// take holds what an answer names.
func (s *Session) take(r *request, kind refKind, ids ...[]byte) {
	if slices.ContainsFunc(ids, func(id []byte) bool { return len(id) == 0 }) {
		r.err = errNoID
		return
	}
	r.handles = r.single[:0]
	for _, id := range ids {
		r.handles = append(r.handles, s.refs.hold(kind, id, r.actor))
	}
}

// isTerminal reports whether the server will not accept the session again. These codes come from Ray's own code; a token that
// could not be had here (ErrToken) has another.
func isTerminal(err error) bool {
	if errors.Is(err, errExhausted) {
		return true
	}
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Aborted, codes.Unauthenticated:
		return true
	}
	return false
}

// describe makes the message of a status readable: Ray puts exceptions into it as base64 of a pickle.
func describe(c *Credentials, err error) error {
	if refusal := refused(c, err); refusal != nil {
		return refusal
	}
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.Aborted {
		return err
	}
	data, decodeErr := base64.StdEncoding.DecodeString(st.Message())
	if decodeErr != nil {
		return err
	}
	if remote := decodePickledError(data); remote != nil {
		return remote
	}
	return err
}
