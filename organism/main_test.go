package organism_test

import (
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/worker"
)

func TestMain(m *testing.M) {
	// Ray starts this program as the actors of ExampleOrganism.
	registerActors()
	worker.Main()
	raytest.Main(m, raytest.WithLeakCheck())
}
