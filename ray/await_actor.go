package ray

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

const (
	// The end of the raylet's log that an error quotes: two Go programs that crash, with what the raylet says of each.
	rayletTailLines = 20
	rayletTailBytes = 4096
	// diagnoseTime is how long AwaitActor looks for a reason when its time is over.
	diagnoseTime = 5 * time.Second
	// firstAwait and slowestAwait are the pauses between two questions to the GCS, each twice the one before.
	firstAwait, slowestAwait = 20 * time.Millisecond, 500 * time.Millisecond
	// registerTime is for how long an actor that the GCS does not know may be one that it does not know yet: who creates an
	// actor without a name has its id before Ray has registered it.
	registerTime = 5 * time.Second
)

// AwaitActor waits until the constructor of an actor, by its id (ActorHandle.ID), has returned. Ray itself never gives up on
// an actor whose program does not start: give ctx a deadline. An actor that will never be up is an ActorDiedError, or
// a RuntimeEnvSetupError, with Ray's reason; one that Ray does not know after five seconds is an ActorNotFoundError. One that
// is not up at the deadline is ErrNotStarted, which wraps ctx's error, with what Diagnose says: looking for that takes up to
// five seconds more. ErrGCSUnavailable where there is no GCS.
func (c *Client) AwaitActor(ctx context.Context, id string) error {
	gcs := c.GCS()
	if gcs == nil {
		return fmt.Errorf("ray: await actor %s: %w: there is no connection to it; call a method instead", id, ErrGCSUnavailable)
	}
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != actorIDLen {
		return fmt.Errorf("ray: actor id %q is not %d hex characters", id, 2*actorIDLen)
	}
	begun := time.Now()
	for pause := firstAwait; ; pause = min(2*pause, slowestAwait) {
		data, err := gcs.actor(ctx, raw)
		switch {
		case errors.Is(err, ErrActorNotFound) && time.Since(begun) < registerTime:
		case err != nil && ctx.Err() == nil:
			return err
		case err == nil && data.GetState() == corepb.ActorTableData_ALIVE:
			return nil
		case err == nil && data.GetState() == corepb.ActorTableData_DEAD:
			err := died(data)
			if setup := data.GetDeathCause().GetRuntimeEnvFailedContext(); setup != nil {
				err = SystemError{Class: "RuntimeEnvSetupError", Message: setup.GetErrorMessage()}.typed()
			}
			return fmt.Errorf("await actor %s: %w", id, err)
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		err = fmt.Errorf("await actor %s: %w: %w", id, ErrNotStarted, ended(ctx))
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return err // nobody waits for a reason
		}
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnoseTime)
		defer cancel()
		return fmt.Errorf("%w; %s", err, c.Diagnose(late, id))
	}
}

// Diagnose says in a sentence what the cluster knows of an actor that does not answer: its state, and why it died; of one
// that is not up also the end of its raylet's log, where Ray leaves what a program printed before it was a worker, and what
// the raylet itself says of it: nothing else tells why a program does not start. The log is the node's, so that it may have
// lines of other programs. It is read by a task, through the session.
func (c *Client) Diagnose(ctx context.Context, id string) string {
	gcs := c.GCS()
	if gcs == nil {
		return "the cluster's control store, which may know more, is not reachable from here"
	}
	info, err := gcs.ActorByID(ctx, id)
	if err != nil {
		return fmt.Sprintf("Ray does not say more: %v", err)
	}
	text := fmt.Sprintf("Ray has it as %s after %d restarts", info.State, info.Restarts)
	if info.DeathCause != "" {
		text += ": " + info.DeathCause
	}
	if info.State != ActorPendingCreation && info.State != ActorRestarting {
		return text
	}
	tail, err := c.rayletLog(ctx, gcs, info.NodeID)
	switch {
	case err != nil:
		text += fmt.Sprintf("; the raylet's log cannot be read: %v", err)
	case tail != "":
		text += "; " + tail
	}
	return text
}

// rayletLog returns the last lines that programs started by a raylet wrote before they were workers: that of the node, or
// when that is not known, of the head. A task on that node reads them, since the log is a file there; it needs no CPU.
func (c *Client) rayletLog(ctx context.Context, gcs *GCS, nodeID string) (string, error) {
	if c.session == nil {
		return "", ErrNoSession
	}
	nodes, err := gcs.Nodes(ctx)
	if err != nil {
		return "", err
	}
	var node NodeInfo
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
	refs, err := c.session.SubmitWith(ctx, Function{Module: "subprocess", Name: "check_output"},
		TaskOptions{NumCPUs: new(0.0), SchedulingStrategy: NodeAffinity{NodeID: node.ID}},
		[]any{"tail", "-c", strconv.Itoa(rayletTailBytes), path.Join(node.SessionDir, "logs", "raylet.err")})
	if err != nil {
		return "", err
	}
	defer refs[0].Release()
	v, err := c.session.Get(ctx, refs[0])
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
