package connector

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/ray"
)

const (
	// maxActorsCounted bounds how many actors of one state a reading of the cluster asks the GCS for.
	maxActorsCounted = 10_000
	// restAfterReading: the pause between two readings is at least that many times what the last one took.
	restAfterReading = 20
	// readingsUntilUnknown is how many readings have to be missing until what was seen counts for nothing.
	readingsUntilUnknown = 3
)

// Knowledge says what a Cluster is worth.
type Knowledge string

// The values of Cluster.Status.
const (
	// ClusterUnknown means: nothing was seen since the connector started, or the newest reading failed, or is late. There are
	// no numbers then: old ones would be taken for what is.
	ClusterUnknown Knowledge = "unknown"
	// ClusterCurrent means: it was seen at the last due time.
	ClusterCurrent Knowledge = "current"
)

// Cluster is what one background reader last saw of the cluster itself, all of it at one time. While Status is ClusterUnknown
// its numbers are zero, and missing in JSON.
type Cluster struct {
	Status Knowledge `json:"status"`
	// Observed is when it was last seen, also when that is too long ago to be told.
	Observed time.Time `json:"observed,omitzero"`
	// Source is the link that was asked: "gcs", or "session" where no GCS answers.
	Source string `json:"source,omitempty"`
	// NodesDead are those that the cluster remembers.
	NodesAlive int `json:"nodes_alive"`
	NodesDead  int `json:"nodes_dead"`
	// CPU is in cores, Memory and ObjectStore in bytes, over the live nodes.
	CPU         Resource `json:"cpu"`
	Memory      Resource `json:"memory"`
	ObjectStore Resource `json:"object_store"`
	Actors      Actors   `json:"actors"`
	// Problem is why the newest reading failed.
	Problem string `json:"problem,omitempty"`
}

// MarshalJSON leaves out what is not known.
func (c Cluster) MarshalJSON() ([]byte, error) {
	if c.Status != ClusterCurrent {
		return json.Marshal(struct {
			Status   Knowledge `json:"status"`
			Observed time.Time `json:"observed,omitzero"`
			Problem  string    `json:"problem,omitempty"`
		}{c.Status, c.Observed, c.Problem})
	}
	type known Cluster
	return json.Marshal(known(c))
}

// Resource is how much there is of something, and how much of it is free: not reserved by tasks and actors, or, of the object
// store, not filled.
type Resource struct {
	Total     float64 `json:"total"`
	Available float64 `json:"available"`
}

// Actors counts the cluster's actors by state, in all namespaces.
type Actors struct {
	// Known is false without a GCS: a session cannot tell. The numbers then mean nothing.
	Known               bool `json:"known"`
	DependenciesUnready int  `json:"dependencies_unready"`
	PendingCreation     int  `json:"pending_creation"`
	Alive               int  `json:"alive"`
	Restarting          int  `json:"restarting"`
	Dead                int  `json:"dead"`
	// AtLeast: a state has 10,000 actors or more, and no more were counted; Dead is not known then.
	AtLeast bool `json:"at_least,omitempty"`
}

// observation is what the reader leaves for Info.
type observation struct {
	cluster Cluster
	fresh   time.Duration // for how long it counts as current
}

// at is what the observation is worth at a time.
func (o *observation) at(now time.Time) Cluster {
	if o == nil {
		return Cluster{Status: ClusterUnknown}
	}
	c := o.cluster
	if c.Observed.IsZero() || c.Problem != "" || now.Sub(c.Observed) > o.fresh {
		return Cluster{Status: ClusterUnknown, Observed: c.Observed, Problem: c.Problem}
	}
	c.Status = ClusterCurrent
	return c
}

// reading is what decides whom a reading asks: a change of it is worth a new one.
type reading struct {
	epoch        uint64
	session, gcs bool
}

func readingFor(i Info) reading { return reading{i.Epoch, i.Session.Answers, i.GCS.Answers} }

// observe reads the cluster from time to time until the connector closes. It is the only writer of c.cluster. Each reading
// has a deadline; a slow one makes those after it rarer, so that a large cluster is not asked without a pause.
func (c *Connector) observe() {
	for c.owner.Err() == nil {
		c.mu.Lock()
		info, client := c.info, c.client
		c.mu.Unlock()
		began := time.Now()
		rest := c.cfg.ClusterInterval
		if info.Session.Answers || info.GCS.Answers {
			seen, err := c.readCluster(info, client)
			rest = max(rest, restAfterReading*time.Since(began))
			if c.owner.Err() != nil {
				return
			}
			if err != nil {
				seen = Cluster{Observed: c.cluster.Load().at(began).Observed, Problem: err.Error()}
			}
			c.cluster.Store(&observation{seen, readingsUntilUnknown * rest})
			c.cfg.Metrics.Observed(c.cluster.Load().at(time.Now()))
		}
		if !c.restFromReading(readingFor(info), rest) {
			return
		}
	}
}

// restFromReading waits until the next reading is due, or a link that was or was not to be asked changed; never less than a
// tenth of that time, since links may flap. It returns false when the connector closes.
func (c *Connector) restFromReading(was reading, rest time.Duration) bool {
	if !pause(c.owner, rest/10) {
		return false
	}
	due := time.After(rest - rest/10)
	for {
		c.mu.Lock()
		info, changed := c.info, c.changed
		c.mu.Unlock()
		if is := readingFor(info); is != was {
			if is.session || is.gcs {
				return true
			}
			was = is // so that the same links are worth a reading when they come back
		}
		select {
		case <-changed:
		case <-due:
			return true
		case <-c.owner.Done():
			return false
		}
	}
}

// readCluster asks the GCS, and the session where the GCS does not answer.
func (c *Connector) readCluster(info Info, client *ray.Client) (Cluster, error) {
	ctx, cancel := context.WithTimeoutCause(c.owner, c.cfg.ClusterTimeout, errSlowReading)
	defer cancel()
	if gcs := client.GCS(); gcs != nil && info.GCS.Answers {
		seen, err := readByGCS(ctx, gcs)
		if err == nil || !info.Session.Answers || ctx.Err() != nil {
			return seen, err
		}
	}
	return readBySession(ctx, client.Session())
}

var errSlowReading = fmt.Errorf("connector: reading the cluster took longer than Config.ClusterTimeout: %w", context.DeadlineExceeded)

func readByGCS(ctx context.Context, gcs *ray.GCS) (Cluster, error) {
	seen := Cluster{Source: "gcs"}
	nodes, err := gcs.Nodes(ctx)
	if err != nil {
		return Cluster{}, err
	}
	available, err := gcs.AvailableResources(ctx)
	if err != nil {
		return Cluster{}, err
	}
	counts, err := gcs.CountActors(ctx, maxActorsCounted)
	if err != nil {
		return Cluster{}, err
	}
	for _, n := range nodes {
		if !n.Alive {
			seen.NodesDead++
			continue
		}
		seen.NodesAlive++
		seen.add(n.Resources, available[n.ID])
	}
	seen.Actors = Actors{
		Known: true, Dead: counts.Dead, AtLeast: counts.AtLeast,
		DependenciesUnready: counts.ByState[ray.ActorDependenciesUnready], PendingCreation: counts.ByState[ray.ActorPendingCreation],
		Alive: counts.ByState[ray.ActorAlive], Restarting: counts.ByState[ray.ActorRestarting],
	}
	seen.Observed = time.Now()
	return seen, nil
}

func readBySession(ctx context.Context, session *ray.Session) (Cluster, error) {
	seen := Cluster{Source: "session"}
	nodes, err := session.Nodes(ctx)
	if err != nil {
		return Cluster{}, err
	}
	total, err := session.ClusterResources(ctx)
	if err != nil {
		return Cluster{}, err
	}
	available, err := session.AvailableResources(ctx)
	if err != nil {
		return Cluster{}, err
	}
	for _, n := range nodes {
		if alive, _ := n["Alive"].(bool); alive {
			seen.NodesAlive++
		} else {
			seen.NodesDead++
		}
	}
	seen.add(total, available)
	seen.Observed = time.Now()
	return seen, nil
}

// add adds what one node has, or all have; Ray leaves out what is used up.
func (c *Cluster) add(total, available map[string]float64) {
	for name, r := range map[string]*Resource{"CPU": &c.CPU, "memory": &c.Memory, "object_store_memory": &c.ObjectStore} {
		r.Total += total[name]
		r.Available += available[name]
	}
}
