// Package gauge has what every bench measures with.
//
//	before, err := gauge.CPUTime(pid)
//	...
//	after, err := gauge.CPUTime(pid)
//	fmt.Println(gauge.LoadAverage(), after-before, gauge.Quantile(latencies, 0.99))
package gauge

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// LoadAverage tells how busy the machine is with other things; unknown where /proc does not say.
func LoadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if first, _, ok := strings.Cut(string(text), " "); err == nil && ok {
		return first
	}
	return "unknown"
}

// CPUTime returns the CPU time that a process has taken so far, in seconds, to the hundredth. The error is an
// *fs.PathError when there is no such process (any more).
func CPUTime(pid int) (float64, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	stat, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, is the second field and may hold spaces; user and system time are the 14th and 15th.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%s is %q", path, stat)
	}
	const ticksPerSecond = 100 // of every Linux that Go runs on
	user, userErr := strconv.ParseFloat(fields[11], 64)
	system, systemErr := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, errors.Join(userErr, systemErr)
}

// Quantile returns the value that the share q of the values lies below, 0.5 for the median; 0 without values.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
