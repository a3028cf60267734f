package organism

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/seedcore/seedcore/ray"
)

// rayletTail bounds the lines of the raylet's log that an error quotes.
const rayletTail = 5

// diagnose says what the cluster knows of an actor that does not answer, as an addition to an error.
func (k *keeper) diagnose(id string) string {
	if k.client.GCS() == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), k.organism.opts.CallTimeout)
	defer cancel()
	info, err := k.client.GCS().ActorByID(ctx, id)
	if err != nil {
		return fmt.Sprintf("; Ray does not say more: %v", err)
	}
	text := fmt.Sprintf("; Ray has it as %s after %d restarts", info.State, info.Restarts)
	if info.DeathCause != "" {
		text += ": " + info.DeathCause
	}
	if info.State == ray.ActorPendingCreation || info.State == ray.ActorRestarting {
		// A program that cannot be started leaves the actor pending for ever, and the reason only in the raylet's log.
		lines, err := k.rayletLog(ctx)
		switch {
		case err != nil:
			text += fmt.Sprintf("; the raylet's log cannot be read: %v", err)
		case len(lines) > 0:
			text += "; the raylet's log ends: " + strings.Join(lines, " | ")
		}
	}
	return text
}

// rayletLog returns the last lines that programs started by the head's raylet wrote before they were workers. A task of
// the standard library reads them, since the log is a file of that node.
func (k *keeper) rayletLog(ctx context.Context) ([]string, error) {
	nodes, err := k.client.GCS().Nodes(ctx)
	if err != nil {
		return nil, err
	}
	for _, node := range nodes {
		if !node.Head || !node.Alive || node.SessionDir == "" {
			continue
		}
		file := path.Join(node.SessionDir, "logs", "raylet.err")
		ref, err := k.client.Session().Submit(ctx, ray.Function{Module: "linecache", Name: "updatecache"}, file)
		if err != nil {
			return nil, err
		}
		defer ref.Release()
		v, err := k.client.Session().Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		all, _ := v.([]any)
		var lines []string
		for _, line := range all[max(0, len(all)-rayletTail):] {
			if s, ok := line.(string); ok && strings.TrimSpace(s) != "" {
				lines = append(lines, strings.TrimSpace(s))
			}
		}
		return lines, nil
	}
	return nil, nil
}
