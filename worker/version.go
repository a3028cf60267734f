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
	// startupToken: workers are known to the raylet by a number and choose their id themselves.
	startupToken bool
	// creation numbers the fields of ActorCreationTaskSpec.
	creation creationFields
	// groupSequence: each concurrency group of a caller has a sequence of its own.
	groupSequence bool
}

// layouts are the versions of Ray on which Go actors were tested, by their first two numbers.
var layouts = map[string]layout{
	"2.48": {startupToken: true, creation: creationTo253},
	"2.54": {creation: creationFrom254},
	"2.60": {creation: creationFrom254, groupSequence: true},
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

// chooseLayout returns the layout for this process. When it returns a refusal too, the layout is only good for telling
// the raylet so: how a worker registers shows in the flags, and the refusal becomes the actor's death cause.
func chooseLayout(args []string, getenv func(string) string, hasToken bool) (chosen layout, full string, refusal error) {
	minor, full, err := rayVersion(args)
	if err == nil {
		if _, tested := layouts[minor]; !tested {
			err = fmt.Errorf("Go actors are tested on Ray %s, and this is %s: run them on one of these, or name the one that this is like in %s in the actor's env_vars, as %s=%s", //nolint:staticcheck // a name
				testedVersions, full, untestedVariable, untestedVariable, nearest(minor))
		}
	}
	if like := getenv(untestedVariable); err != nil && like != "" {
		if _, tested := layouts[like]; tested {
			minor, err = like, nil
		} else {
			err = fmt.Errorf("%s=%q: not one of %s", untestedVariable, like, testedVersions)
		}
	}
	if err != nil {
		return layout{startupToken: hasToken, creation: creationFrom254}, full, err
	}
	chosen = layouts[minor]
	if chosen.startupToken != hasToken {
		err = fmt.Errorf("the raylet of Ray %s starts workers in another way than that of the tested %s", full, minor)
		chosen.startupToken = hasToken
	}
	return chosen, full, err
}

// nearest is the tested version that is the likeliest to fit: the latest one before minor.
func nearest(minor string) string {
	number := func(v string) int {
		major, rest, _ := strings.Cut(v, ".")
		a, _ := strconv.Atoi(major)
		b, _ := strconv.Atoi(rest)
		return a*1000 + b
	}
	best := "2.48"
	for v := range layouts {
		if number(v) <= number(minor) && number(v) > number(best) {
			best = v
		}
	}
	return best
}
