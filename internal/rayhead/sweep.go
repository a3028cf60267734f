package rayhead

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	markVariable = "SEEDCORE_HEAD"
	// How long sweep goes on: a killed process is gone in milliseconds, unless the kernel holds it.
	sweepTimeout  = 10 * time.Second
	sweepInterval = 20 * time.Millisecond
)

// mark is the entry that the environment of every process of this head holds, and of no other process.
func (h *Head) mark() string { return markVariable + "=" + h.name }

// sweep kills what a guard that was killed itself has left behind. `ray start` and most of Ray's processes are gone by
// then, but the raylet's agents would stay for minutes. After a guard that did its work there is nothing to find.
func (h *Head) sweep() {
	for deadline := time.Now().Add(sweepTimeout); time.Now().Before(deadline); time.Sleep(sweepInterval) {
		pids := marked(h.mark())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended meanwhile
		}
	}
}

// marked returns the pids of the processes that hold the entry in their environment. Those of other users, whose
// environment cannot be read, and those that have ended are not ours.
func marked(entry string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well-formed, the only error there is
	var pids []int
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+entry+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
