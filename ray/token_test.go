package ray_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/ray"
)

// moody is a token that cannot always be had.
type moody struct {
	fails atomic.Bool
	asked atomic.Int64 // times that it failed
}

var errVault = errors.New("the vault is closed")

func (m *moody) token() (string, error) {
	if m.fails.Load() {
		m.asked.Add(1)
		return "", errVault
	}
	return "token", nil
}

// identity plays a GCS that refuses the calls of one that it does not want: Ray's own gives these answers only when its
// cluster is created anew with the address of the old one, or its token changed.
type identity struct {
	corepb.UnimplementedNodeInfoGcsServiceServer
	refusal atomic.Pointer[status.Status]
}

func (i *identity) GetClusterId(context.Context, *corepb.GetClusterIdRequest) (*corepb.GetClusterIdReply, error) {
	return &corepb.GetClusterIdReply{ClusterId: make([]byte, 28)}, nil
}

func (i *identity) CheckAlive(context.Context, *corepb.CheckAliveRequest) (*corepb.CheckAliveReply, error) {
	return &corepb.CheckAliveReply{RayVersion: "2.60.0"}, i.refusal.Load().Err()
}

func TestTheReasonsForWhichAGCSIsNotAsked(t *testing.T) {
	ctx := deadline(t)
	var token moody
	gcs := &identity{}
	server := grpc.NewServer()
	corepb.RegisterNodeInfoGcsServiceServer(server, gcs)
	g, err := ray.DialGCS(ctx, serve(t, server), ray.GCSOptions{Credentials: &ray.Credentials{Token: token.token}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	expect := func(want error) {
		t.Helper()
		err := g.CheckAlive(ctx)
		for _, reason := range []error{ray.ErrToken, ray.ErrClusterReplaced, ray.ErrUnauthenticated, ray.ErrGCSUnavailable} {
			if errors.Is(err, reason) != (reason == want) { //nolint:errorlint // they are these very values
				t.Errorf("%v; want %v", err, want)
			}
		}
	}
	expect(nil)
	token.fails.Store(true)
	expect(ray.ErrToken)
	if err := g.CheckAlive(ctx); !errors.Is(err, errVault) {
		t.Errorf("%v", err)
	}
	token.fails.Store(false)
	expect(nil)
	gcs.refusal.Store(status.New(codes.Unauthenticated, "WrongClusterID: Perhaps the client is accessing GCS after it has restarted."))
	expect(ray.ErrClusterReplaced)
	gcs.refusal.Store(status.New(codes.Aborted, "AuthError")) // the same of Ray before 2.54
	expect(ray.ErrClusterReplaced)
	gcs.refusal.Store(status.New(codes.Unauthenticated, "InvalidAuthToken: Authentication token is missing or incorrect"))
	expect(ray.ErrUnauthenticated)
	gcs.refusal.Store(status.New(codes.Unauthenticated, "whatever a gateway says"))
	expect(ray.ErrUnauthenticated)
}

func TestASessionOutlivesATokenThatCannotBeHad(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	var token moody
	proxy, s := through(t, ray.Config{Credentials: &ray.Credentials{Token: token.token}})
	token.fails.Store(true)
	if err := s.Ping(ctx); err != nil { // the data channel is open
		t.Error(err)
	}
	if _, err := s.KVExists(ctx, "x", "y"); !errors.Is(err, ray.ErrToken) || !errors.Is(err, errVault) || ray.SentOf(err) != ray.SentNo {
		t.Errorf("%v", err)
	}
	asked := token.asked.Load()
	proxy.Cut()
	waitFor(t, "attempts to resume the session", func() bool { return token.asked.Load() >= asked+3 })
	token.fails.Store(false)
	if err := s.Ping(ctx); err != nil || s.Stats().Reconnects != 1 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
	token.fails.Store(true)
	if _, err := ray.Open(ctx, ray.Config{Address: proxy.Address(), Namespace: "x", Credentials: &ray.Credentials{Token: token.token}}); !errors.Is(err, ray.ErrToken) {
		t.Errorf("%v", err)
	}
}
