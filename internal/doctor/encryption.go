package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// encryption makes a TLS handshake with each server, also where this process is to speak plain text: a server that answers it
// wants TLS.
func (e *examination) encryption(ctx context.Context) {
	if e.failed {
		e.skip("TLS")
		return
	}
	var ours *tls.Config
	if c := e.cfg.Credentials; c != nil {
		ours = c.TLS
	}
	var well, ill []string
	var cure string
	for _, server := range e.open {
		found, remedy := handshake(ctx, server, ours)
		if remedy == "" {
			well = append(well, found)
		} else {
			ill, cure = append(ill, found), remedy
		}
	}
	e.addEach("TLS", well, ill, cure)
}

const (
	useTLS       = "set RAY_USE_TLS=1 with RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT, or Config.Credentials"
	noTLS        = "unset RAY_USE_TLS if the cluster speaks plain text, or correct the port: what is there knows no TLS"
	otherCA      = "set RAY_TLS_CA_CERT to the authority that signed the cluster's certificates"
	otherName    = "set SEEDCORE_RAY_TLS_SERVER_NAME to a name that is in the server's certificate, or put this host's into it"
	renew        = "renew the server's certificate, or correct the clock here"
	otherCert    = "set RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY to a certificate that the cluster's authority signed, for clients too"
	otherTrouble = "see the cause; the three files of RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT have to go with the cluster's"
)

// handshake tells how a server and this process get on with TLS; without a cure, well.
func handshake(ctx context.Context, server string, ours *tls.Config) (found, cure string) {
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	cfg := ours.Clone()
	if ours == nil {
		cfg = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // nothing is said, but to find out whether it knows TLS
	}
	cfg.NextProtos = []string{"h2"}
	if cfg.ServerName == "" {
		cfg.ServerName, _, _ = net.SplitHostPort(server)
	}
	state, knowsTLS, err := greet(ctx, server, cfg)
	switch {
	case ours == nil && knowsTLS:
		return server + " speaks TLS, and this process does not", useTLS
	case ours == nil && errors.Is(err, context.DeadlineExceeded):
		return server + " does not answer a TLS handshake; this process speaks plain text", ""
	case ours == nil:
		return server + " speaks plain text, as this process does", ""
	case !knowsTLS && errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("%s does not answer a TLS handshake: %v", server, err), noTLS
	case !knowsTLS:
		return fmt.Sprintf("%s does not speak TLS: %v", server, err), noTLS
	case isVerification(err):
		return fmt.Sprintf("%s: %v", server, err), remedy(err)
	case err != nil: // it has shown its certificate, which is fine; Ray's servers then end the connection without a word
		return fmt.Sprintf("%s does not take our certificate: %v", server, err), otherCert
	}
	peer := state.PeerCertificates[0]
	return fmt.Sprintf("%s speaks %s as %s, good until %s, and takes our certificate",
		server, tls.VersionName(state.Version), peer.Subject, peer.NotAfter.Format(time.DateOnly)), ""
}

// greet makes a handshake and the beginning of HTTP/2, since a server refuses a client's certificate only after TLS 1.3's
// handshake is over. knowsTLS tells whether the server came as far as to show its own.
func greet(ctx context.Context, server string, cfg *tls.Config) (state tls.ConnectionState, knowsTLS bool, err error) {
	before := cfg.VerifyConnection
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		knowsTLS = true
		if before != nil {
			return before(state)
		}
		return nil
	}
	raw, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", server)
	if err != nil {
		return state, knowsTLS || isVerification(err), err
	}
	conn := raw.(*tls.Conn)
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // it was open just now
	}
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // and no settings
	if _, err = conn.Write([]byte(preface)); err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	return conn.ConnectionState(), knowsTLS, err
}

// isVerification tells that the server's certificate was looked at, and found wanting.
func isVerification(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

func remedy(err error) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return otherName
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return otherCA
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return renew
	}
	return otherTrouble
}
