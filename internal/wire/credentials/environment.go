package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// maxToken bounds what is read as a token.
const maxToken = 64 << 10

// FromEnv reads Ray's own variables through getenv, such as os.Getenv:
//
//   - RAY_AUTH_MODE: "token" demands a token, "disabled" (or "none") sends none; unset: a token is sent if there is one.
//   - The token is RAY_AUTH_TOKEN, or in the file RAY_AUTH_TOKEN_PATH, or in ~/.ray/auth_token. Files are read again when
//     they change.
//   - RAY_USE_TLS ("1" or "true") with RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT, all three required.
//   - SEEDCORE_RAY_TLS_SERVER_NAME is the name in the servers' certificates, where it is not the host that is dialled.
//
// It returns nil if none of them asks for anything.
func FromEnv(getenv func(string) string) (*Credentials, error) {
	token, tokenErr := tokenFromEnv(getenv)
	config, tlsErr := tlsFromEnv(getenv)
	if err := errors.Join(tokenErr, tlsErr); err != nil {
		return nil, err
	}
	if token == nil && config == nil {
		return nil, nil
	}
	return &Credentials{Token: token, TLS: config}, nil
}

func tokenFromEnv(getenv func(string) string) (func() (string, error), error) {
	required := false
	switch mode := strings.ToLower(getenv("RAY_AUTH_MODE")); mode {
	case "":
	case "disabled", "none":
		return nil, nil
	case "token":
		required = true
	default:
		return nil, fmt.Errorf("RAY_AUTH_MODE: %q is neither token nor disabled", mode)
	}
	if token := strings.TrimSpace(getenv("RAY_AUTH_TOKEN")); token != "" {
		return StaticToken(token), nil
	}
	if path := getenv("RAY_AUTH_TOKEN_PATH"); path != "" {
		source := TokenFile(path)
		if _, err := source(); err != nil {
			return nil, fmt.Errorf("RAY_AUTH_TOKEN_PATH: %w", err)
		}
		return source, nil
	}
	if home := getenv("HOME"); home != "" {
		path := filepath.Join(home, ".ray", "auth_token")
		if _, err := os.Stat(path); err == nil {
			source := TokenFile(path)
			if _, err := source(); err != nil {
				return nil, err
			}
			return source, nil
		}
	}
	if required {
		return nil, fmt.Errorf("%w: RAY_AUTH_MODE is token; set RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, or write ~/.ray/auth_token", ErrToken)
	}
	return nil, nil
}

// TokenFile returns the token in a file, without the space around it. The file is read again when its size, time or
// identity changed, as when a Kubernetes secret is rotated; while it is missing or empty, the last token stays.
func TokenFile(path string) func() (string, error) {
	f := &tokenFile{path: path}
	return f.token
}

type tokenFile struct {
	path string

	mu      sync.Mutex // guards all below
	last    string
	info    os.FileInfo
	checked time.Time
}

// recheck is how long a token is used before the file is looked at again.
const recheck = time.Second

func (f *tokenFile) token() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != "" && time.Since(f.checked) < recheck {
		return f.last, nil
	}
	info, err := os.Stat(f.path)
	if err == nil && f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		f.checked = time.Now()
		return f.last, nil
	}
	var token string
	if err == nil {
		token, err = readToken(f.path, info.Size())
	}
	if err != nil {
		if f.last != "" {
			return f.last, nil
		}
		return "", fmt.Errorf("%w: %w", ErrToken, err)
	}
	f.last, f.info, f.checked = token, info, time.Now()
	return token, nil
}

func readToken(path string, size int64) (string, error) {
	if size > maxToken {
		return "", fmt.Errorf("%s has %d bytes, which is no token", path, size)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return token, nil
}

func tlsFromEnv(getenv func(string) string) (*tls.Config, error) {
	switch use := strings.ToLower(getenv("RAY_USE_TLS")); use {
	case "", "0", "false":
		return nil, nil
	case "1", "true":
	default:
		return nil, fmt.Errorf("RAY_USE_TLS: %q is neither 1 nor 0", use)
	}
	files := TLSFiles{ServerName: getenv("SEEDCORE_RAY_TLS_SERVER_NAME")}
	var errs []error
	for _, f := range []struct {
		name string
		into *string
	}{{"RAY_TLS_SERVER_CERT", &files.Cert}, {"RAY_TLS_SERVER_KEY", &files.Key}, {"RAY_TLS_CA_CERT", &files.CA}} {
		if *f.into = getenv(f.name); *f.into == "" {
			errs = append(errs, fmt.Errorf("%s: missing, and RAY_USE_TLS is set", f.name))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return files.Config()
}

// TLSFiles name the PEM files of a process. Ray gives all processes the same: a certificate that is used as a server's and
// as a client's, its key, and the authority that signed the certificates of the others.
type TLSFiles struct {
	Cert, Key, CA string
	// ServerName is the name in the servers' certificates; empty: the host that is dialled. Certificates that Ray's own
	// tools make carry addresses as names, so that Go accepts them by name only.
	ServerName string
}

// Config reads the files once to check them. The certificate is read again for every connection, so that a renewed one is
// used; the authority is not.
func (f TLSFiles) Config() (*tls.Config, error) {
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("TLS authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("TLS authority: %s holds no certificate", f.CA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    roots,
		ServerName: f.ServerName,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			if err != nil {
				return nil, fmt.Errorf("TLS certificate: %w", err)
			}
			return &pair, nil
		},
	}, nil
}
