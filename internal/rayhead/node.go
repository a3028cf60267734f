package rayhead

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// joinScript is `ray start` for a node on the loopback interface of its head: with RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0, which
// keeps every process of a head there, Ray refuses to add nodes.
const joinScript = `
from ray._private import ray_constants, services
ray_constants.ENABLE_RAY_CLUSTER = True
services.get_node_ip_address = lambda address=None: "127.0.0.1"
from ray.scripts.scripts import main
main()`

// NodeConfig describes one more node of a head. The zero value is usable.
type NodeConfig struct {
	// NumCPUs, ObjectStoreMemory, Env and Output are as in Config.
	NumCPUs           int
	ObjectStoreMemory int64
	Env               []string
	Output            io.Writer
}

// Node is one more node of a head, on the same machine. It never outlives this process; it is to be killed before its head
// is stopped.
type Node struct {
	id    string
	cmd   *exec.Cmd // the guard
	stdin io.WriteCloser
	done  chan struct{} // closed by the goroutine that owns cmd
}

// AddNode starts one more node and returns when the head knows it as alive. ctx bounds the start; without a deadline in it
// the bound is two minutes. Add one at a time: Ray fails when two join at once on one machine.
func (h *Head) AddNode(ctx context.Context, cfg NodeConfig) (*Node, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultStartTimeout)
		defer cancel()
	}
	if cfg.ObjectStoreMemory == 0 {
		cfg.ObjectStoreMemory = defaultObjectStoreMemory
	}
	name := "node-" + strings.ToLower(rand.Text()[:10])
	args := []string{
		h.python, "-c", joinScript, "start", "--block", "--log-style", "record", "--log-color", "false",
		"--address", h.GCSAddress(), "--node-ip-address", h.nodeIP, "--node-name", name,
		"--dashboard-agent-listen-port", "0", "--object-store-memory", strconv.FormatInt(cfg.ObjectStoreMemory, 10),
		"--min-worker-port", "0", "--max-worker-port", "0", // any: the head hands out the default ones
	}
	if cfg.NumCPUs > 0 {
		args = append(args, "--num-cpus", strconv.Itoa(cfg.NumCPUs))
	}
	n := &Node{done: make(chan struct{})}
	output := newOutput(cfg.Output)
	var err error
	if n.cmd, n.stdin, err = h.startGuard(false, output, environment(cfg.Env), args); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_ = n.cmd.Wait() // why it ended shows in the output
		cancel(fmt.Errorf("%w (guard: %s)", ErrEnded, n.cmd.ProcessState))
		close(n.done)
	}()
	if n.id, err = h.awaitNode(ctx, n, name); err != nil {
		n.Kill()
		return nil, fmt.Errorf("%w: %s", err, output)
	}
	return n, nil
}

// awaitNode waits until the GCS lists a node as alive.
func (h *Head) awaitNode(ctx context.Context, n *Node, name string) (id string, err error) {
	conn, err := dial(h.GCSAddress(), h.secured)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	nodes := corepb.NewNodeInfoGcsServiceClient(conn)
	err = h.poll(ctx, "its GCS at "+h.GCSAddress(), func(ctx context.Context) error {
		reply, err := nodes.GetAllNodeInfo(ctx, &corepb.GetAllNodeInfoRequest{})
		if err != nil {
			return err
		}
		for _, node := range reply.GetNodeInfoList() {
			if node.GetNodeName() == name && node.GetState() == corepb.GcsNodeInfo_ALIVE {
				id = hex.EncodeToString(node.GetNodeId())
				return nil
			}
		}
		return fmt.Errorf("it does not list the node %s as alive", name)
	})
	return id, err
}

// ID returns the id by which Ray knows the node, in hex.
func (n *Node) ID() string { return n.id }

// Kill ends all processes of the node at once, like a loss of power, and waits until they are gone. It may be called again.
func (n *Node) Kill() {
	_, _ = n.stdin.Write([]byte{'K'}) // an error would mean that it ended
	select {
	case <-n.done:
		return
	case <-time.After(killTimeout):
	}
	_ = n.cmd.Process.Kill()
	<-n.done
}
