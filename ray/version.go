package ray

import (
	"fmt"
	"slices"
	"strings"
)

// testedVersions are the Ray versions that the tests of this package, the matrix of fatal inputs among them, were run on.
// Direct calls are refused on any other, since there a request of ours might end the user's actor.
var testedVersions = []string{"2.60.0"}

// Untested says what is to be expected when the cluster runs a Ray version that this package was not tested with; it is
// empty on a tested one. A session works as far as that version speaks the same protocol. The cluster's Python version is
// no concern: values travel as pickles of protocol 5 with plain types, which every Python that Ray supports reads.
func (i SessionInfo) Untested() string {
	if slices.Contains(testedVersions, i.RayVersion) {
		return ""
	}
	return fmt.Sprintf("the cluster runs Ray %s, this driver was tested with %s: direct calls are refused and go through the session, Go actors may fail to start",
		i.RayVersion, strings.Join(testedVersions, ", "))
}
