// Package promray gives what a connector measures to Prometheus. docs/metrics.md has the names, which are frozen.
//
//	m := promray.New()
//	prometheus.MustRegister(m)
//	conn, err := connector.New(connector.Config{Metrics: m})
//
// A Metrics is for one connector: make another for another, with a registry or labels of its own
// (prometheus.WrapRegistererWith).
package promray
