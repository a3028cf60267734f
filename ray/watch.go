package ray

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/raypb"
)

// proofTimeout is how long the process behind a session may take to show that it lives, once there is reason to doubt it. One that
// lives answers in milliseconds; for one that is gone the server answers nothing for half a minute.
const proofTimeout = 2 * time.Second

// watch notices when the process that the server runs for this session dies. The data channel would not tell: the server
// keeps its end back for the whole grace period, in the hope of a client that comes back. The log channel ends at once. It
// is open for that, and asks for logs only if Config.ClusterLog wants them.
func (s *Session) watch() {
	select {
	case <-s.accepted:
	case <-s.ctx.Done():
		return
	}
	pace := pacer{firstResumePause, lastResumePause}
	for {
		opened := time.Now()
		switch err := s.logChannel(); status.Code(err) {
		case codes.ResourceExhausted, codes.Unimplemented:
			// No room for it: then the grace period has to do.
			return
		case codes.NotFound:
			s.doubt(err)
		default:
			if errors.Is(err, io.EOF) {
				s.doubt(errors.New("its log channel ended"))
			}
		}
		if time.Since(opened) > lastResumePause {
			pace.bound = firstResumePause
		}
		if pace.wait(s.ctx) != nil {
			return
		}
	}
}

// logChannel waits for the end of the log channel: io.EOF if the server ended it, otherwise what became of the connection.
func (s *Session) logChannel() error {
	ctx, cancel := context.WithCancel(s.outgoing(s.ctx))
	defer cancel()
	stream, err := raypb.NewRayletLogStreamerClient(s.conn).Logstream(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	if s.cfg.ClusterLog != nil {
		// An error here shows in Recv.
		_ = stream.Send(&raypb.LogSettingsRequest{Enabled: true, Loglevel: pythonDebug})
	}
	for {
		data, err := stream.Recv()
		if err != nil {
			return err
		}
		if s.cfg.ClusterLog != nil {
			s.clusterLog(ctx, data)
		}
	}
}

// doubt ends the session unless its process answers, or the connection is down, so that nothing can be said about it. The
// process is asked in two ways: a request needs a thread of the server, which has none left when it is full, and the data
// channel, which has its own, may be busy with a large value.
func (s *Session) doubt(cause error) {
	ctx, cancel := context.WithTimeout(s.ctx, proofTimeout)
	defer cancel()
	alive := make(chan bool, 2)
	go func() { alive <- s.answersRequests(ctx) }()
	go func() {
		_, err := s.connectionInfo(ctx, "connection info")
		alive <- err == nil
	}()
	proof := <-alive
	if proof {
		cancel()
	}
	if proof = <-alive || proof; proof || s.conn.GetState() != connectivity.Ready {
		return
	}
	if s.ctx.Err() == nil {
		s.cancel(errLost(fmt.Errorf("the process that the server ran for it does not answer any more: %w", cause)))
	}
}

// answersRequests asks the process until it answers, or nothing more can come.
func (s *Session) answersRequests(ctx context.Context) bool {
	pace := pacer{firstResumePause, lastResumePause}
	for {
		_, err := s.rpc.ClusterInfo(s.outgoing(ctx), &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_IS_INITIALIZED})
		// The server says "unavailable" while it has not noticed yet that the process is gone, and nothing afterwards.
		if err == nil || status.Code(err) != codes.Unavailable || s.conn.GetState() != connectivity.Ready || pace.wait(ctx) != nil {
			return err == nil
		}
	}
}
