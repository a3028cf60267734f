package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seedcore/seedcore/ray"
)

// Kind names the reasons for which a connection cannot be made that call for different things to be done.
type Kind string

// The kinds of a ConnectError.
const (
	KindToken           Kind = "token"           // this process has no token where it was to have one: ray.ErrToken
	KindUnresolvable    Kind = "unresolvable"    // the host name has no address (yet): ray.ErrUnresolvable
	KindAbsent          Kind = "absent"          // nothing accepts connections at the address: ray.ErrNotListening
	KindSilent          Kind = "silent"          // what accepts connections there says nothing: ray.ErrSilent
	KindNotRay          Kind = "not_ray"         // what listens there does not speak gRPC: ray.ErrNotRay
	KindTLS             Kind = "tls"             // the TLS handshake failed: ray.ErrTLS
	KindWrongServer     Kind = "wrong_server"    // a gRPC server, but not Ray Client's: ray.ErrOtherServer
	KindUnauthenticated Kind = "unauthenticated" // the cluster wants a token, or another one: ray.ErrUnauthenticated
	KindFull            Kind = "full"            // full, or silent for another reason: ray.ErrServerFull; a ray.FullError has what was seen
	KindTimeout         Kind = "timeout"         // the server is there, and the session did not come up in time
	KindOther           Kind = "other"           // none of these
)

// kinds are in the order of how far an attempt got.
var kinds = []struct {
	kind     Kind
	cause    error
	nextStep string
}{
	{KindToken, ray.ErrToken, "correct where this process gets its token: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, ~/.ray/auth_token, or Config.Credentials; nothing was sent"},
	{KindUnresolvable, ray.ErrUnresolvable, "correct the host name in RAY_ADDRESS (or RAY_HOST), or create the service of that name; the name is looked up anew at every attempt"},
	{KindAbsent, ray.ErrNotListening, "start the head (ray start --head --ray-client-server-port=10001), correct the address, or open the way there (firewall, network policy)"},
	{KindSilent, ray.ErrSilent, "restart the head's Ray Client server, which hangs or is stopped if it is what accepts connections there (ray_client_server*.log), or look for what swallows packets on the way (firewall, tunnel, proxy)"},
	{KindNotRay, ray.ErrNotRay, "give the port of the Ray Client server, usually 10001 (8265 is the dashboard); set RAY_USE_TLS where the cluster uses TLS; a proxy or service without a backend looks the same"},
	{KindTLS, ray.ErrTLS, "set RAY_TLS_CA_CERT to the authority that signed the cluster's certificates, SEEDCORE_RAY_TLS_SERVER_NAME to a name in them, and RAY_TLS_SERVER_CERT to one that the same authority signed; unset RAY_USE_TLS where the cluster speaks plain text"},
	{KindWrongServer, ray.ErrOtherServer, "give the port of the Ray Client server, usually 10001: another gRPC server, such as the GCS (6379), is at this one"},
	{KindUnauthenticated, ray.ErrUnauthenticated, "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's token"},
	{KindFull, ray.ErrServerFull, "close other clients of this cluster or raise RAY_CLIENT_SERVER_MAX_THREADS on the head; if it has few clients, look for what swallows packets on the way, or restart the head's Ray Client server"},
	{KindTimeout, context.DeadlineExceeded, "look at the head: it starts a process for every session, and has no memory or CPU for it, or its GCS hangs (gcs_server.out), or it takes very long (ray_client_server*.log in its log directory)"},
}

// stepForOther is the next step of what no kind is known for.
const stepForOther = "read the cause; `seedcore doctor` goes through a connection step by step, and ray_client_server*.log in the head's log directory has the server's side"

// NextStep says what to do about a failure of that kind.
func (k Kind) NextStep() string {
	for _, known := range kinds {
		if known.kind == k {
			return known.nextStep
		}
	}
	return stepForOther
}

// stepForLinks says what to do about checks of the links that failed, each or both; empty when neither did. Where there is no
// second link (used is false) nobody asked the cluster itself.
func stepForLinks(session error, used bool, gcs error) string {
	switch {
	case session != nil && !used:
		return "look at the head and the way there: its Ray Client server does not answer (ray_client_server*.log), and whether the cluster is up is not known, since its GCS is not reached from here; the session is resumed, or replaced by itself"
	case session != nil && gcs != nil:
		return "look at the head and the way there: neither its Ray Client server nor its GCS answers; the connection comes back by itself"
	case session != nil:
		return "look at the head's Ray Client server (ray_client_server*.log): the cluster itself answers; the session is resumed, or replaced by itself"
	case gcs != nil:
		return "open the way to the GCS (port 6379) and to the nodes' workers, or look at the head (gcs_server.out); calls go through the session meanwhile"
	}
	return ""
}

// stepAfterLoss says what to do about a session that is gone.
func stepAfterLoss(cause error) string {
	switch reasonOf(cause) {
	case reasonReset:
		return "nothing: a new session is opened, as it was asked for"
	case reasonReplaced:
		return "nothing: a session of the cluster that is there now is opened; what lived in the other one is gone"
	}
	return "nothing: a new session is opened, and refs and handles of the old one are stale; if it happens often, see ray_client_server*.log on the head"
}

// ConnectError is why an attempt to connect failed. It wraps the cause.
type ConnectError struct {
	// Kind is what to test for; errors.Is with the ray errors named at the kinds does the same. Of several addresses it is
	// the kind of the one at which the attempt got furthest, in the order of the kinds above.
	Kind Kind
	// Address is Config.Address.
	Address string
	// NextStep says what to do about it.
	NextStep string
	Err      error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connector: connect to %s: %v", e.Address, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

func newConnectError(address string, err error) *ConnectError {
	for _, k := range kinds {
		if errors.Is(err, k.cause) {
			return &ConnectError{k.kind, address, k.nextStep, err}
		}
	}
	return &ConnectError{KindOther, address, stepForOther, err}
}

// newConnectErrors is the error of an attempt at several addresses, each of which failed for a reason of its own.
func newConnectErrors(address string, each []*ConnectError) *ConnectError {
	if len(each) == 1 {
		return newConnectError(address, each[0].Err)
	}
	furthest := slices.MaxFunc(each, func(a, b *ConnectError) int { return cmp.Compare(a.Kind.rank(), b.Kind.rank()) })
	same := true
	var problems, steps []string
	var causes []error
	for _, e := range each {
		same = same && e.Kind == furthest.Kind
		problems = append(problems, fmt.Sprintf("%s: %v", e.Address, e.Err))
		steps = append(steps, e.Address+": "+e.NextStep)
		causes = append(causes, e.Err)
	}
	step := strings.Join(steps, "; ")
	if same {
		step = furthest.NextStep
	}
	return &ConnectError{furthest.Kind, address, step, &everyAddressError{strings.Join(problems, "; "), causes}}
}

// everyAddressError is several failures on one line.
type everyAddressError struct {
	text   string
	causes []error
}

func (e *everyAddressError) Error() string { return e.text }

func (e *everyAddressError) Unwrap() []error { return e.causes }

// rank is how far an attempt that failed so had got.
func (k Kind) rank() int {
	for i, known := range kinds {
		if known.kind == k {
			return i
		}
	}
	return len(kinds) // something was there, and said something that is known to nobody
}

// sameAs is equal for failures that say the same. The texts of network errors differ from one time to the next, by local
// ports and by the moment at which a connection broke; those of kind other are all there is.
func (e *ConnectError) sameAs() string {
	if e.Kind == KindOther {
		return e.Err.Error()
	}
	return string(e.Kind)
}
