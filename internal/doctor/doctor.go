// Package doctor finds out why there is no connection to a Ray cluster, or what is wrong with the one there is: step by
// step from the name to the calls, each with its cause and its cure. It changes nothing on the cluster; it opens one
// session and closes it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

// Status is the outcome of a step.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, with something to look at
	Failed  Status = "failed"
	Skipped Status = "skipped" // another step failed, so that this one could not be made
)

const (
	networkTimeout = 5 * time.Second
	// defaultClients is how many sessions a server takes unless RAY_CLIENT_SERVER_MAX_THREADS says otherwise on the head.
	defaultClients = 100
	// skew is how far two clocks may be apart before times in logs and deadlines become confusing.
	skew = 5 * time.Second
)

// Finding is what a step found.
type Finding struct {
	Step   string `json:"step"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	// Cure is what to do about it; empty when the status is OK.
	Cure string `json:"cure,omitempty"`
}

// Healthy tells whether no step failed.
func Healthy(findings []Finding) bool {
	for _, f := range findings {
		if f.Status == Failed {
			return false
		}
	}
	return true
}

// Examine looks at the cluster of a configuration until ctx ends. It always returns all steps.
func Examine(ctx context.Context, cfg connector.Config) []Finding {
	e := examination{cfg: cfg, over: ctx.Err}
	e.configuration()
	e.network(ctx)
	e.encryption(ctx)
	e.session(ctx)
	return e.findings
}

type examination struct {
	cfg      connector.Config
	findings []Finding
	servers  []string // host:port of the Ray Client servers
	open     []string // those of them that accept connections
	failed   bool
	over     func() error // why no time is left; nil while some is
}

// add adds a finding. What goes wrong after the time is up says nothing of the cluster.
func (e *examination) add(step string, status Status, found, cure string) {
	if err := e.over(); err != nil && (status == Failed || status == Warning) {
		found, cure = fmt.Sprintf("the examination was over before this was known (%v): %s", err, found), "run it again, with more time (--timeout)"
	}
	e.findings = append(e.findings, Finding{step, status, found, cure})
	e.failed = e.failed || status == Failed
}

func (e *examination) skip(steps ...string) {
	for _, step := range steps {
		e.add(step, Skipped, "an earlier step failed", "")
	}
}

func (e *examination) configuration() {
	if len(e.cfg.Warnings) > 0 {
		e.add("environment", Warning, strings.Join(e.cfg.Warnings, "; "), "set only the variables that are meant; see docs/environment.md")
	} else {
		e.add("environment", OK, "nothing contradicts itself", "")
	}
	servers, err := e.cfg.ClientServers()
	if err != nil {
		e.add("address", Failed, err.Error(), "set RAY_ADDRESS to ray://HOST:10001")
		return
	}
	e.servers = servers
	e.add("address", OK, fmt.Sprintf("%s leads to the Ray Client server %s", e.cfg.Address, strings.Join(servers, ", ")), "")
}

// network looks the names up and opens TCP connections. One server of several is enough.
func (e *examination) network(ctx context.Context) {
	if e.failed {
		e.skip("DNS", "TCP")
		return
	}
	var known, unknown, open, shut []string
	for _, server := range e.servers {
		func() { // each server has a deadline of its own, so that one which swallows packets costs the others nothing
			ctx, cancel := context.WithTimeout(ctx, networkTimeout)
			defer cancel()
			host, _, _ := net.SplitHostPort(server)
			addresses, err := net.DefaultResolver.LookupHost(ctx, host)
			if err != nil {
				unknown = append(unknown, err.Error())
				return
			}
			known = append(known, fmt.Sprintf("%s is %s", host, strings.Join(addresses, ", ")))
			start := time.Now()
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
			if err != nil {
				shut = append(shut, err.Error())
				return
			}
			_ = conn.Close()
			e.open = append(e.open, server)
			open = append(open, fmt.Sprintf("%s accepts connections, after %s", server, time.Since(start).Round(time.Microsecond)))
		}()
	}
	e.addEach("DNS", known, unknown, connector.KindUnresolvable.NextStep())
	if e.failed {
		e.skip("TCP")
		return
	}
	e.addEach("TCP", open, shut, connector.KindAbsent.NextStep())
}

// addEach is the outcome of a step that was made for each of several servers.
func (e *examination) addEach(step string, well, ill []string, cure string) {
	found := strings.Join(append(well, ill...), "; ")
	switch {
	case len(ill) == 0:
		e.add(step, OK, found, "")
	case len(well) == 0:
		e.add(step, Failed, found, cure)
	default:
		e.add(step, Warning, found, cure)
	}
}

// session opens a session and looks at what only it can tell.
func (e *examination) session(ctx context.Context) {
	later := []string{"versions", "namespace", "room", "GCS", "direct calls", "clock"}
	if e.failed {
		e.skip("auth", "protocol", "session")
		e.skip(later...)
		return
	}
	conn, err := connector.New(e.cfg)
	if err == nil {
		defer func() {
			farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), networkTimeout)
			defer cancel()
			_ = conn.Close(farewell) // what matters was found by then
		}()
		err = conn.Connect(ctx)
	}
	if err != nil {
		e.refused(err)
		if full, ok := errors.AsType[*ray.FullError](err); ok {
			e.skip("versions", "namespace")
			e.noRoom(full)
			e.skip("GCS", "direct calls", "clock")
			return
		}
		if problem, ok := errors.AsType[*connector.ConnectError](err); ok && saysNothing(problem.Kind) {
			e.skip("versions", "namespace", "room")
			e.gcsAlone(ctx)
			e.skip("direct calls", "clock")
			return
		}
		e.skip(later...)
		return
	}
	e.welcome()
	client, err := conn.Client()
	if err != nil {
		e.add("session", Failed, err.Error(), "run it again: the connection was lost at once")
		e.skip(later...)
		return
	}
	info, about := conn.Info(), client.Session().Info()
	e.add("session", OK, fmt.Sprintf("session %s, job %s, after %s", about.ID, about.JobID, info.Session.Latency.Round(time.Millisecond)), "")
	e.versions(about)
	e.add("namespace", OK, about.Namespace, "")
	e.room(about.NumClients)
	e.direct(ctx, info, client)
	e.clock(ctx, client)
}

func (e *examination) versions(about ray.SessionInfo) {
	found := fmt.Sprintf("Ray %s, Python %s", about.RayVersion, about.PythonVersion)
	if problem := about.Untested(); problem != "" {
		e.add("versions", Warning, problem, "use a tested Ray version, or be content with calls through the session")
		return
	}
	e.add("versions", OK, found, "")
}

func (e *examination) room(clients int) {
	found := fmt.Sprintf("%d sessions at the server, this one included; it takes %d unless the head sets RAY_CLIENT_SERVER_MAX_THREADS", clients, defaultClients)
	if clients > defaultClients*8/10 {
		e.add("room", Warning, found, connector.KindFull.NextStep())
		return
	}
	e.add("room", OK, found, "")
}

// noRoom is what room has to say when there is no session for want of it.
func (e *examination) noRoom(full *ray.FullError) {
	found := map[ray.FullSign]string{
		ray.FullRefused: "the server refuses another session",
		ray.FullStarved: fmt.Sprintf("the server began a session, one of %d, with its last thread: it has none left for what the sessions ask", full.Clients),
		ray.FullSilent:  "the server keeps connections up and answers nothing: sessions, or requests that wait, have all of its threads, or it hangs",
	}[full.Sign]
	e.add("room", Failed, found, connector.KindFull.NextStep())
}

// clock compares the clocks by a task on the cluster.
func (e *examination) clock(ctx context.Context, client *ray.Client) {
	ctx, cancel := context.WithTimeout(ctx, 6*networkTimeout)
	defer cancel()
	before := time.Now()
	remote, err := clusterTime(ctx, client.Session())
	after := time.Now()
	if err != nil {
		e.add("clock", Warning, "the time on the cluster is not known: "+err.Error(), "a task needs a free CPU on the cluster")
		return
	}
	// The task ran at some moment in between.
	apart := time.Duration(0)
	switch {
	case remote.Before(before):
		apart = before.Sub(remote)
	case remote.After(after):
		apart = remote.Sub(after)
	}
	if apart > skew {
		e.add("clock", Warning, fmt.Sprintf("the clocks are at least %s apart", apart.Round(time.Second)), "synchronize both with NTP")
		return
	}
	e.add("clock", OK, "the clocks agree, as far as a task can tell", "")
}
