package rayhead

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/internal/wire/credentials"
	"github.com/seedcore/seedcore/internal/wire/raypb"
)

const (
	addressFile    = "ray_current_cluster" // in Ray's temporary directory
	pollInterval   = 100 * time.Millisecond
	attemptTimeout = 5 * time.Second
)

// awaitReady waits until everything answers that the head should offer.
func (h *Head) awaitReady(ctx context.Context, dashboard bool) error {
	if err := h.awaitGCS(ctx); err != nil {
		return err
	}
	if err := h.awaitClientServer(ctx); err != nil {
		return err
	}
	if dashboard {
		if err := h.awaitDashboard(ctx); err != nil {
			return err
		}
	}
	return h.awaitSupervision(ctx)
}

// awaitSupervision waits until `ray start` has checked all that it started and begun to watch it. Until then the end of
// a process of Ray's can take half a minute to show. The file is the last thing that it writes before.
func (h *Head) awaitSupervision(ctx context.Context) error {
	path := filepath.Join(h.tempDir, addressFile)
	return h.poll(ctx, "`ray start`", func(context.Context) error {
		_, err := os.Stat(path)
		return err
	})
}

// awaitGCS waits until the GCS lists our node as alive. The node's name is unique: a GCS of another cluster that took
// the port in between does not pass.
func (h *Head) awaitGCS(ctx context.Context) error {
	conn, err := dial(h.GCSAddress(), h.secured)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	nodes := corepb.NewNodeInfoGcsServiceClient(conn)
	return h.poll(ctx, "its GCS at "+h.GCSAddress(), func(ctx context.Context) error {
		if _, err := nodes.CheckAlive(ctx, &corepb.CheckAliveRequest{}); err != nil {
			return err
		}
		reply, err := nodes.GetAllNodeInfo(ctx, &corepb.GetAllNodeInfoRequest{})
		if err != nil {
			return err
		}
		for _, node := range reply.GetNodeInfoList() {
			if node.GetNodeName() == h.name && node.GetState() == corepb.GcsNodeInfo_ALIVE {
				h.nodeIP = node.GetNodeManagerAddress()
				return nil
			}
		}
		return fmt.Errorf("it answers, but does not list the node %s as alive", h.name)
	})
}

func (h *Head) awaitClientServer(ctx context.Context) error {
	conn, err := dial(h.ClientAddress(), h.secured)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	driver := raypb.NewRayletDriverClient(conn)
	return h.poll(ctx, "its Ray Client server at "+h.ClientAddress(), func(ctx context.Context) error {
		_, err := driver.ClusterInfo(ctx, &raypb.ClusterInfoRequest{Type: raypb.ClusterInfoType_PING})
		return err
	})
}

func (h *Head) awaitDashboard(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it is on this machine
	return h.poll(ctx, "its dashboard at "+h.DashboardAddress(), func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+h.DashboardAddress()+"/api/version", http.NoBody)
		if err != nil {
			return err
		}
		if err := h.secured.Authorize(request); err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
		if err == nil && response.StatusCode != http.StatusOK {
			err = fmt.Errorf("HTTP status %s", response.Status)
		}
		return err
	})
}

// poll tries until it succeeds, the head ends or ctx does. Each attempt has a deadline of its own, so that a peer that
// accepts and never answers does not use up the whole time.
func (h *Head) poll(ctx context.Context, what string, attempt func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		attemptCtx, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := attempt(attemptCtx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-h.done:
			return h.endedEarly()
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w (last: %w); %s", ErrNotReady, what, context.Cause(ctx), err, h.output)
		case <-ticker.C:
		}
	}
}

// endedEarly explains the end of a head that never got ready.
func (h *Head) endedEarly() error {
	err := h.Err()
	if err == nil {
		err = errors.New("rayhead: stopped while starting")
	}
	if strings.Contains(h.output.String(), "No module named 'ray'") || strings.Contains(h.output.String(), "No module named ray") {
		return fmt.Errorf("%w: Ray is not installed for Config.Python %s; `make setup` installs it: %w", ErrNoPython, h.python, err)
	}
	return err
}

func dial(address string, secured *credentials.Credentials) (*grpc.ClientConn, error) {
	options, _ := secured.DialOptions(address) // it is on this machine: nothing to warn of
	conn, err := grpc.NewClient(
		"passthrough:///"+address, append(options,
			grpc.WithNoProxy(),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: pollInterval, Multiplier: 1.5, MaxDelay: time.Second},
				MinConnectTimeout: attemptTimeout,
			}))...,
	)
	if err != nil {
		return nil, fmt.Errorf("rayhead: %w", err)
	}
	return conn, nil
}
