package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/internal/command"
	"github.com/seedcore/seedcore/ray"
)

// cluster is a control store that answers, or does not, as the test wants it: a real one cannot be made to answer one
// question and fail the next.
type cluster struct {
	nodes             []ray.NodeInfo
	actors            []ray.ActorInfo
	nodesErr, askedOf error
}

func (c cluster) Nodes(context.Context) ([]ray.NodeInfo, error) { return c.nodes, c.nodesErr }

func (c cluster) NamedActors(context.Context, string) ([]ray.ActorInfo, error) {
	return c.actors, c.askedOf
}

func TestStatusTellsUnknownFromNone(t *testing.T) {
	node := []ray.NodeInfo{{ID: "ab12", Alive: true, Address: "10.0.0.1", Resources: map[string]float64{"CPU": 4}}}
	actor := []ray.ActorInfo{{Name: "mw", Class: "MwStore", State: ray.ActorAlive, PID: 77, ID: "cd34"}}
	failed := errors.New("the GCS is busy")
	for name, c := range map[string]struct {
		cluster cluster
		fails   bool
		text    []string // in this order
		object  []string
	}{
		"all": {
			cluster{nodes: node, actors: actor},
			false,
			[]string{"connection  connected", "namespace", "ns", "cluster", "unknown", "node", "ab12", "alive at 10.0.0.1, 4 CPU", "ACTOR", "mw", "MwStore", "ALIVE", "77", "cd34"},
			[]string{`"nodes":[{"node_id":"ab12"`, `"actors":[{"name":"mw"`},
		},
		"no actors": {cluster{nodes: node}, false, []string{"actors", "none"}, []string{`"actors":[]`}},
		"actors unknown": {
			cluster{nodes: node, askedOf: failed},
			true,
			[]string{"ab12", "actors", "unknown", "the GCS is busy"},
			[]string{`"nodes":[{`, `"actors":null`, `"actors_unknown":"the GCS is busy"`},
		},
		"nodes unknown": {
			cluster{actors: actor, nodesErr: failed},
			true,
			[]string{"nodes", "unknown", "the GCS is busy", "ACTOR", "mw"},
			[]string{`"nodes":null`, `"nodes_unknown":"the GCS is busy"`, `"actors":[{`},
		},
	} {
		text, object, err := command.Status(t.Context(), connector.Info{State: connector.StateConnected, Namespace: "ns", RayVersion: "2.60.0"}, c.cluster)
		if (err != nil) != c.fails {
			t.Errorf("%s: %v", name, err)
		}
		rest := text
		for _, part := range c.text {
			i := strings.Index(rest, part)
			if i < 0 {
				t.Errorf("%s: %q is not in its place in\n%s", name, part, text)
				break
			}
			rest = rest[i+len(part):]
		}
		for _, part := range c.object {
			if !strings.Contains(object, part) {
				t.Errorf("%s: %s is not in %s", name, part, object)
			}
		}
		if strings.Contains(text, "ACTOR") != (len(c.cluster.actors) > 0) {
			t.Errorf("%s: a table without rows:\n%s", name, text)
		}
	}
}

// Whoever asks is told what is wrong and what to do about it, also of a connection that answers.
func TestStatusSaysWhatToDo(t *testing.T) {
	info := connector.Info{State: connector.StateDegraded, Namespace: "ns", LastError: "the GCS is silent", NextStep: "open the way"}
	text, _, err := command.Status(t.Context(), info, cluster{})
	if err != nil || !strings.Contains(text, "trouble     the GCS is silent\nnext step   open the way\n") {
		t.Errorf("%v:\n%s", err, text)
	}
}
