package connector

import (
	"encoding/json"
	"net/http"
)

// Status is what Connector.StatusHandler answers.
type Status struct {
	// Ready: the session answers, and all hooks of it are done; what WaitReady waits for.
	Ready bool `json:"ready"`
	Info  Info `json:"info"`
	Stat  Stat `json:"stat"`
}

// StatusHandler returns a handler that answers GET and HEAD with a Status as JSON: with 200 when the connection is ready, else
// with 503. It answers from what is known and never asks Ray. It tells addresses and ids, and no secrets; it has no
// authentication of its own.
func (c *Connector) StatusHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		info := c.Info()
		status := Status{Ready: info.Ready && info.Session.Answers, Info: info, Stat: c.Stat()}
		body, err := json.Marshal(status)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !status.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write(append(body, '\n')) // a client that went away needs no answer
	})
}
