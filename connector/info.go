package connector

import "time"

// Info is what is known of the connection at one moment: a copy, safe to keep and to encode as JSON in every state.
// Fields that are not known (yet) are empty.
type Info struct {
	State State     `json:"state"`
	Since time.Time `json:"since"`
	// Epoch counts the sessions, from 1.
	Epoch uint64 `json:"epoch"`
	// Address is what was asked for, Resolved the host:port that it led to.
	Address  string `json:"address"`
	Resolved string `json:"resolved,omitempty"`
	// Namespace is the effective one: it is asked for explicitly and checked on every session.
	Namespace     string `json:"namespace"`
	SessionID     string `json:"session_id,omitempty"`
	JobID         string `json:"job_id,omitempty"`
	NodeID        string `json:"node_id,omitempty"`
	ClusterID     string `json:"cluster_id,omitempty"`
	GCSAddress    string `json:"gcs_address,omitempty"`
	RayVersion    string `json:"ray_version,omitempty"`
	PythonVersion string `json:"python_version,omitempty"`
	// Direct tells whether direct calls are in use; NoDirect is the reason when they are not.
	Direct   bool   `json:"direct"`
	NoDirect string `json:"no_direct,omitempty"`
	// LastError is the newest failure, kept until a connection is up again.
	LastError string `json:"last_error,omitempty"`
	// Attempts counts the tries to connect since the last session.
	Attempts int `json:"attempts"`
	// LastHealthy is when the session last answered, and Latency how long that round trip took.
	LastHealthy time.Time     `json:"last_healthy,omitzero"`
	Latency     time.Duration `json:"latency_ns,omitempty"`
}

// Info returns a snapshot. It makes no round trip.
func (c *Connector) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}
