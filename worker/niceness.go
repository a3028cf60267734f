package worker

import (
	"fmt"
	"strconv"
)

const (
	// nicenessVariable is what Ray's own workers read, too: the runtime_env of an actor may set it.
	nicenessVariable = "RAY_worker_niceness"
	// defaultNiceness is Ray's.
	defaultNiceness = 15
)

// niceness is by how much this process gives way to others, like Ray's own workers: to the raylet and the GCS above all.
func niceness(getenv func(string) string) (int, error) {
	text := getenv(nicenessVariable)
	if text == "" {
		return defaultNiceness, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return defaultNiceness, fmt.Errorf("%s=%q is not an integer, %d is used", nicenessVariable, text, defaultNiceness)
	}
	return n, nil
}
