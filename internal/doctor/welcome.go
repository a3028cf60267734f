package doctor

import (
	"errors"
	"strings"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// What a server that was reached makes of this process: whether it lets it in, whether it is a Ray Client server, and
// whether it gives it a session. One attempt tells all of that, and how far it got.

const (
	silent     = "nothing was answered"
	notReached = "it did not come to that"
)

// welcome is what an attempt that succeeded shows.
func (e *examination) welcome() {
	e.letIn()
	e.add("protocol", OK, "a Ray Client server", "")
}

// letIn is the verdict on who this process is, where the server had none against it.
func (e *examination) letIn() {
	if !e.cfg.Credentials.HasToken() {
		e.add("auth", OK, "no token is sent, and none is asked for", "")
		return
	}
	var warnings []string
	for _, server := range e.open {
		if _, warning := e.cfg.Credentials.DialOptions(server); warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if len(warnings) > 0 {
		e.add("auth", Warning, strings.Join(warnings, "; "), "set RAY_USE_TLS, here and on the cluster, or go through a tunnel")
		return
	}
	e.add("auth", OK, "a token is sent, and the cluster lets this process in", "")
}

// refused is what an attempt that failed shows: one of the steps auth, protocol and session has failed.
func (e *examination) refused(err error) {
	problem, ok := errors.AsType[*connector.ConnectError](err)
	if !ok {
		problem = &connector.ConnectError{Kind: connector.KindOther, NextStep: connector.KindOther.NextStep()}
	}
	cure := problem.NextStep
	switch problem.Kind {
	case connector.KindToken, connector.KindUnauthenticated:
		e.add("auth", Failed, err.Error(), cure)
		e.skip("protocol", "session")
	case connector.KindSilent, connector.KindNotRay, connector.KindTLS, connector.KindWrongServer:
		e.add("auth", Skipped, "no Ray Client server was there to ask who this is", "")
		e.add("protocol", Failed, err.Error(), cure)
		e.skip("session")
	case connector.KindFull, connector.KindTimeout:
		if full, ok := errors.AsType[*ray.FullError](err); ok && full.Sign == ray.FullSilent {
			e.add("auth", Skipped, silent, "")
			e.add("protocol", Skipped, silent, "")
		} else {
			e.welcome() // it was greeted, and began a session or said why not
		}
		e.add("session", Failed, err.Error(), cure)
	default: // it went away between two steps, or says something that nobody knows
		e.add("auth", Skipped, notReached, "")
		e.add("protocol", Skipped, notReached, "")
		e.add("session", Failed, err.Error(), cure)
	}
}
