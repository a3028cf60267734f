package ray

import (
	"errors"

	"github.com/seedcore/seedcore/internal/wire/credentials"
)

// Credentials are what connections to a cluster carry: a token, TLS, or both. A nil *Credentials means plain text and no
// token. Printing them shows no secret.
type Credentials = credentials.Credentials

// TLSFiles name the PEM files for Credentials.TLS; see its method Config.
type TLSFiles = credentials.TLSFiles

// ErrToken means: there is no authentication token where one was to be.
var ErrToken = credentials.ErrToken

// ErrUnauthenticated means: the cluster wants a token, or another one than it got. Trying again does not help.
var ErrUnauthenticated = errors.New("ray: not authenticated")

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
	return credentials.FromEnv(getenv)
}

// StaticToken is a Credentials.Token that never changes.
func StaticToken(token string) func() (string, error) { return credentials.StaticToken(token) }

// TokenFile is a Credentials.Token that is kept in a file, and read again when the file changes.
func TokenFile(path string) func() (string, error) { return credentials.TokenFile(path) }
