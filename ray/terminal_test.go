package ray_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/raypb"
	"github.com/seedcore/seedcore/ray"
)

// allCodes are those of gRPC that an error can have.
var allCodes = []codes.Code{
	codes.Canceled, codes.Unknown, codes.InvalidArgument, codes.DeadlineExceeded, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.ResourceExhausted,
	codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unimplemented, codes.Internal, codes.Unavailable, codes.DataLoss, codes.Unauthenticated,
}

// failingOnce is a session with a server that fails the next request of the session with an error, once.
func failingOnce(t *testing.T, failure error) (s *ray.Session, server *scripted) {
	t.Helper()
	var armed atomic.Bool
	server = &scripted{
		namespace: "x", init: func(int, *raypb.InitRequest) (*raypb.InitResponse, error) { return &raypb.InitResponse{Ok: true}, nil },
		fail: func() error {
			if armed.CompareAndSwap(true, false) {
				return failure
			}
			return nil
		},
	}
	s, err := ray.Open(deadline(t), ray.Config{Address: server.start(t), Namespace: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) }) // it may be lost
	armed.Store(true)
	return s, server
}

// Six codes at the end of the data channel are the server's word that the session is over. Whatever else ends it is a failure
// of the way there: the session is resumed, and what waited for an answer gets it.
func TestWhichCodesEndASession(t *testing.T) {
	terminal := map[codes.Code]bool{
		codes.ResourceExhausted: true, codes.InvalidArgument: true, codes.NotFound: true, codes.FailedPrecondition: true, codes.Aborted: true,
		codes.Unauthenticated: true, // Ray's own client tries again
	}
	type end struct {
		err  error
		is   error // besides ErrSessionLost
		ends bool
	}
	ends := map[string]end{
		"no status":           {errors.New("whatever"), nil, false},
		"a wrong token":       {status.Error(codes.Unauthenticated, "InvalidAuthToken"), ray.ErrUnauthenticated, true},
		"another cluster":     {status.Error(codes.Unauthenticated, "WrongClusterID: Perhaps the client is accessing GCS after it has restarted."), ray.ErrClusterReplaced, true},
		"another, of old":     {status.Error(codes.Aborted, "AuthError"), ray.ErrClusterReplaced, true},
		"cleaned up":          {status.Error(codes.NotFound, "Attempted to reconnect a session that has already been cleaned up."), nil, true},
		"a process that died": {status.Error(codes.Unavailable, "Stream removed (recvmsg:Connection reset by peer)"), nil, false},
	}
	for _, code := range allCodes {
		ends[code.String()] = end{status.Error(code, "for the test"), nil, terminal[code]}
	}
	for name, c := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, server := failingOnce(t, c.err)
			err := s.Ping(deadline(t))
			server.mu.Lock()
			streams := len(server.clients)
			server.mu.Unlock()
			if !c.ends {
				if err != nil || s.Err() != nil || s.Stats().Reconnects != 1 || streams != 2 {
					t.Errorf("%v after %d streams; the session: %v, %+v", err, streams, s.Err(), s.Stats())
				}
				return
			}
			if !errors.Is(err, ray.ErrSessionLost) || !errors.Is(s.Err(), ray.ErrSessionLost) || c.is != nil && !errors.Is(s.Err(), c.is) || streams != 1 {
				t.Errorf("%v after %d streams; the session: %v", err, streams, s.Err())
			}
		})
	}
}

// A unary request that fails ends the session only when the server does not know it, and is made again only when the way there
// failed.
func TestWhichCodesEndARequest(t *testing.T) {
	for _, code := range allCodes {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			s, _ := failingOnce(t, status.Error(code, "for the test"))
			exists, err := s.KVExists(deadline(t), "", "key")
			switch code {
			case codes.Unavailable:
				if err != nil || !exists {
					t.Errorf("not made again: %v", err)
				}
			case codes.NotFound:
				wantSent(t, err, ray.ErrSessionLost, ray.SentMaybe)
				if s.Err() == nil {
					t.Error("the session lives")
				}
				return
			case codes.Unauthenticated:
				wantSent(t, err, ray.ErrUnauthenticated, ray.SentNo)
			default:
				if call, ok := errors.AsType[*ray.CallError](err); !ok || call.Sent != ray.SentMaybe || status.Code(err) != code {
					t.Errorf("%v", err)
				}
			}
			if err := s.Ping(deadline(t)); err != nil || s.Err() != nil {
				t.Errorf("the session: %v, %v", err, s.Err())
			}
		})
	}
}
