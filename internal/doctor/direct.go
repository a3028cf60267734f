package doctor

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/ray"
)

const (
	openPorts = "open the GCS port (6379), the raylets' and the workers' ports from here, set Config.AddressMap where they are forwarded, or be content with calls through the session"
	// dialledNodes bounds how many nodes are tried, and listedActors among how many actors one of each node is looked for.
	dialledNodes = 50
	listedActors = 1000
)

// direct tells the way to the GCS from the way to the actors.
func (e *examination) direct(ctx context.Context, info connector.Info, client *ray.Client) {
	if client.GCS() == nil {
		e.add("GCS", Warning, fmt.Sprintf("%s is not reached: %s", info.GCSAddress, info.NoDirect), openPorts)
		e.add("direct calls", Skipped, "they need the GCS", "")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*networkTimeout)
	defer cancel()
	start := time.Now()
	if err := client.GCS().CheckAlive(ctx); err != nil {
		e.add("GCS", Failed, err.Error(), "look at gcs_server.out in the head's log directory")
	} else {
		e.add("GCS", OK, fmt.Sprintf("%s answers after %s, cluster %s", info.GCSAddress, time.Since(start).Round(time.Microsecond), info.ClusterID), "")
	}
	if !info.Direct {
		e.add("direct calls", Warning, info.NoDirect, "calls go through the session")
		return
	}
	e.processes(ctx, client.GCS())
}

// process is one of the cluster's that a direct call may have to do with.
type process struct {
	what, address string
	err           error // why it is not reached
}

// processes dials what direct calls dial: the process of an actor on each node, where there is one, and the raylet, which is
// asked to let go of results.
func (e *examination) processes(ctx context.Context, gcs *ray.GCS) {
	nodes, err := gcs.Nodes(ctx)
	var actors []ray.ActorInfo
	if err == nil {
		actors, err = gcs.SomeAliveActors(ctx, listedActors)
	}
	if err != nil {
		e.add("direct calls", Failed, err.Error(), openPorts)
		return
	}
	var all []*process
	workers, raylets := 0, 0
	for _, n := range nodes {
		if !n.Alive || raylets == dialledNodes {
			continue
		}
		raylets++
		all = append(all, &process{what: "raylet", address: net.JoinHostPort(n.Address, strconv.Itoa(n.Port))})
		for _, a := range actors {
			if a.NodeID == n.ID {
				workers++
				all = append(all, &process{what: fmt.Sprintf("worker of the actor %s %s", a.Class, a.Name), address: net.JoinHostPort(a.IP, strconv.Itoa(a.Port))})
				break
			}
		}
	}
	var dialling sync.WaitGroup
	for _, p := range all {
		dialling.Go(func() { p.err = e.dial(ctx, p.address) })
	}
	dialling.Wait()
	var away []string
	for _, p := range all {
		if p.err != nil {
			away = append(away, fmt.Sprintf("%s at %s: %v", p.what, p.address, p.err))
		}
	}
	switch {
	case len(away) > 0:
		e.add("direct calls", Warning, fmt.Sprintf("%d of %d processes are not reached: %s", len(away), len(all), strings.Join(away, "; ")), openPorts)
	case workers == 0:
		e.add("direct calls", OK, fmt.Sprintf("the raylets of %d nodes are reached; no actor lives whose process could be tried", raylets), "")
	default:
		e.add("direct calls", OK, fmt.Sprintf("the raylets of %d nodes are reached, and the processes of actors on %d of them", raylets, workers), "")
	}
}

// dial connects to a process as a direct call does.
func (e *examination) dial(ctx context.Context, address string) error {
	if e.cfg.AddressMap != nil {
		address = e.cfg.AddressMap(address)
	}
	ctx, cancel := context.WithTimeout(ctx, networkTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
