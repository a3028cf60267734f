package organism

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Pong is the answer of every actor here to ping.
type Pong struct {
	// ID is the name of the actor.
	ID string `json:"id"`
	// Class is its class, as in [RegisterActors].
	Class string `json:"class"`
	// TS is the actor's time, in seconds since 1970.
	TS float64 `json:"ts"`
	// PID is the process that answered.
	PID int `json:"pid"`
	// Program is the URI of the package that the process was started from; empty when it was started otherwise.
	Program string `json:"program"`
	// Spec is a hash of the class and of what the actor was constructed from, the organ's agents apart.
	Spec string `json:"spec"`
}

func pong(id, class, spec string, now time.Time) Pong {
	return Pong{ID: id, Class: class, TS: seconds(now), PID: os.Getpid(), Program: ownPackage(), Spec: spec}
}

// ownPackage is the URI of the package that this process was started from. Ray unpacks a package in a directory of its
// name.
var ownPackage = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	name := filepath.Base(filepath.Dir(path))
	if !strings.HasPrefix(name, "_ray_pkg_") {
		return ""
	}
	return "gcs://" + name + ".zip"
})

// The specs of actors, as they themselves and an Organism know them.
func singletonSpec(class string) string     { return hash(class) }
func organSpec(id, organType string) string { return hash(OrganClass, id, organType) }
func agentSpecOf(id, organID string, roles RoleProbs) string {
	return hash(AgentClass, id, organID, roles.E, roles.S, roles.O)
}

// newPong reads what an actor's ping returned; false: an actor of this package does not answer like that.
func newPong(v any) (Pong, bool) {
	var p Pong
	m, ok := v.(map[string]any)
	ok = ok && assign(m, "id", &p.ID) && assign(m, "class", &p.Class) &&
		assign(m, "program", &p.Program) && assign(m, "spec", &p.Spec)
	var pid int64
	ok = ok && assign(m, "pid", &pid)
	p.PID = int(pid)
	return p, ok
}

// hash is a short name for values that have a JSON form.
func hash(values ...any) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("organism: hash of %T: %v", values, err)) // only plain values are hashed: a defect of this package
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:6])
}
