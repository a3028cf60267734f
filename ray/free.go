package ray

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// freeWithin bounds the freeing of a result in the object store.
const freeWithin = 5 * time.Second

// stored returns the ids of the results that a worker put into its node's object store. Nobody else knows them, so that
// they stay there unless they are freed.
func stored(reply *corepb.PushTaskReply) [][]byte {
	var ids [][]byte
	for _, result := range reply.GetReturnObjects() {
		// An id of another length might be fatal for the raylet.
		if result.GetInPlasma() && len(result.GetObjectId()) == idLen {
			ids = append(ids, result.GetObjectId())
		}
	}
	return ids
}

// free has the raylet of t's node drop results, where it does not by itself.
func (d *Direct) free(t *target, ids [][]byte) error {
	if !d.rules.resultsStay {
		return nil
	}
	ctx, cancel := context.WithTimeout(d.ctx, freeWithin)
	defer cancel()
	address, err := d.gcs.raylet(ctx, t.data.GetAddress().GetNodeId())
	if err != nil {
		return err
	}
	conn, err := visit(d.dialled(address), d.gcs.credentials, d.gcs.dial)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // its only request has been answered
	_, err = corepb.NewNodeManagerServiceClient(conn).FreeLocalObjects(ctx, &corepb.FreeLocalObjectsRequest{ObjectIds: ids})
	if err != nil {
		return fmt.Errorf("ray: free results on node %x: %w", t.data.GetAddress().GetNodeId(), err)
	}
	return nil
}

// dialled returns the address that leads to one that the cluster names.
func (d *Direct) dialled(address string) string {
	if d.opts.AddressMap != nil {
		return d.opts.AddressMap(address)
	}
	return address
}

// raylet returns the address of a node's raylet.
func (g *GCS) raylet(ctx context.Context, node []byte) (string, error) {
	reply, err := g.allNodes(ctx)
	if err != nil {
		return "", err
	}
	for _, n := range reply.GetNodeInfoList() {
		if string(n.GetNodeId()) == string(node) && n.GetState() == corepb.GcsNodeInfo_ALIVE {
			return net.JoinHostPort(n.GetNodeManagerAddress(), strconv.Itoa(int(n.GetNodeManagerPort()))), nil
		}
	}
	return "", fmt.Errorf("ray: the GCS knows no live node %s", hex.EncodeToString(node))
}
