package worker

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// renicePasses bounds how often the threads are looked through. Two are the rule.
const renicePasses = 100

// renice adds to the niceness of the process, whatever it was started with. In Linux each thread has one of its own, which
// those inherit that it starts: it is over when a whole pass finds no thread without.
func renice(add int) error {
	before, err := threadNiceness(os.Getpid())
	if err != nil {
		return err
	}
	want := min(max(before+add, -20), 19) // as the kernel does
	return untilUnchanged(renicePasses, func() (changed bool, err error) { return reniceThreads(want) })
}

func untilUnchanged(passes int, pass func() (changed bool, err error)) error {
	for range passes {
		if changed, err := pass(); err != nil || !changed {
			return err
		}
	}
	return fmt.Errorf("after %d passes there are still threads without the new niceness: they start faster than they are found; "+
		"some of them keep that with which the process was started", passes)
}

// reniceThreads gives a niceness to all threads that there are, and tells whether one had another.
func reniceThreads(want int) (changed bool, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return false, fmt.Errorf("the threads of this process: %w", err)
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
			return changed, err
		case now == want:
			continue
		}
		if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, want); err != nil && !errors.Is(err, syscall.ESRCH) {
			return changed, fmt.Errorf("niceness %d: %w", want, err)
		}
		changed = true
	}
	return changed, nil
}

// threadNiceness undoes what the system call does to tell a niceness from an error.
func threadNiceness(thread int) (int, error) {
	n, err := syscall.Getpriority(syscall.PRIO_PROCESS, thread)
	if err != nil {
		return 0, fmt.Errorf("the niceness of thread %d: %w", thread, err)
	}
	return 20 - n, nil
}
