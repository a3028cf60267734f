// Package credentials is how a process proves to a Ray cluster who it is: a token, a TLS certificate, or both. Everything
// that dials (sessions, the GCS, direct calls, workers) uses it, so that Ray's variables mean the same everywhere.
package credentials

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// Credentials are what connections to one cluster carry. A nil *Credentials is valid: plain text, no token. It holds no
// secret itself, so that printing it shows none. It must not be changed once it is in use.
type Credentials struct {
	// Token returns the token that is sent with every call; nil: none is sent. It is called for every call, from several
	// goroutines, and must be quick. See StaticToken and TokenFile.
	Token func() (string, error)
	// TLS is used for every connection; nil: plain text. Ray's servers demand a certificate of the client as well.
	TLS *tls.Config
}

// ErrToken means: there is no token where one was to be. A call that needed it was not sent.
var ErrToken = errors.New("ray: no authentication token")

// StaticToken always returns the same token.
func StaticToken(token string) func() (string, error) {
	return func() (string, error) {
		if token == "" {
			return "", fmt.Errorf("%w: it is empty", ErrToken)
		}
		return token, nil
	}
}

// DialOptions returns what a gRPC connection has to be made with. warning is not empty when tokens would cross a network in
// clear text: it names the address, not the token.
func (c *Credentials) DialOptions(address string) (options []grpc.DialOption, warning string) {
	transport := insecure.NewCredentials()
	if c != nil && c.TLS != nil {
		transport = credentials.NewTLS(c.TLS.Clone())
	}
	options = []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if c == nil || c.Token == nil {
		return options, ""
	}
	options = append(options, grpc.WithPerRPCCredentials(bearer{c}))
	return options, c.warning(address)
}

// Secure returns conn as it is to be used for HTTP/2: with TLS where that is asked for. It closes conn when it fails.
func (c *Credentials) Secure(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	if !c.HasTLS() {
		return conn, nil
	}
	secured, _, err := credentials.NewTLS(c.TLS).ClientHandshake(ctx, address, conn)
	if err != nil {
		_ = conn.Close() // nothing was sent on it
		return nil, err
	}
	return secured, nil
}

// Authorization returns the header of that name for a call, "" where there is none.
func (c *Credentials) Authorization() (string, error) {
	if c == nil || c.Token == nil {
		return "", nil
	}
	token, err := c.Token()
	if err != nil {
		return "", tokenError{err}
	}
	return "Bearer " + token, nil
}

// Authorize adds the token to a request to the dashboard.
func (c *Credentials) Authorize(r *http.Request) error {
	if c == nil || c.Token == nil {
		return nil
	}
	token, err := c.Token()
	if err != nil {
		return tokenError{err}
	}
	r.Header.Set("X-Ray-Authorization", "Bearer "+token)
	return nil
}

// HasToken reports whether calls carry a token.
func (c *Credentials) HasToken() bool { return c != nil && c.Token != nil }

// HasTLS reports whether connections are encrypted.
func (c *Credentials) HasTLS() bool { return c != nil && c.TLS != nil }

// Authority is the host that is called at an address, as a server or a proxy before it is to see it: the one that its certificate names.
func (c *Credentials) Authority(address string) string {
	if c.HasTLS() && c.TLS.ServerName != "" {
		return c.TLS.ServerName
	}
	return address
}

func (c *Credentials) warning(address string) string {
	if c.TLS != nil || IsLoopback(address) {
		return ""
	}
	return fmt.Sprintf("the authentication token is sent to %s in clear text; use TLS (RAY_USE_TLS), or a tunnel that ends at a loopback address", address)
}

// IsLoopback reports whether an address, with a port or without, is of this machine alone. Names are not looked up: only
// localhost is known.
func IsLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// bearer sends a token along with every call.
type bearer struct{ of *Credentials }

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	authorization, err := b.of.Authorization()
	return map[string]string{"authorization": authorization}, err
}

// tokenError is a failure of Credentials.Token. gRPC would take any other error for a refusal by the other side.
type tokenError struct{ err error }

func (e tokenError) Error() string { return fmt.Sprintf("%v: %v", ErrToken, e.err) }

func (e tokenError) Unwrap() []error { return []error{ErrToken, e.err} }

// GRPCStatus is how the call ends: the next one may well have a token.
func (e tokenError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

// RequireTransportSecurity is false: Ray's token mode is mostly used without TLS. DialOptions warns.
func (bearer) RequireTransportSecurity() bool { return false }
