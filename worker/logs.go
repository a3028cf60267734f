package worker

import (
	"fmt"
	"os"
	"path/filepath"
)

// captureOutput makes the files of this worker in Ray's directory of logs the standard output and error of the process,
// also for the Go runtime's own last words. Ray's log monitor finds them by their names and streams them to the driver.
func captureOutput(dir string, workerID, jobID []byte, class string) error {
	base := filepath.Join(dir, fmt.Sprintf("worker-%x-%x-%d", workerID, jobID, os.Getpid()))
	for fd, suffix := range map[int]string{1: ".out", 2: ".err"} {
		if err := redirect(base+suffix, fd, class); err != nil {
			return fmt.Errorf("output to %s: %w", base+suffix, err)
		}
	}
	return nil
}

func redirect(path string, fd int, class string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // the duplicate stays open
	// For the log monitor: lines from here on carry the name of the class.
	if _, err := fmt.Fprintf(f, ":actor_name:%s\n", class); err != nil {
		return err
	}
	return dup2(int(f.Fd()), fd)
}
