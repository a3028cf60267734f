package ray_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// TestNoProxyIsAsked: a cluster is near, and the proxy for the web has no business with it. The environment is read once
// in a process, hence another one.
func TestNoProxyIsAsked(t *testing.T) {
	const far = "192.0.2.1" // an address for documentation: nobody has it
	if os.Getenv("RAY_TEST_BEHIND_PROXY") != "" {
		request, err := http.NewRequest(http.MethodGet, "https://"+far, nil)
		if err != nil {
			t.Fatal(err)
		}
		if proxy, err := http.ProxyFromEnvironment(request); err != nil || proxy == nil {
			t.Fatalf("the test has no proxy: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ray.DialGCS(ctx, far+":6379", ray.GCSOptions{}); err == nil {
			t.Error("a GCS answers")
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := ray.Open(ctx, ray.Config{Address: far + ":10001", Namespace: "test"}); err == nil {
			t.Error("a Ray Client server answers")
		}
		return
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			_ = conn.Close()
		}
	}()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoProxyIsAsked$")
	child.Env = append(os.Environ(), "RAY_TEST_BEHIND_PROXY=1", "HTTPS_PROXY=http://"+proxy.Addr().String(), "NO_PROXY=", "no_proxy=")
	output, err := child.CombinedOutput()
	_ = proxy.Close()
	<-stopped
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the proxy was asked %d times", n)
	}
}
