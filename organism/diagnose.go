package organism

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/seedcore/seedcore/ray"
)

// The end of the raylet's log that an error quotes.
const (
	rayletTailLines = 5
	rayletTailBytes = 4096
)

// diagnose says what the cluster knows of an actor that does not answer, as an addition to an error. It takes no longer
// than Options.CallTimeout.
func (k *keeper) diagnose(ctx context.Context, id string) string {
	gcs := k.client.GCS()
	if gcs == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, k.organism.opts.CallTimeout)
	defer cancel()
	info, err := gcs.ActorByID(ctx, id)
	if err != nil {
		return fmt.Sprintf("; Ray does not say more: %v", err)
	}
	text := fmt.Sprintf("; Ray has it as %s after %d restarts", info.State, info.Restarts)
	if info.DeathCause != "" {
		text += ": " + info.DeathCause
	}
	if info.State == ray.ActorPendingCreation || info.State == ray.ActorRestarting {
		// A program that cannot be started leaves the actor pending for ever, and the reason only in the raylet's log.
		tail, err := k.rayletLog(ctx, gcs, info.NodeID)
		switch {
		case err != nil:
			text += fmt.Sprintf("; the raylet's log cannot be read: %v", err)
		case tail != "":
			text += "; " + tail
		}
	}
	return text
}

// rayletLog returns the last lines that programs started by a raylet wrote before they were workers: that of the node, or
// when that is not known, of the head. A task on that node reads them, since the log is a file there; it needs no CPU.
func (k *keeper) rayletLog(ctx context.Context, gcs *ray.GCS, nodeID string) (string, error) {
	nodes, err := gcs.Nodes(ctx)
	if err != nil {
		return "", err
	}
	var node ray.NodeInfo
	for _, n := range nodes {
		if n.Alive && n.SessionDir != "" && (n.ID == nodeID || n.Head && node.ID == "") {
			node = n
		}
		if node.ID != "" && node.ID == nodeID {
			break
		}
	}
	if node.ID == "" {
		return "", nil
	}
	session := k.client.Session()
	refs, err := session.SubmitWith(ctx, ray.Function{Module: "subprocess", Name: "check_output"},
		ray.TaskOptions{NumCPUs: new(0.0), SchedulingStrategy: ray.NodeAffinity{NodeID: node.ID}},
		[]any{"tail", "-c", strconv.Itoa(rayletTailBytes), path.Join(node.SessionDir, "logs", "raylet.err")})
	if err != nil {
		return "", err
	}
	defer refs[0].Release()
	v, err := session.Get(ctx, refs[0])
	if err != nil {
		return "", err
	}
	data, _ := v.([]byte)
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return "", nil
	}
	return fmt.Sprintf("the raylet's log on node %s ends: %s", node.Address, strings.Join(lines[max(0, len(lines)-rayletTailLines):], " | ")), nil
}
