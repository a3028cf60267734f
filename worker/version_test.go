package worker_test

import (
	"slices"
	"testing"

	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// The driver's side offers Go actors where the actor's side runs.
func TestBothSidesKnowTheSameVersions(t *testing.T) {
	if got := worker.Layouts(); !slices.Equal(got, ray.GoActorVersions()) {
		t.Errorf("package ray offers Go actors on %q, package worker runs on %q", ray.GoActorVersions(), got)
	}
}
