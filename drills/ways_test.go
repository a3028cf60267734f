package drills_test

import (
	"sync"
	"testing"

	"github.com/seedcore/seedcore/internal/faultproxy"
)

// fault is what becomes of connections on a way, until it ends.
type fault struct{ begin, end func(*faultproxy.Proxy) }

var (
	cut     = fault{func(p *faultproxy.Proxy) { p.Cut() }, func(*faultproxy.Proxy) {}}
	refusal = fault{func(p *faultproxy.Proxy) { p.Refuse(true); p.Cut() }, func(p *faultproxy.Proxy) { p.Refuse(false) }}
	silence = fault{(*faultproxy.Proxy).Stall, (*faultproxy.Proxy).Resume}
)

// way is what lies between us and servers of one kind.
type way interface {
	begin(fault)
	end(fault)
}

// toOne is the way to one server.
type toOne struct{ *faultproxy.Proxy }

func (w toOne) begin(f fault) { f.begin(w.Proxy) }
func (w toOne) end(f fault)   { f.end(w.Proxy) }

// toActors is the way to the processes of actors: a proxy for each that is dialled, under the fault that there is at the time.
type toActors struct {
	t *testing.T

	mu      sync.Mutex // guards what follows
	proxies map[string]*faultproxy.Proxy
	now     *fault
}

// dialled is a connector.Config.AddressMap.
func (w *toActors) dialled(named string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	proxy := w.proxies[named]
	if proxy == nil {
		var err error
		if proxy, err = faultproxy.Open(named); err != nil {
			w.t.Errorf("no way to the process at %s: %v", named, err)
			return "127.0.0.1:1" // and not past the faults
		}
		w.proxies[named] = proxy
		if w.now != nil {
			w.now.begin(proxy)
		}
	}
	return proxy.Address()
}

func (w *toActors) begin(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = &f
	for _, proxy := range w.proxies {
		f.begin(proxy)
	}
}

func (w *toActors) end(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = nil
	for _, proxy := range w.proxies {
		f.end(proxy)
	}
}

// passed is how many connections were made.
func (w *toActors) passed() (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, proxy := range w.proxies {
		n += proxy.Stats().Accepted
	}
	return n
}

func (w *toActors) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, proxy := range w.proxies {
		if err := proxy.Close(); err != nil {
			w.t.Error(err)
		}
	}
}
