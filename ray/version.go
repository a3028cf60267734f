package ray

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// versionRules are what differs between versions of Ray in what a direct call has to do.
type versionRules struct {
	// resultsStay: a result in a node's object store stays there until the raylet is told to free it. Before 2.60 the raylet
	// cannot be told, and drops it by itself within seconds: it finds nobody at the address that the call named as its caller.
	resultsStay bool
	// streams: Direct.Stream was tested. Before 2.60 a worker is told otherwise how far its caller has come.
	streams bool
	// labels: a method of an actor may be called with labels. Before, Ray refuses the call.
	labels bool
}

// tested are the Ray versions on which the tests of this package passed, the matrix of fatal inputs among them (`make
// test-matrix`). Direct calls are refused on any other, since there a request of ours might end the user's actor.
var tested = map[string]versionRules{
	"2.40.0": {},
	"2.48.0": {},
	"2.54.1": {},
	"2.60.0": {resultsStay: true, streams: true, labels: true},
}

// TestedVersions returns the Ray versions that this package was tested with, sessions and direct calls, the oldest first.
// See GoActorVersions for Go actors.
func TestedVersions() []string { return slices.Sorted(maps.Keys(tested)) }

// Untested says what is to be expected when the cluster runs a Ray version that this package was not tested with; it is
// empty on a tested one. A session works as far as that version speaks the same protocol. The cluster's Python version is
// no concern: values travel as pickles of protocol 5 with plain types, which every Python that Ray supports reads.
func (i SessionInfo) Untested() string {
	if _, ok := tested[i.RayVersion]; ok {
		return ""
	}
	return fmt.Sprintf("the cluster runs Ray %s, this driver was tested with %s: direct calls are refused and go through the session, Go actors may fail to start",
		i.RayVersion, strings.Join(TestedVersions(), ", "))
}
