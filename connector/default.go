package connector

import (
	"log/slog"
	"sync"
)

var (
	defaultMu sync.Mutex // guards defaultConnector
	// defaultConnector is nil until Default succeeded.
	defaultConnector *Connector
)

// Default returns the connector of the process, which the first call makes from the environment. It opens nothing: Connect
// or Start does. An environment that cannot be used is an error of that call alone; the next one reads it again. There is
// one default for the life of a process: once closed it stays closed. It logs to what slog.Default is at the first call, what
// is ignored in the environment among others.
func Default() (*Connector, error) {
	defaultMu.Lock()
	defer defaultMu.Unlock()
	if defaultConnector != nil {
		return defaultConnector, nil
	}
	cfg, err := FromEnv()
	if err != nil {
		return nil, err
	}
	cfg.Logger = slog.Default()
	defaultConnector, err = New(cfg)
	return defaultConnector, err
}
