package worker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// renice adds to the niceness of the process, whatever it was started with. In Linux each thread has one of its own, which
// those inherit that it starts: it is over when a whole pass finds no thread without.
func renice(add int) error {
	before, err := threadNiceness(os.Getpid())
	if err != nil {
		return err
	}
	want := min(max(before+add, -20), 19) // as the kernel does
	for changed := true; changed; {
		changed = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("the threads of this process: %w", err)
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				continue
			}
			switch now, err := threadNiceness(id); {
			case errors.Is(err, syscall.ESRCH): // it has ended
				continue
			case err != nil:
				return err
			case now == want:
				continue
			}
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, want); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("niceness %d: %w", want, err)
			}
			changed = true
		}
	}
	return nil
}

// threadNiceness undoes what the system call does to tell a niceness from an error.
func threadNiceness(thread int) (int, error) {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, thread)
	if err != nil {
		return 0, fmt.Errorf("the niceness of thread %d: %w", thread, err)
	}
	return 20 - n, nil
}
