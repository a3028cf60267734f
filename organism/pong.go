package organism

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Environment variables of an actor's process, set at its creation: what it was made of.
const (
	envProgram = "SEEDCORE_ACTOR_PROGRAM"
	envSpec    = "SEEDCORE_ACTOR_SPEC"
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
	// Program names the program that the process was started from, and Spec the class and arguments that it was
	// configured with, each by a hash. Both are empty for an actor that no Organism made.
	Program string `json:"program"`
	Spec    string `json:"spec"`
}

func pong(id, class string, now time.Time) Pong {
	return Pong{
		ID: id, Class: class, TS: seconds(now), PID: os.Getpid(),
		Program: os.Getenv(envProgram), Spec: os.Getenv(envSpec),
	}
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
