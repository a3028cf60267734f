package credentials

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// ErrNoCertificate means: a server was to be made whose clients use TLS, and there is no certificate for it.
var ErrNoCertificate = errors.New("ray: no certificate to serve with")

// ServerOptions make a server for other processes of the cluster: with TLS it wants a certificate of the cluster's
// authority, and with demandToken the token in every call. Ray gives a process one certificate for both of its roles.
func (c *Credentials) ServerOptions(demandToken bool) ([]grpc.ServerOption, error) {
	var options []grpc.ServerOption
	if c != nil && c.TLS != nil {
		certificate := c.TLS.GetClientCertificate
		if certificate == nil {
			if len(c.TLS.Certificates) == 0 {
				return nil, ErrNoCertificate
			}
			own := c.TLS.Certificates[0]
			certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
		}
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12, ClientCAs: c.TLS.RootCAs, ClientAuth: tls.RequireAndVerifyClientCert,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(nil) },
		})))
	}
	if demandToken {
		options = append(options, grpc.UnaryInterceptor(c.checkToken))
	}
	return options, nil
}

func (c *Credentials) checkToken(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	token, err := c.Token()
	if err != nil {
		return nil, status.Errorf(codes.Unauthenticated, "worker: no call can be checked: %v", err)
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for _, got := range md.Get("authorization") {
		if subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+token)) == 1 {
			return handle(ctx, req)
		}
	}
	return nil, status.Error(codes.Unauthenticated, "InvalidAuthToken: the call does not carry the cluster's token")
}
