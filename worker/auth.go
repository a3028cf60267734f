package worker

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	tlscredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/credentials"
)

// access is how this process proves itself to the cluster, and what it wants of those who call it.
type access struct {
	credentials *credentials.Credentials // nil: none
	// demandToken: a call without the cluster's token is refused, as Ray's own workers do in token mode.
	demandToken bool
}

// newAccess reads Ray's variables, which a worker inherits from its raylet.
func newAccess(getenv func(string) string) (access, error) {
	c, err := credentials.FromEnv(getenv)
	if err != nil {
		return access{}, err
	}
	a := access{credentials: c, demandToken: strings.EqualFold(getenv("RAY_AUTH_MODE"), "token")}
	if a.demandToken && !c.HasToken() {
		return access{}, errors.New("RAY_AUTH_MODE is token, and there is no token")
	}
	return a, nil
}

// serverOptions make a server that wants a certificate of the cluster's authority, and its token.
func (a access) serverOptions() []grpc.ServerOption {
	var options []grpc.ServerOption
	if a.credentials != nil && a.credentials.TLS != nil {
		client := a.credentials.TLS
		options = append(options, grpc.Creds(tlscredentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12, ClientCAs: client.RootCAs, ClientAuth: tls.RequireAndVerifyClientCert,
			// Ray gives a process one certificate for both of its roles.
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return client.GetClientCertificate(nil) },
		})))
	}
	if a.demandToken {
		options = append(options, grpc.UnaryInterceptor(a.checkToken))
	}
	return options
}

func (a access) checkToken(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	token, err := a.credentials.Token()
	if err != nil {
		return nil, status.Error(codes.Unauthenticated, fmt.Sprintf("worker: no call can be checked: %v", err))
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, got := range md.Get("authorization") {
		if subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+token)) == 1 {
			return handle(ctx, req)
		}
	}
	return nil, status.Error(codes.Unauthenticated, "InvalidAuthToken: the call does not carry the cluster's token")
}
