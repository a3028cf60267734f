package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// layout is what differs between the versions of Ray in what a worker reads and writes.
type layout struct {
	// old: messages on the raylet's socket have other numbers, and a raylet knows a new process by a number that it gave
	// it, while the process chooses its worker id.
	old bool
	// creation numbers the fields of ActorCreationTaskSpec.
	creation creationFields
	// groupSequence: each concurrency group of a caller has a sequence of its own.
	groupSequence bool
	// streams: streams were tested. Before 2.60 a caller holds a worker back in another way.
	streams bool
}

// layouts are the versions of Ray on which Go actors were tested, by their first two numbers.
var layouts = map[string]layout{
	"2.48": {old: true, creation: creationTo253},
	"2.54": {creation: creationFrom254},
	"2.60": {creation: creationFrom254, groupSequence: true, streams: true},
}

const testedVersions = "2.48, 2.54 and 2.60"

// untestedVariable names, in the environment of the actor, the tested version whose layout is to be used on an untested one.
const untestedVariable = "SEEDCORE_RAY_LAYOUT"

var versionLine = regexp.MustCompile(`(?m)^version = "([0-9]+\.[0-9]+)\.([^"]*)"`)

// rayVersion reads the version of the Ray that started this process: the script that the raylet names belongs to it.
func rayVersion(args []string) (minor, full string, err error) {
	for _, arg := range args {
		if filepath.Base(arg) != pythonWorker {
			continue
		}
		file := filepath.Join(filepath.Dir(arg), "..", "..", "_version.py")
		content, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("the version of Ray is unknown: %w", err)
		}
		m := versionLine.FindSubmatch(content)
		if m == nil {
			return "", "", fmt.Errorf("the version of Ray is unknown: %s does not tell it", file)
		}
		return string(m[1]), string(m[1]) + "." + string(m[2]), nil
	}
	return "", "", fmt.Errorf("the version of Ray is unknown: no argument names %s", pythonWorker)
}

// chooseLayout returns the layout for this process. An error keeps it from talking to the raylet at all, which would end,
// and its node with it, over a message that it does not know. On a version between tested ones that talk alike there is a
// refusal instead, which becomes the actor's death cause.
func chooseLayout(args []string, getenv func(string) string, hasToken bool) (chosen layout, full string, refusal, err error) {
	minor, full, err := rayVersion(args)
	if like := getenv(untestedVariable); like != "" {
		if _, tested := layouts[like]; !tested {
			return layout{}, full, nil, fmt.Errorf("%s=%q: not one of %s", untestedVariable, like, testedVersions)
		}
		minor, err = like, nil
	}
	if err != nil {
		return layout{}, full, nil, fmt.Errorf("%w; name the one that it is like in %s in the actor's env_vars", err, untestedVariable)
	}
	chosen, tested := layouts[minor]
	if !tested {
		like := nearest(minor)
		why := fmt.Errorf("Go actors are tested on Ray %s, and this is %s: run them on one of these, or set %s=%s in the actor's env_vars if you know that it is alike", //nolint:staticcheck // a name
			testedVersions, full, untestedVariable, like)
		if number(minor) < number("2.54") || number(minor) > number("2.60") {
			return layout{}, full, nil, why
		}
		chosen, refusal = layouts[like], why
	}
	if chosen.old != hasToken {
		return layout{}, full, nil, fmt.Errorf("the raylet of Ray %s starts workers in another way than that of the tested %s", full, minor)
	}
	return chosen, full, refusal, nil
}

// nearest is the tested version that is the likeliest to fit: the latest one before minor.
func nearest(minor string) string {
	best := "2.48"
	for v := range layouts {
		if number(v) <= number(minor) && number(v) > number(best) {
			best = v
		}
	}
	return best
}

// number makes versions comparable: 2.60 comes after 2.9.
func number(minor string) int {
	major, rest, _ := strings.Cut(minor, ".")
	a, _ := strconv.Atoi(major) // both are digits
	b, _ := strconv.Atoi(rest)
	return a*1000 + b
}
