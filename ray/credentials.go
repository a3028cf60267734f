package ray

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seedcore/seedcore/internal/wire/credentials"
)

// Credentials are what connections to a cluster carry: a token, TLS, or both. A nil *Credentials means plain text and no
// token. Printing them shows no secret. They must not be changed once they are in use. The fields are:
//
//   - Token func() (string, error), asked before every call, from several goroutines: StaticToken, TokenFile, or one of the
//     program's own, which must be quick. Nil: no token.
//   - TLS *tls.Config, for every connection: TLSFiles.Config makes one of files. Nil: plain text. Ray's servers demand a
//     certificate of the client as well.
type Credentials = credentials.Credentials

// TLSFiles name the PEM files for Credentials.TLS, which its method Config makes: Cert and Key are this process's own
// certificate and key, CA has the authority that signed those of the servers, and ServerName is the name in the servers'
// certificates, where it is not the host that is dialled. Cert and Key are read again when they change.
type TLSFiles = credentials.TLSFiles

// ErrToken means: there is no authentication token where one was to be, since Credentials.Token failed. Nothing was sent, and
// neither the session nor the connection is harmed: a later call asks for the token again.
var ErrToken = credentials.ErrToken

// ErrUnauthenticated means: the cluster wants a token, or another one than it got. Trying again does not help.
var ErrUnauthenticated = errors.New("ray: not authenticated")

// refused tells the gRPC errors that are about who this process is, and which it may speak to, from all others, for which
// it returns nil: ErrToken, ErrClusterReplaced or ErrUnauthenticated, with what to do about it.
func refused(c *Credentials, err error) error {
	switch {
	case errors.Is(err, ErrToken):
		return err
	case status.Code(err) == codes.Aborted && status.Convert(err).Message() == oldWrongCluster:
		return fmt.Errorf("%w: %w", ErrClusterReplaced, err)
	case status.Code(err) != codes.Unauthenticated:
		return nil
	case strings.Contains(status.Convert(err).Message(), wrongCluster):
		return fmt.Errorf("%w: %w", ErrClusterReplaced, err)
	case c.HasToken():
		return fmt.Errorf("%w: the cluster does not accept the token: %w", ErrUnauthenticated, err)
	default:
		return fmt.Errorf("%w: the cluster wants a token and none was sent; set Config.Credentials (CredentialsFromEnv reads RAY_AUTH_TOKEN): %w", ErrUnauthenticated, err)
	}
}

// wrongCluster begins Ray's answer to a call that carries another cluster's id. It has the status of a wrong token.
const wrongCluster = "WrongClusterID"

// oldWrongCluster is all that Ray before 2.54 says in that case; it knows no tokens.
const oldWrongCluster = "AuthError"

// CredentialsFromEnv reads Ray's own variables through getenv, such as os.Getenv:
//
//   - RAY_AUTH_MODE: "token" demands a token, "disabled" sends none; unset: a token is sent if there is one.
//   - The token is RAY_AUTH_TOKEN, or in the file RAY_AUTH_TOKEN_PATH, or in ~/.ray/auth_token. Files are read again when
//     they change.
//   - RAY_USE_TLS ("1" or "true") with RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT, all three required.
//   - SEEDCORE_RAY_TLS_SERVER_NAME is the name in the servers' certificates, where it is not the host that is dialled.
//
// It returns nil if none of them asks for anything. Open does not call it: it is for the one place of a program that reads
// the environment.
func CredentialsFromEnv(getenv func(string) string) (*Credentials, error) {
	if getenv == nil {
		return nil, fmt.Errorf("%w: getenv is nil; give os.Getenv", ErrInvalidOption)
	}
	return credentials.FromEnv(getenv)
}

// StaticToken is a Credentials.Token that never changes.
func StaticToken(token string) func() (string, error) { return credentials.StaticToken(token) }

// TokenFile is a Credentials.Token that is kept in a file, and read again when the file changes.
func TokenFile(path string) func() (string, error) { return credentials.TokenFile(path) }
