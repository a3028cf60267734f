package ray

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// DefaultDashboardTimeout bounds a request to the dashboard whose context has no deadline.
	DefaultDashboardTimeout = 40 * time.Second
	// maxDashboardAnswer bounds what is read of one answer, in bytes.
	maxDashboardAnswer = 256 << 20
)

// ErrNoDashboard means: nothing at the address answers as Ray's dashboard.
var ErrNoDashboard = errors.New("ray: no dashboard answers")

// ErrNotFound means: the cluster does not know what was asked for, such as a job or a placement group.
var ErrNotFound = errors.New("ray: not found")

// Dashboard is a client of Ray's dashboard, which serves the state API and jobs over HTTP (port 8265 of the head node). It
// keeps no state but idle connections and is safe for concurrent use. Every call is bounded by its context, or by
// DefaultDashboardTimeout without a deadline. Nothing is retried, no redirect is followed, and no proxy is used: a token
// goes to the address alone.
type Dashboard struct {
	base        string
	name        string // base for errors, without a password
	credentials *Credentials
	http        *http.Client
}

// DashboardOptions are those of NewDashboardWith. The zero value is plain TCP and no token.
type DashboardOptions struct {
	// Credentials of the cluster; nil: no token. TLS is used with an https URL only.
	Credentials *Credentials
	// Dial opens the connections, as Config.Dial does those of a session; nil: TCP.
	Dial Dialer
}

// NewDashboard makes a client; nothing is dialled. address is host:port or a URL, such as a browser shows. A user and a
// password in it are for a proxy in front of the dashboard. credentials may be nil; TLS, which Ray's own dashboard does not
// speak, is used with an https URL only.
func NewDashboard(address string, credentials *Credentials) (*Dashboard, error) {
	return NewDashboardWith(address, DashboardOptions{Credentials: credentials})
}

// NewDashboardWith is NewDashboard with options.
func NewDashboardWith(address string, opts DashboardOptions) (*Dashboard, error) {
	credentials := opts.Credentials
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // without the address, in which there may be a password
		}
		return nil, fmt.Errorf("ray: dashboard address: %w", err)
	}
	u.Fragment, u.RawFragment, u.RawQuery = "", "", ""
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("ray: dashboard address %q is neither host:port nor an http URL", u.Redacted())
	}
	transport := &http.Transport{
		Proxy:                 nil, // like every other connection to the cluster
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 0, // the context's
	}
	if opts.Dial != nil {
		transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := opts.Dial(ctx, address)
			if err == nil && conn == nil {
				err = errors.New("the dialer returned neither a connection nor an error")
			}
			if err != nil {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err} // nothing was sent, see sentBefore
			}
			return conn, nil
		}
	}
	if credentials != nil && credentials.TLS != nil {
		transport.TLSClientConfig = credentials.TLS.Clone()
	}
	client := &http.Client{
		Transport: transport,
		// Net/http would send the header with the token along to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return fmt.Errorf("%w at %s: it redirects, which is not followed; give the address of the dashboard itself", ErrNoDashboard, u.Redacted())
		},
	}
	return &Dashboard{base: strings.TrimSuffix(u.String(), "/"), name: strings.TrimSuffix(u.Redacted(), "/"), credentials: credentials, http: client}, nil
}

// String gives the address, without a password.
func (d *Dashboard) String() string {
	if d == nil {
		return "Dashboard(nil)"
	}
	return "Dashboard(" + d.name + ")"
}

// GoString is String: %#v would show the password.
func (d *Dashboard) GoString() string { return d.String() }

// Close ends idle connections. Requests under way go on.
func (d *Dashboard) Close() { d.http.CloseIdleConnections() }

// RayVersion asks the dashboard for the version of Ray.
func (d *Dashboard) RayVersion(ctx context.Context) (string, error) {
	var answer struct {
		Version string `json:"ray_version"`
	}
	err := d.do(ctx, "version", http.MethodGet, "/api/version", nil, &answer)
	return answer.Version, err
}

// do makes a request and reads the JSON of its answer into answer. The body is sent as JSON, or as it is if it is bytes.
func (d *Dashboard) do(ctx context.Context, target, method, path string, body, answer any) error {
	fail := func(sent Sent, err error) error {
		return &CallError{Target: "dashboard " + target, Sent: sent, Err: err}
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultDashboardTimeout)
		defer cancel()
	}
	var reader io.Reader = http.NoBody
	form := "application/json"
	if raw, ok := body.([]byte); ok {
		reader, form = bytes.NewReader(raw), "application/octet-stream"
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fail(SentNo, fmt.Errorf("%w: %w", ErrUnsupportedValue, err))
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, d.base+path, reader)
	if err != nil {
		return fail(SentNo, err)
	}
	request.Header.Set("Content-Type", form)
	if err := d.credentials.Authorize(request); err != nil {
		return fail(SentNo, err)
	}
	response, err := d.http.Do(request)
	if err != nil {
		return fail(d.sentBefore(err), d.noAnswer(ctx, err))
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDashboardAnswer+1))
	switch {
	case err != nil:
		return fail(SentMaybe, err)
	case len(text) > maxDashboardAnswer:
		return fail(SentYes, fmt.Errorf("%w: an answer of more than %d bytes; ask for less", ErrUnsupportedValue, maxDashboardAnswer))
	case response.StatusCode/100 != 2:
		return fail(SentYes, refusal(response.StatusCode, string(text)))
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fail(SentYes, fmt.Errorf("%w at %s: %w", ErrNoDashboard, d.name, err))
	}
	return nil
}

// noAnswer is the error of a request that has no answer.
func (d *Dashboard) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrNoDashboard) {
		return err
	}
	return fmt.Errorf("%w at %s: %w", ErrNoDashboard, d.name, err)
}

// sentBefore tells how far a request came that has no answer.
func (d *Dashboard) sentBefore(err error) Sent {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return SentNo
	}
	return SentMaybe
}

// refusal is the error of a status that is no success.
func refusal(code int, text string) error {
	text = strings.TrimSpace(text)
	if len(text) > 2000 {
		text = text[:2000] + "..."
	}
	err := fmt.Errorf("HTTP status %d: %s", code, text)
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	}
	return err
}
