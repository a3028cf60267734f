package ray

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// orderlyEnd are the words of the gRPC server in a Python worker that ends properly, for the calls that wait there.
var orderlyEnd = []string{"Cancelling all calls", "CANCELLED"}

// unbuilt is why an actor was never there whose constructor raised. The GCS is asked once for all the calls that met it.
type unbuilt struct {
	once sync.Once
	died error // nil: nothing of that kind is known
}

// endedOrderly tells that a worker which ends properly had the call, and may not have run it.
func (x *exchange) endedOrderly() bool {
	gone, ok := errors.AsType[*ActorUnavailableError](x.err)
	return ok && x.sent == SentMaybe && slices.Contains(orderlyEnd, gone.Message)
}

// wasUnbuilt returns how the actor died, if its constructor raised. The GCS of Ray reports such an actor as ALIVE until its process has
// said goodbye, for some 10 ms, at times for 100 ms: a call of that moment reaches a worker that has
// begun to end, drops every request unread, and ends its server. So the call did not run, whatever was sent of it.
func (d *Direct) wasUnbuilt(t *target) error {
	t.unbuilt.once.Do(func() { t.unbuilt.died = d.awaitBurial(t) })
	return t.unbuilt.died
}

// awaitBurial asks the GCS until it knows that the process of t ended, and returns the death of its actor in the constructor;
// nil where it had another reason or is not known.
func (d *Direct) awaitBurial(t *target) error {
	ctx, cancel := context.WithTimeout(d.ctx, d.bounds.burial)
	defer cancel()
	for pause := firstPoll / 10; ; pause = min(2*pause, firstPoll) {
		data, err := d.gcs.actor(ctx, t.data.GetActorId())
		switch {
		case err != nil:
			return nil //nolint:nilerr // the call has an error of its own
		case data.GetNumRestarts() != t.data.GetNumRestarts():
			return nil // the constructor of another process says nothing of this one
		case data.GetState() == corepb.ActorTableData_DEAD && data.GetDeathCause().GetCreationTaskFailureContext() != nil:
			return died(data)
		case data.GetState() != corepb.ActorTableData_ALIVE:
			return nil
		}
		if d.pause(ctx, pause) != nil {
			return nil
		}
	}
}

// unlessDead returns err, that a process let a connection in but did not answer in time, or how its actor died meanwhile: a process
// that ends may do so, and seconds have passed.
func (d *Direct) unlessDead(data *corepb.ActorTableData, err error) error {
	ctx, cancel := context.WithTimeout(d.ctx, d.bounds.burial)
	defer cancel()
	if last, lastErr := d.gcs.actor(ctx, data.GetActorId()); lastErr == nil && last.GetState() == corepb.ActorTableData_DEAD {
		return died(last)
	}
	return err
}
