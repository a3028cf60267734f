package organism

// The actors' methods as package worker gets them, for tests that bring their own arguments.
var (
	CreateAgent       = agentActor.create
	CallAgent         = agentActor.call
	CreateOrgan       = organActor.create
	CallOrgan         = organActor.call
	CreateMissTracker = missTrackerActor.create
	CallMissTracker   = missTrackerActor.call
	CreateSharedCache = sharedCacheActor.create
	CallSharedCache   = sharedCacheActor.call
	CreateMwStore     = mwStoreActor.create
	CallMwStore       = mwStoreActor.call
)

// Plain is a task as it is sent.
func Plain(t Task) map[string]any { return t.plain() }
