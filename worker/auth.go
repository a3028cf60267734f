package worker

import (
	"errors"
	"strings"

	"google.golang.org/grpc"

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
func (a access) serverOptions() ([]grpc.ServerOption, error) {
	return a.credentials.ServerOptions(a.demandToken)
}
