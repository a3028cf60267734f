package ray_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/raytest"
	"github.com/seedcore/seedcore/ray"
)

// Ray tells the id of an actor without a name before it has registered the actor.
func TestAnActorIsAwaitedThatIsNotRegisteredYet(t *testing.T) {
	t.Parallel()
	s := open(t, ray.Config{})
	relay := &gcsRelay{unregistered: 3}
	client := ray.NewClient(s, relayed(t, relay), nil, nil)
	if err := client.AwaitActor(deadline(t), counter(t, s, ray.ActorOptions{}).ID()); err != nil || relay.byID.Load() < 4 {
		t.Errorf("after %d questions: %v", relay.byID.Load(), err)
	}

	gcs, err := ray.DialGCS(deadline(t), raytest.Head(t).GCSAddress(), ray.GCSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gcs.Close() })
	unknown := strings.Repeat("ab", 16)
	err = ray.NewClient(s, gcs, nil, nil).AwaitActor(deadline(t), unknown)
	if none, ok := errors.AsType[*ray.ActorNotFoundError](err); !ok || none.ActorID != unknown {
		t.Errorf("an actor that there never was: %v", err)
	}
}
