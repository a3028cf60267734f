package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
)

// healthz says that this process is alive. A Ray outage does not concern it: restarting us would not end it.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readiness is the answer of /readyz.
type readiness struct {
	RayOK      bool            `json:"ray_ok"`
	OrganismOK bool            `json:"organism_ok"`
	RayState   connector.State `json:"ray_state"`
	Epoch      uint64          `json:"epoch"`
	// Cause is why it is not ready; CheckedAt when the session last answered.
	Cause string `json:"cause,omitempty"`
	// NextStep is what to do about the connection, if anything is wrong with that.
	NextStep string `json:"next_step,omitempty"`
	// Warning is what is missing although it is ready.
	Warning   string    `json:"warning,omitempty"`
	CheckedAt time.Time `json:"checked_at,omitzero"`
}

// readyz answers from what the background checks saw last.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	info, health := s.conn.Info(), s.organism.Health()
	ready := readiness{
		RayOK:      info.Session.Answers,
		OrganismOK: info.Session.Answers && health.OK,
		RayState:   info.State,
		Epoch:      info.Epoch,
		CheckedAt:  info.Session.LastHealthy,
		NextStep:   info.NextStep,
	}
	status := http.StatusOK
	if !ready.OrganismOK {
		status = http.StatusServiceUnavailable
		ready.Cause = health.Problem
	}
	if !ready.RayOK {
		ready.Cause = info.LastError
		if ready.Cause == "" {
			ready.Cause = "the connection is " + string(info.State)
		}
	}
	ready.Warning = warning(info)
	if stopping, _ := s.drain.now(); stopping {
		status, ready.Cause = http.StatusServiceUnavailable, "stopping"
	}
	s.reply(w, status, ready)
}

// warning says what a connection that answers lacks.
func warning(info connector.Info) string {
	var missing []string
	if info.State != connector.StateConnected {
		missing = append(missing, "the connection is "+string(info.State))
	}
	if info.NoDirect != "" {
		missing = append(missing, "calls go through the session: "+info.NoDirect)
	}
	if !info.Session.Answers {
		return ""
	}
	return strings.Join(missing, "; ")
}

// rayReport is the answer of /ray/status.
type rayReport struct {
	RayConfigured bool   `json:"ray_configured"`
	RayAvailable  bool   `json:"ray_available"`
	Config        string `json:"config"`
	ClusterInfo   any    `json:"cluster_info"`
	// Connection is what the Python server did not tell.
	Connection connector.Info `json:"connection"`
}

// clusterInfo describes a cluster that answers. What could not be read is left out and Unknown says why.
type clusterInfo struct {
	Status           string             `json:"status"`
	Namespace        string             `json:"namespace"`
	Address          string             `json:"address"`
	NodeID           string             `json:"node_id"`
	ClusterResources map[string]float64 `json:"cluster_resources,omitempty"`
	RayVersion       string             `json:"ray_version"`
	Unknown          string             `json:"unknown,omitempty"`
}

func (s *Server) rayStatus(w http.ResponseWriter, r *http.Request) {
	info := s.conn.Info()
	report := rayReport{
		RayConfigured: info.Address != connector.AddressAuto,
		RayAvailable:  info.Session.Answers,
		Config:        configText(info),
		ClusterInfo:   map[string]string{"status": "not_connected"}, // Connection tells the state
		Connection:    info,
	}
	if report.RayAvailable {
		cluster := clusterInfo{Status: "connected", Namespace: info.Namespace, Address: info.GCSAddress, NodeID: info.NodeID, RayVersion: info.RayVersion}
		ctx, cancel := context.WithTimeout(r.Context(), statusTimeout)
		defer cancel()
		resources, err := s.resources(ctx)
		if err != nil {
			cluster.Unknown = "cluster_resources: " + err.Error()
		}
		cluster.ClusterResources = resources
		report.ClusterInfo = cluster
	}
	s.reply(w, http.StatusOK, report)
}

// configText is the configuration in the Python server's words.
func configText(info connector.Info) string {
	if host, ok := strings.CutPrefix(info.Address, "ray://"); ok {
		return fmt.Sprintf("RayConfig(remote=%s, namespace=%s)", host, info.Namespace)
	}
	return fmt.Sprintf("RayConfig(local, namespace=%s)", info.Namespace)
}

func (s *Server) resources(ctx context.Context) (map[string]float64, error) {
	client, err := s.conn.Client()
	if err != nil {
		return nil, err
	}
	if client.GCS() == nil || !s.conn.Info().GCS.Answers {
		return client.Session().ClusterResources(ctx)
	}
	nodes, err := client.GCS().Nodes(ctx)
	if err != nil {
		return nil, err
	}
	total := map[string]float64{}
	for _, n := range nodes {
		if !n.Alive {
			continue
		}
		for name, amount := range n.Resources {
			total[name] += amount
		}
	}
	return total, nil
}

// organReport is an organ's status, or its id and the error.
type organReport struct {
	OrganID    string   `json:"organ_id"`
	OrganType  string   `json:"organ_type"`
	AgentCount *int     `json:"agent_count,omitempty"`
	AgentIDs   []string `json:"agent_ids,omitzero"`
	PID        int      `json:"pid,omitempty"`
	Error      string   `json:"error,omitempty"`
}

func newOrganReport(r organism.OrganReport) organReport {
	out := organReport{OrganID: r.OrganID, OrganType: r.OrganType, Error: r.Problem}
	if r.Problem == "" {
		out.AgentCount, out.AgentIDs, out.PID = &r.AgentCount, r.AgentIDs, r.PID
	}
	return out
}

func (s *Server) organismStatus(w http.ResponseWriter, r *http.Request) {
	reports, err := s.organism.Status(r.Context())
	if err != nil {
		s.fail(w, r, err, failure{Error: text(err, "")})
		return
	}
	data := make([]organReport, len(reports))
	for i, report := range reports {
		data[i] = newOrganReport(report)
	}
	s.reply(w, http.StatusOK, struct {
		Success bool          `json:"success"`
		Data    []organReport `json:"data"`
	}{true, data})
}

type summary struct {
	Initialized bool `json:"initialized"`
	OrganCount  int  `json:"organ_count"`
	// TotalAgentCount is the sum over the organs that answered.
	TotalAgentCount int                    `json:"total_agent_count"`
	Organs          map[string]organReport `json:"organs"`
	Health          organism.Health        `json:"health"`
}

func (s *Server) organismSummary(w http.ResponseWriter, r *http.Request) {
	reports, err := s.organism.Status(r.Context())
	if err != nil {
		s.fail(w, r, err, failure{Error: text(err, "")})
		return
	}
	health := s.organism.Health()
	sum := summary{Initialized: health.OK, OrganCount: len(reports), Organs: map[string]organReport{}, Health: health}
	for _, report := range reports {
		sum.Organs[report.OrganID] = newOrganReport(report)
		if report.Problem == "" {
			sum.TotalAgentCount += report.AgentCount
		}
	}
	s.reply(w, http.StatusOK, struct {
		Success bool    `json:"success"`
		Summary summary `json:"summary"`
	}{true, sum})
}
