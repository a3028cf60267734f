package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	Nodes      []nodeStatus   `json:"nodes"`
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

// Run opens a session of its own, so that it tells what this machine can reach, and asks the cluster.
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
	return errors.Join(err, report.print(s))
}

func look(ctx context.Context, conn *connector.Connector) (clusterStatus, error) {
	err := conn.Connect(ctx)
	report := clusterStatus{Connection: conn.Info()}
	if err != nil {
		report.Error = err.Error()
		return report, err
	}
	client, err := conn.Client()
	if err != nil {
		return report, err
	}
	if client.GCS() == nil {
		_, reason := client.Direct()
		report.ActorsUnknown = fmt.Sprintf("the GCS is not reachable from here: %v", reason)
		return report, nil
	}
	nodes, err := client.GCS().Nodes(ctx)
	if err != nil {
		return report, err
	}
	for _, n := range nodes {
		report.Nodes = append(report.Nodes, nodeStatus{n.ID, n.Address, n.Alive, n.Head, n.Resources})
	}
	actors, err := client.GCS().NamedActors(ctx, conn.Info().Namespace)
	if err != nil {
		return report, err
	}
	report.Actors = []actorStatus{}
	for _, a := range actors {
		report.Actors = append(report.Actors, actorStatus{a.Name, a.Class, a.State, a.PID, a.ID, a.NodeID, a.Restarts, a.Detached})
	}
	return report, nil
}

func (r clusterStatus) print(s streams) error {
	i := r.Connection
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "connection\t%s\tasked %s, resolved %s\n", i.State, i.Address, i.Resolved)
	fmt.Fprintf(w, "namespace\t%s\n", i.Namespace)
	if r.Error != "" {
		return w.Flush() // the error itself follows on standard error
	}
	fmt.Fprintf(w, "cluster\t%s\tRay %s, Python %s, GCS %s\n", i.ClusterID, i.RayVersion, i.PythonVersion, i.GCSAddress)
	if i.Direct {
		fmt.Fprintf(w, "calls\tdirect\n")
	} else {
		fmt.Fprintf(w, "calls\tthrough the session\t%s\n", i.NoDirect)
	}
	for _, n := range r.Nodes {
		state := "alive"
		if !n.Alive {
			state = "dead"
		}
		fmt.Fprintf(w, "node\t%s\t%s at %s, %g CPU\n", n.ID, state, n.Address, n.Resources["CPU"])
	}
	if r.ActorsUnknown != "" {
		fmt.Fprintf(w, "actors\tunknown\t%s\n", r.ActorsUnknown)
		return w.Flush()
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nACTOR\tCLASS\tSTATE\tPID\tRESTARTS\tACTOR ID\n")
	for _, a := range r.Actors {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", a.Name, a.Class, a.State, a.PID, a.Restarts, a.ActorID)
	}
	return w.Flush()
}
