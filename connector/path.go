package connector

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/ray"
)

// path is the second link: the cluster's control store (GCS), and the direct calls that are made with its help. Without a
// gcs there is no direct either, and reason says why.
type path struct {
	address string // of the GCS
	gcs     *ray.GCS
	direct  *ray.Direct
	reason  error
	// proven: the GCS was seen to belong to the cluster of the present session.
	proven bool
}

// errOtherCluster means: the GCS and the session do not belong together.
var errOtherCluster = errors.New("connector: another cluster than the session's")

// errDirectOff is the reason when nothing else is in the way.
var errDirectOff = errors.New("connector: direct calls are switched off by Config.Direct or SEEDCORE_DIRECT")

// dialled returns the address that leads to one that the cluster names; "" stays.
func (c *Connector) dialled(address string) string {
	if c.cfg.AddressMap == nil || address == "" {
		return address
	}
	return c.cfg.AddressMap(address)
}

// dialPath looks for the second link of a session on a node, for as long as one check may take.
func (c *Connector) dialPath(ctx context.Context, address, node string) path {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.HealthTimeout)
	defer cancel()
	gcs, err := ray.DialGCS(ctx, address, ray.GCSOptions{Credentials: c.cfg.Credentials, Dial: c.cfg.Dial})
	if err != nil {
		return path{address: address, reason: err}
	}
	if err := sameCluster(ctx, gcs, node); err != nil {
		return path{address: address, reason: errors.Join(err, gcs.Close())}
	}
	if c.cfg.Direct == ray.DirectOff {
		return path{address, gcs, nil, errDirectOff, true}
	}
	direct, err := ray.NewDirect(gcs, ray.DirectOptions{CallTimeout: c.cfg.CallTimeout, AddressMap: c.cfg.AddressMap, Tracer: c.cfg.tracer()})
	return path{address, gcs, direct, err, true}
}

// clusterOf asks a session which cluster it is of: the GCS keeps the id among its keys, so that it is known where the GCS itself
// is not reached. Without an answer in the time of a check it is "".
func (c *Connector) clusterOf(session *ray.Session) string {
	ctx, cancel := context.WithTimeout(c.owner, c.cfg.HealthTimeout)
	defer cancel()
	id, _, err := session.KVGet(ctx, "cluster", "ray_cluster_id")
	if err != nil {
		c.log.Debug("the session does not tell the id of its cluster", "error", err)
	}
	return hex.EncodeToString(id)
}

// meet notes the cluster that a session is of, and tells whether the one before was of another.
func (c *Connector) meet(cluster, address string) (another bool) {
	if cluster == "" {
		return false
	}
	before := c.lastCluster
	c.lastCluster = cluster
	if another = before != "" && before != cluster; another {
		c.log.Warn("another cluster answers than before: refs and handles are stale, and actors of the other one are not in this",
			"address", address, "cluster", cluster, "before", before)
	}
	return another
}

// continuePath returns the second link for a new session. The one that there is stays when its cluster does, so that
// calls under way are not disturbed by a new session; also while its GCS is silent, since nothing better is known then: the
// error says what was wrong.
func (c *Connector) continuePath(ctx context.Context, info Info) (path, error) {
	address, node := info.GCSAddress, info.NodeID
	if c.path.gcs != nil && c.path.address == address && (info.ClusterID == "" || info.ClusterID == c.path.gcs.ClusterID()) {
		kept := c.path
		kept.proven = false
		bounded, cancel := context.WithTimeout(ctx, c.cfg.HealthTimeout)
		err := kept.check(bounded, node)
		cancel()
		if !isOther(err) {
			kept.proven = err == nil
			return kept, err
		}
	}
	return c.dialPath(ctx, address, node), nil
}

// check makes a round trip to the GCS, and proves that it goes with the session on the node if that was not known.
func (p path) check(ctx context.Context, node string) error {
	if p.gcs == nil {
		return nil
	}
	err := p.gcs.CheckAlive(ctx)
	if err == nil && !p.proven {
		err = sameCluster(ctx, p.gcs, node)
	}
	return err
}

// isOther tells a GCS that cannot be used from one that does not answer.
func isOther(err error) bool {
	return errors.Is(err, ray.ErrClusterReplaced) || errors.Is(err, errOtherCluster)
}

// sameCluster makes sure that the GCS and the session belong together: the session's node has to be one of the GCS's.
func sameCluster(ctx context.Context, gcs *ray.GCS, node string) error {
	nodes, err := gcs.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.ID == node && n.Alive {
			return nil
		}
	}
	return fmt.Errorf("%w answers at the GCS address %s", errOtherCluster, gcs.Address())
}

// seek looks for the second link of the present session until it finds it or ctx ends, with growing pauses. Every outcome
// is handed over; the last one has a GCS.
func (c *Connector) seek(ctx context.Context) <-chan path {
	found := make(chan path)
	address, node := c.path.address, c.client.Session().Info().NodeID
	c.background.Go(func() {
		for failures := 1; ; failures++ {
			if !pause(ctx, c.backoff(failures)) {
				return
			}
			p := c.dialPath(ctx, address, node)
			select {
			case found <- p:
				if p.gcs != nil {
					return
				}
			case <-ctx.Done():
				c.closePath(p)
				return
			}
		}
	})
	return found
}

// adopt makes p the second link of the present session: its client uses it from then on. The link before is closed only
// after a while, for the calls that are under way on it.
func (c *Connector) adopt(p path) {
	old := c.path
	if p.proven {
		c.meet(p.gcs.ClusterID(), p.address)
	}
	c.client.SetDirect(p.gcs, p.direct, p.reason)
	c.mu.Lock()
	c.path = p
	c.set(func(i *Info) {
		i.setPath(p)
		i.State = stateOf(i.Session.Answers, p.gcs != nil, p.proven)
	})
	c.unlock()
	if old.gcs != nil && old.gcs != p.gcs {
		c.retirePath(old)
	}
}

// setPath describes a path that was just looked at.
func (i *Info) setPath(p path) {
	i.Direct, i.NoDirect = p.direct != nil, ""
	i.GCS.Answers = p.proven
	i.Protocol = "ray-client"
	if p.gcs != nil {
		i.Protocol = "ray-client+core"
	}
	if p.proven {
		i.GCS.LastHealthy = time.Now()
		i.ClusterID = p.gcs.ClusterID()
	}
	if p.reason != nil {
		i.NoDirect = p.reason.Error()
	}
}

// retirePath closes a second link that was replaced, once the calls on it had time to end.
func (c *Connector) retirePath(p path) {
	c.background.Go(func() {
		pause(c.owner, farewell)
		c.closePath(p)
	})
}

func (c *Connector) closePath(p path) {
	ctx, cancel := context.WithTimeout(context.Background(), noFarewell)
	defer cancel()
	if err := p.close(ctx); err != nil {
		c.log.Debug("close a direct path", "error", err)
	}
}

func (p path) close(ctx context.Context) error { return errors.Join(p.closeDirect(ctx), p.closeGCS()) }

func (p path) closeDirect(ctx context.Context) error {
	if p.direct == nil {
		return nil
	}
	return p.direct.Close(ctx)
}

// closeGCS is for after closeDirect, which needs the GCS.
func (p path) closeGCS() error {
	if p.gcs == nil {
		return nil
	}
	return p.gcs.Close()
}
