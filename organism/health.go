package organism

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxListed bounds what a text lists.
const maxListed = 5

// Health is what was last seen of the organism.
type Health struct {
	// OK: the connection answers, everything that is configured runs, and nothing of it is silent.
	OK bool `json:"ok"`
	// Epoch is the connection's epoch for which it was brought up; 0 before the first time.
	Epoch uint64 `json:"epoch"`
	// Problem says what is missing; empty when OK.
	Problem string `json:"problem,omitempty"`
	// Observed is when that was seen.
	Observed time.Time `json:"observed,omitzero"`
	// Created and Adopted count the actors that this process made and found, on the present epoch.
	Created int `json:"created"`
	Adopted int `json:"adopted"`
	// Killed counts the actors that this process ended since they did not answer; see Options.UnresponsiveAfter.
	Killed int `json:"killed"`
	// Outdated names the actors that run and were made by another program or from another configuration, sorted. They do
	// not count against OK: they serve until somebody has them replaced, see Organism.ReplaceOutdated.
	Outdated []string `json:"outdated,omitempty"`
	// Conflicts says of each organ whose list of agents is another running server's that it is so. It does not count
	// against OK either: tasks are routed by this server's own configuration.
	Conflicts []string `json:"conflicts,omitempty"`
}

// Health returns what was last seen. It makes no round trip. A loss of the connection shows even before the organism
// itself has noticed.
func (o *Organism) Health() Health {
	info := o.conn.Info()
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.look
	h.Killed = o.killed
	h.Outdated, h.Conflicts = slices.Clone(h.Outdated), slices.Clone(h.Conflicts)
	var problems []string
	if h.Problem != "" {
		problems = append(problems, h.Problem)
	}
	switch {
	case info.Epoch == 0: // the problem says that it was not started, or nothing was ever seen
	case info.Epoch != h.Epoch:
		problems = append(problems, "the organism is being brought up on a new session")
	case !info.Session.Answers:
		text := "the connection is " + string(info.State)
		if info.LastError != "" {
			text += ": " + info.LastError
		}
		problems = append(problems, text)
	default:
		problems = append(problems, listed(slices.Sorted(maps.Values(o.silent)))...)
	}
	h.OK, h.Problem = len(problems) == 0, strings.Join(problems, "; ")
	return h
}

// listed cuts a list that is too long for a text.
func listed(lines []string) []string {
	if more := len(lines) - maxListed; more > 0 {
		return append(lines[:maxListed:maxListed], fmt.Sprintf("and %d more", more))
	}
	return lines
}

// WaitReady returns when everything runs, or with ctx's error and what was missing.
func (o *Organism) WaitReady(ctx context.Context) error {
	connection := o.conn.Subscribe(1) // what changes, not how, so that the last event is enough
	defer connection.Close()
	events := connection.Events()
	for {
		o.mu.Lock()
		changed := o.changed
		o.mu.Unlock()
		h := o.Health()
		if h.OK {
			return nil
		}
		select {
		case <-changed:
		case _, open := <-events:
			if !open {
				events = nil // the connector is closed
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrNotReady, h.Problem, ctx.Err())
		}
	}
}

// observe records what a look found. A change is logged once, here.
func (o *Organism) observe(k *keeper, err error) {
	h := k.report()
	h.OK, h.Epoch, h.Observed = err == nil, k.epoch, time.Now()
	if err != nil {
		h.Problem = err.Error()
	}
	o.mu.Lock()
	before := o.look
	o.look = h
	o.wake()
	o.mu.Unlock()
	switch {
	case h.OK && (!before.OK || before.Epoch != h.Epoch):
		k.log.Info("organism is up", "organs", len(o.config.Organs), "actors_created", h.Created, "actors_adopted", h.Adopted, "namespace", k.namespace)
	case !h.OK && h.Problem != before.Problem && errors.Is(err, errStarting):
		k.log.Info("organism is not up yet", "cause", h.Problem)
	case !h.OK && h.Problem != before.Problem:
		k.log.Warn("organism is not up", "cause", h.Problem)
	}
	if len(h.Outdated) > 0 && !slices.Equal(h.Outdated, before.Outdated) {
		k.log.Warn("actors run that another program or configuration made; seedcore replace makes them anew", "outdated", h.Outdated)
	}
	if len(h.Conflicts) > 0 && len(before.Conflicts) == 0 {
		k.log.Warn("another server keeps organs with another configuration", "conflicts", h.Conflicts)
	}
}

// hear records which actors do not answer, by name, with what is known of each.
func (o *Organism) hear(silent map[string]string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.silent = silent
	o.wake()
}

// wake lets WaitReady look again; o.mu is held.
func (o *Organism) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// enter says where Run is now, and forgets the names that were met on another cluster. A session whose cluster is not
// known, which is "", counts as one of another cluster; that it becomes known later changes nothing.
func (o *Organism) enter(session, cluster string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.session != session && (cluster == "" || o.cluster != cluster) {
		o.cluster = ""
		clear(o.met)
	}
	o.session = session
	if cluster != "" {
		o.cluster = cluster
	}
}

// meet records that the actor of a configured name answered and is ours, or with an error that it is another's.
func (o *Organism) meet(name string, err error) {
	if o.classes[name] == "" {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.met[name] = err
}
