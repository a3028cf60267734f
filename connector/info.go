package connector

import (
	"time"

	"github.com/seedcore/seedcore/ray"
)

// Info is what is known of the connection at one moment: a copy, safe to keep and to encode as JSON in every state.
// Fields that are not known (yet) are empty.
type Info struct {
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Epoch counts the sessions, from 1. Without a session it is that of the last one.
	Epoch uint64 `json:"epoch"`
	// Address is what was asked for, Resolved the host:port that it led to at the newest attempt: of several addresses, that
	// of the one that is used or was tried last.
	Address  string `json:"address"`
	Resolved string `json:"resolved,omitempty"`
	// NamespaceAsked is Config.Namespace, and Namespace the effective one, which the session told: Open refuses a session in
	// which they differ. Without a session they are the same.
	NamespaceAsked string `json:"namespace_asked"`
	Namespace      string `json:"namespace"`
	// Protocol is how the cluster is spoken to: "ray-client", or "ray-client+core" where its GCS, and with it actors
	// themselves, are reached as well. Empty without a session.
	Protocol string `json:"protocol,omitempty"`

	// SessionID to PythonVersion describe the session that there is. They are empty from its loss until there is the next.
	SessionID     string `json:"session_id,omitempty"`
	JobID         string `json:"job_id,omitempty"`
	NodeID        string `json:"node_id,omitempty"`
	ClusterID     string `json:"cluster_id,omitempty"`
	GCSAddress    string `json:"gcs_address,omitempty"`
	RayVersion    string `json:"ray_version,omitempty"`
	PythonVersion string `json:"python_version,omitempty"`

	// Session and GCS are the two links. The GCS's is empty where no GCS was reached from here. Between two sessions it is
	// that of the GCS of the last one.
	Session Link `json:"session"`
	GCS     Link `json:"gcs"`
	// DirectMode is Config.Direct. Direct tells whether calls are made directly; NoDirect is the reason when they are not, kept up to date while the
	// way is looked for. Both are empty without a session.
	DirectMode ray.DirectMode `json:"direct_mode"`
	Direct     bool           `json:"direct"`
	NoDirect   string         `json:"no_direct,omitempty"`
	// Ready: the hooks of this session are done; see OnSession. Pending names the one that is to be done next, and its newest
	// failure.
	Ready   bool   `json:"ready"`
	Pending string `json:"pending,omitempty"`
	// LastError is the newest failure, kept until both links are well again, and NextStep what to do about it.
	LastError string `json:"last_error,omitempty"`
	NextStep  string `json:"next_step,omitempty"`
	// Attempts counts the tries to connect since the last session, at each of several addresses.
	Attempts int `json:"attempts"`
	// Cluster is the cluster itself: its nodes, resources and actors.
	Cluster Cluster `json:"cluster"`
}

// Link is what the checks of one link saw.
type Link struct {
	// Answers: the newest check was answered, and nothing is known against the link since.
	Answers bool `json:"answers"`
	// LastHealthy is when it last answered, and Latency how long that round trip took.
	LastHealthy time.Time     `json:"last_healthy,omitzero"`
	Latency     time.Duration `json:"latency_ns,omitempty"`
}

func (l *Link) answered(latency time.Duration) { *l = Link{true, time.Now(), latency} }

// standing tells whoever waits in vain where the connection stands, and why.
func (i *Info) standing() string {
	text := "the connection is " + string(i.State)
	if i.LastError != "" {
		text += ": " + i.LastError
	}
	return text
}

// forgetSession empties what describes a session that is gone.
func (i *Info) forgetSession() {
	i.SessionID, i.JobID, i.NodeID, i.ClusterID, i.GCSAddress, i.RayVersion, i.PythonVersion = "", "", "", "", "", "", ""
	i.Protocol = ""
	i.Session.Answers = false
	i.Direct, i.NoDirect = false, ""
	i.Ready, i.Pending = false, ""
}
