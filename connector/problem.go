package connector

import (
	"context"
	"errors"
	"fmt"

	"github.com/seedcore/seedcore/ray"
)

// Kind names the reasons for which a connection cannot be made that call for different things to be done.
type Kind string

// The kinds of a ConnectError.
const (
	KindUnresolvable    Kind = "unresolvable"    // the host name has no address (yet): ray.ErrUnresolvable
	KindAbsent          Kind = "absent"          // nothing accepts connections at the address: ray.ErrNotListening
	KindNotRay          Kind = "not_ray"         // what listens there does not speak gRPC: ray.ErrNotRay
	KindWrongServer     Kind = "wrong_server"    // a gRPC server, but not Ray Client's: ray.ErrOtherServer
	KindUnauthenticated Kind = "unauthenticated" // the cluster wants a token, or another one: ray.ErrUnauthenticated
	KindFull            Kind = "full"            // full, or silent for another reason: ray.ErrServerFull
	KindTimeout         Kind = "timeout"         // the server is there, and the session did not come up in time
	KindOther           Kind = "other"           // none of these
)

var kinds = []struct {
	kind     Kind
	cause    error
	nextStep string
}{
	{KindUnresolvable, ray.ErrUnresolvable, "correct the host name in RAY_ADDRESS (or RAY_HOST), or create the service of that name; the name is looked up anew at every attempt"},
	{KindAbsent, ray.ErrNotListening, "start the head (ray start --head --ray-client-server-port=10001), correct the address, or open the way there (firewall, network policy)"},
	{KindNotRay, ray.ErrNotRay, "give the port of the Ray Client server, usually 10001 (8265 is the dashboard); set RAY_USE_TLS where the cluster uses TLS; a proxy or service without a backend looks the same"},
	{KindWrongServer, ray.ErrOtherServer, "give the port of the Ray Client server, usually 10001: another gRPC server, such as the GCS (6379), is at this one"},
	{KindUnauthenticated, ray.ErrUnauthenticated, "set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to the cluster's token"},
	{KindFull, ray.ErrServerFull, "close other clients of this cluster or raise RAY_CLIENT_SERVER_MAX_THREADS on the head; if it has few clients, look for what swallows packets on the way, or restart the head's Ray Client server"},
	{KindTimeout, context.DeadlineExceeded, "look at the head: it starts a process for every session, and has no memory or CPU for it, or takes very long (ray_client_server*.log in its log directory)"},
}

// NextStep says what to do about a failure of that kind; empty for KindOther.
func (k Kind) NextStep() string {
	for _, known := range kinds {
		if known.kind == k {
			return known.nextStep
		}
	}
	return ""
}

// ConnectError is why an attempt to connect failed. It wraps the cause.
type ConnectError struct {
	// Kind is what to test for; errors.Is with the ray errors named at the kinds does the same.
	Kind Kind
	// Address is Config.Address.
	Address string
	// NextStep says what to do about it; empty for KindOther.
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
	return &ConnectError{KindOther, address, "", err}
}

// sameAs is equal for failures that say the same. The texts of network errors differ from one time to the next, by local
// ports and by the moment at which a connection broke; those of kind other are all there is.
func (e *ConnectError) sameAs() string {
	if e.Kind == KindOther {
		return e.Err.Error()
	}
	return string(e.Kind)
}
