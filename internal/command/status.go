package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

type statusCommand struct {
	JSON    bool          `help:"Print one JSON object." name:"json"`
	Timeout time.Duration `help:"Longest time to find out." default:"30s"`
}

// clusterStatus is what status prints.
type clusterStatus struct {
	Connection connector.Info `json:"connection"`
	Error      string         `json:"error,omitempty"`
	// Nodes are those that the cluster knows, or null with NodesUnknown as the reason.
	Nodes        []nodeStatus `json:"nodes"`
	NodesUnknown string       `json:"nodes_unknown,omitempty"`
	// Actors are the named actors of the namespace that are not dead, or null with ActorsUnknown as the reason.
	Actors        []actorStatus `json:"actors"`
	ActorsUnknown string        `json:"actors_unknown,omitempty"`
}

type nodeStatus struct {
	ID        string             `json:"node_id"`
	Address   string             `json:"address"`
	Alive     bool               `json:"alive"`
	Head      bool               `json:"head"`
	Resources map[string]float64 `json:"resources"`
}

type actorStatus struct {
	Name     string         `json:"name"`
	Class    string         `json:"class"`
	State    ray.ActorState `json:"state"`
	PID      int            `json:"pid"`
	ActorID  string         `json:"actor_id"`
	NodeID   string         `json:"node_id"`
	Restarts int            `json:"restarts"`
	Detached bool           `json:"detached"`
}

// Run opens a session of its own, so that it tells what this machine can reach, and asks the cluster. What it could not
// find out it prints as unknown, and fails.
func (c *statusCommand) Run(ctx context.Context, s streams) error {
	conn, err := connection(slog.New(slog.DiscardHandler)) // what the connection does is the report's subject
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	report, err := look(ctx, conn)
	farewell, cancelFarewell := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancelFarewell()
	if closeErr := conn.Close(farewell); closeErr != nil {
		s.log.Debug("close the connection", "error", closeErr)
	}
	if c.JSON {
		encoder := json.NewEncoder(s.out)
		encoder.SetIndent("", "  ")
		return errors.Join(err, encoder.Encode(report))
	}
	return errors.Join(err, report.print(s.out))
}

func look(ctx context.Context, conn *connector.Connector) (clusterStatus, error) {
	err := conn.Connect(ctx)
	report := clusterStatus{Connection: conn.Info()}
	var client *ray.Client
	if err == nil {
		client, err = conn.Client()
	}
	if err != nil {
		report.Error = err.Error()
		report.NodesUnknown, report.ActorsUnknown = report.Error, report.Error
		return report, err
	}
	if client.GCS() == nil {
		_, reason := client.Direct()
		report.NodesUnknown = fmt.Sprintf("the GCS is not reachable from here: %v", reason)
		report.ActorsUnknown = report.NodesUnknown
		return report, nil
	}
	return report, report.ask(ctx, client.GCS())
}

// records is where nodes and actors are read from: a *ray.GCS.
type records interface {
	Nodes(ctx context.Context) ([]ray.NodeInfo, error)
	NamedActors(ctx context.Context, namespace string) ([]ray.ActorInfo, error)
}

// ask reads what the cluster has. What it does not tell is marked as unknown: an empty list would be an answer.
func (r *clusterStatus) ask(ctx context.Context, from records) error {
	nodes, nodesErr := from.Nodes(ctx)
	if nodesErr != nil {
		r.NodesUnknown = nodesErr.Error()
	} else {
		r.Nodes = []nodeStatus{}
	}
	for _, n := range nodes {
		r.Nodes = append(r.Nodes, nodeStatus{n.ID, n.Address, n.Alive, n.Head, n.Resources})
	}
	actors, actorsErr := from.NamedActors(ctx, r.Connection.Namespace)
	if actorsErr != nil {
		r.ActorsUnknown = actorsErr.Error()
	} else {
		r.Actors = []actorStatus{}
	}
	for _, a := range actors {
		r.Actors = append(r.Actors, actorStatus{a.Name, a.Class, a.State, a.PID, a.ID, a.NodeID, a.Restarts, a.Detached})
	}
	return errors.Join(nodesErr, actorsErr)
}

func (r clusterStatus) print(out io.Writer) error {
	i := r.Connection
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "connection\t%s\tasked %s, resolved %s\n", i.State, i.Address, known(i.Resolved))
	if i.LastError != "" && r.Error == "" { // it answers, and something is wrong with it all the same
		fmt.Fprintf(w, "trouble\t%s\n", i.LastError)
	}
	switch {
	case i.NextStep != "":
		fmt.Fprintf(w, "next step\t%s\n", i.NextStep)
	case r.Error != "": // the time was up before anything was known
		fmt.Fprintf(w, "next step\tgive it longer (--timeout), or run `seedcore doctor`, which goes through the connection step by step\n")
	}
	fmt.Fprintf(w, "namespace\t%s\n", i.Namespace)
	if r.Error == "" {
		fmt.Fprintf(w, "cluster\t%s\tRay %s, Python %s, GCS %s\n", known(i.ClusterID), known(i.RayVersion), known(i.PythonVersion), known(i.GCSAddress))
		if i.Direct {
			fmt.Fprintf(w, "calls\tdirect\n")
		} else {
			fmt.Fprintf(w, "calls\tthrough the session\t%s\n", i.NoDirect)
		}
	}
	// Where there is no connection the reason follows on standard error, once for all.
	because := func(reason string) string {
		if reason == r.Error {
			return ""
		}
		return "\t" + reason
	}
	if r.NodesUnknown != "" {
		fmt.Fprintf(w, "nodes\tunknown%s\n", because(r.NodesUnknown))
	}
	for _, n := range r.Nodes {
		state := "alive"
		if !n.Alive {
			state = "dead"
		}
		fmt.Fprintf(w, "node\t%s\t%s at %s, %g CPU\n", n.ID, state, n.Address, n.Resources["CPU"])
	}
	switch {
	case r.ActorsUnknown != "":
		fmt.Fprintf(w, "actors\tunknown%s\n", because(r.ActorsUnknown))
	case len(r.Actors) == 0:
		fmt.Fprintf(w, "actors\tnone\tin this namespace\n")
	}
	if len(r.Actors) == 0 {
		return w.Flush()
	}
	if err := w.Flush(); err != nil { // the columns of what follows are others
		return err
	}
	fmt.Fprintf(w, "\nACTOR\tCLASS\tSTATE\tPID\tRESTARTS\tACTOR ID\n")
	for _, a := range r.Actors {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", a.Name, a.Class, a.State, a.PID, a.Restarts, a.ActorID)
	}
	return w.Flush()
}

func known(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}
