package worker

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// The sizes of Ray's ids, in bytes.
const (
	workerIDSize = 28
	taskIDSize   = 24
	jobIDSize    = 4
	actorIDSize  = 16
)

// pythonWorker is the script that a raylet names as the first argument of a worker, whatever py_executable is.
const pythonWorker = "default_worker.py"

// requested reports whether args, the arguments of this process, are those with which a raylet starts a worker.
func requested(args []string) bool {
	script, flag := false, false
	for _, arg := range args {
		script = script || filepath.Base(arg) == pythonWorker
		name, _, isFlag := cutFlag(arg)
		flag = flag || isFlag && (name == "worker-id" || name == "startup-token")
	}
	return script && flag
}

// launch is what the raylet tells a worker when it starts it.
type launch struct {
	workerID       []byte
	jobID          []byte // all 0xff when the raylet gave none
	nodeIP         string
	raylet         string // path of the raylet's socket
	gcsAddress     string
	clusterID      string // hex; may be empty
	runtimeEnvHash int32
	launchTimeMs   uint64
	logDir         string
	access         access

	startupToken int64 // 0 where the layout has none
	layout       layout
	rayVersion   string // may be empty
	refusal      error  // why no actor is constructed here, though the process registers
}

// launchError says which flag or environment variable keeps the worker from starting.
type launchError struct {
	source string // "--worker-id" or "RAY_JOB_ID"
	reason string
}

func (e *launchError) Error() string { return e.source + ": " + e.reason }

// parseLaunch reads the flags and the environment that a raylet gives to a worker. Flags that it does not know are
// ignored, since every version of Ray adds some; those that mean another protocol on the raylet's socket are refused.
func parseLaunch(args []string, getenv func(string) string) (*launch, error) {
	flags := make(map[string]string)
	for _, arg := range args {
		if name, value, ok := cutFlag(arg); ok {
			flags[name] = value // the last one counts, as in Python
		}
	}
	access, err := newAccess(getenv)
	if err != nil {
		return nil, &launchError{"Ray's authentication", err.Error()}
	}
	p := launchParser{flags: flags}
	if t, ok := flags["worker-type"]; ok && t != "WORKER" {
		p.fail("--worker-type", fmt.Sprintf("%q: a Go worker only runs actors", t))
	}
	l := &launch{
		nodeIP:         p.required("node-ip-address"),
		raylet:         strings.TrimPrefix(p.required("raylet-name"), "unix://"),
		gcsAddress:     p.required("gcs-address"),
		clusterID:      flags["cluster-id"],
		runtimeEnvHash: int32(p.integer("runtime-env-hash", 32)),
		launchTimeMs:   uint64(p.integer("worker-launch-time-ms", 64)),
		jobID:          []byte{0xff, 0xff, 0xff, 0xff},
		access:         access,
	}
	_, hasToken := flags["startup-token"]
	if l.layout, l.rayVersion, l.refusal, err = chooseLayout(args, getenv, hasToken); err != nil {
		return nil, &launchError{"Ray's version", err.Error()}
	}
	if l.layout.old { // a Ray that knows no tokens, whatever its environment says: neither its processes nor Python's calls have one
		l.access.demandToken = false
	}
	if hasToken { // then the worker chooses its id
		l.startupToken = p.integer("startup-token", 64)
		l.workerID = make([]byte, workerIDSize)
		_, _ = rand.Read(l.workerID) // never fails
	} else {
		l.workerID = p.id("--worker-id", p.required("worker-id"), workerIDSize)
	}
	if strings.Contains(l.raylet, "://") {
		p.fail("--raylet-name", fmt.Sprintf("%q: a unix socket is needed", l.raylet))
	}
	if job := getenv("RAY_JOB_ID"); job != "" {
		l.jobID = p.id("RAY_JOB_ID", job, jobIDSize)
	}
	// Where Python workers log. Without these flags: the logs lie beside the directory of the sockets.
	if temp, session := flags["temp-dir"], flags["session-name"]; temp != "" && session != "" {
		l.logDir = filepath.Join(temp, session, "logs")
	} else {
		l.logDir = filepath.Join(filepath.Dir(filepath.Dir(l.raylet)), "logs")
	}
	if p.err != nil {
		return nil, p.err
	}
	return l, nil
}

func cutFlag(arg string) (name, value string, ok bool) {
	rest, ok := strings.CutPrefix(arg, "--")
	if !ok {
		return "", "", false
	}
	name, value, _ = strings.Cut(rest, "=")
	return name, value, true
}

// launchParser keeps the first error.
type launchParser struct {
	flags map[string]string
	err   error
}

func (p *launchParser) fail(source, reason string) {
	if p.err == nil {
		p.err = &launchError{source, reason}
	}
}

func (p *launchParser) required(flag string) string {
	value := p.flags[flag]
	if value == "" {
		p.fail("--"+flag, "missing: the raylet of a tested Ray ("+testedVersions+") gives it")
	}
	return value
}

func (p *launchParser) id(source, value string, size int) []byte {
	id, err := hex.DecodeString(value)
	if err != nil || len(id) != size {
		p.fail(source, fmt.Sprintf("%q is not %d hex digits", value, 2*size))
	}
	return id
}

func (p *launchParser) integer(flag string, bits int) int64 {
	value := p.required(flag)
	n, err := strconv.ParseInt(value, 10, bits)
	if err != nil {
		p.fail("--"+flag, fmt.Sprintf("%q is not an integer of %d bits", value, bits))
	}
	return n
}
