package organism

import (
	"context"
	"fmt"
	"time"

	"github.com/seedcore/seedcore/worker"
)

// Names of the actor classes that [RegisterActors] registers, as Ray and Python drivers see them.
const (
	AgentClass       = "RayAgent"
	OrganClass       = "Organ"
	MissTrackerClass = "MissTracker"
	SharedCacheClass = "SharedCache"
	MwStoreClass     = "MwStore"
)

// RegisterActors makes the classes of this package known to package worker, so that this binary can be started by Ray
// as any of their actors. Call it once, before worker.Main; a second call panics.
//
// Arguments may be given by position or, from Python, by name. One that is missing or of the wrong type is an error that
// names the method and the argument, and so is one too many by position; nothing runs then. An unknown name is ignored.
//
// ping is in a concurrency group of its own, "health": it is answered while another method runs, however long that takes.
// So is the run_task of an organ, "tasks", of which 100 run at a time. The others run one at a time.
//
//	RayAgent(agent_id, initial_role_probs=None, organ_id="")
//	    initial_role_probs is a map of E, S and O, an organ type, or null for the default
//	    get_id, ping, execute_task(task), get_heartbeat, get_summary_stats, get_energy_proxy, get_role_probs,
//	    update_role_probs(role_probs), reset_metrics
//	Organ(organ_id, organ_type, agent_ids=[])
//	    ping, register_agent(agent_id), remove_agent(agent_id), get_agent_count, get_agent_ids, get_status,
//	    configure(revision, agent_ids, lease), with the lease in seconds, returns the status; select_agent(task),
//	    run_task(task, timeout=30), with the timeout in seconds, returns what execute_task of an agent of the organ does
//	MissTracker()                ping, incr(item_id), get_top_n(n)
//	SharedCache()                ping, get(key), set(key, value), get_all
//	MwStore(max_items=10000)     ping, incr(uuid, delta=1), topn(n=1)
func RegisterActors() {
	agentActor.register()
	organActor.register()
	missTrackerActor.register()
	sharedCacheActor.register()
	mwStoreActor.register()
}

// actorClass is a class whose methods' arguments are checked before they run.
type actorClass[A any] struct {
	name      string
	arguments []string // of the constructor
	construct func(c call) (A, error)
	methods   map[string]actorMethod[A]
	groups    []worker.ConcurrencyGroup // besides that of ping
}

type actorMethod[A any] struct {
	arguments []string
	run       func(ctx context.Context, actor A, c call) (any, error)
}

func (k actorClass[A]) register() {
	methods := make(worker.Methods[A], len(k.methods))
	for name := range k.methods {
		methods[name] = func(actor A, ctx context.Context, args worker.Args) (any, error) {
			return k.call(ctx, actor, name, args)
		}
	}
	options := []worker.Option{methods, worker.ConcurrencyGroup{Name: healthGroup, MaxConcurrency: 1, Methods: []string{"ping"}}}
	for _, group := range k.groups {
		options = append(options, group)
	}
	worker.Register(k.name, func(_ context.Context, args worker.Args) (A, error) {
		return k.create(args)
	}, options...)
}

// healthGroup is the concurrency group of ping, which must use nothing of its actor that other methods change.
const healthGroup = "health"

func (k actorClass[A]) create(args arguments) (A, error) {
	c, err := newCall(args, k.name+".__init__", k.arguments...)
	if err != nil {
		var none A
		return none, err
	}
	return k.construct(c)
}

func (k actorClass[A]) call(ctx context.Context, actor A, name string, args arguments) (any, error) {
	method := k.methods[name]
	c, err := newCall(args, k.name+"."+name, method.arguments...)
	if err != nil {
		return nil, err
	}
	return method.run(ctx, actor, c)
}

// asks is a method without arguments that cannot fail.
func asks[A any](answer func(actor A) any) actorMethod[A] {
	return actorMethod[A]{run: func(_ context.Context, actor A, _ call) (any, error) {
		return answer(actor), nil
	}}
}

// takes is a method with arguments.
func takes[A any](run func(actor A, c call) (any, error), arguments ...string) actorMethod[A] {
	return actorMethod[A]{arguments: arguments, run: func(_ context.Context, actor A, c call) (any, error) {
		return run(actor, c)
	}}
}

var agentActor = actorClass[*Agent]{
	name:      AgentClass,
	arguments: []string{"agent_id", "initial_role_probs", "organ_id"},
	construct: func(c call) (*Agent, error) {
		id, err := c.text(0)
		if err != nil {
			return nil, err
		}
		roles, err := c.roles(1)
		if err != nil {
			return nil, err
		}
		organID, err := c.optionalText(2)
		if err != nil {
			return nil, err
		}
		return NewAgent(AgentConfig{ID: id, Roles: roles, OrganID: organID})
	},
	methods: map[string]actorMethod[*Agent]{
		"get_id":            asks(func(a *Agent) any { return a.ID() }),
		"ping":              asks(func(a *Agent) any { return a.Ping() }),
		"get_heartbeat":     asks(func(a *Agent) any { return a.Heartbeat() }),
		"get_summary_stats": asks(func(a *Agent) any { return a.SummaryStats() }),
		"get_energy_proxy":  asks(func(a *Agent) any { return a.EnergyProxy() }),
		"get_role_probs":    asks(func(a *Agent) any { return a.Roles() }),
		"reset_metrics":     asks(func(a *Agent) any { a.ResetMetrics(); return nil }),
		"update_role_probs": takes(func(a *Agent, c call) (any, error) {
			values, err := c.mapping(0)
			if err != nil {
				return nil, err
			}
			roles, err := ParseRoleProbs(values)
			if err != nil {
				return nil, c.fail(0, "%w", err)
			}
			return nil, a.UpdateRoles(roles)
		}, "role_probs"),
		"execute_task": {
			arguments: []string{"task"},
			run: func(ctx context.Context, a *Agent, c call) (any, error) {
				task, err := c.mapping(0)
				if err != nil {
					return nil, err
				}
				return a.ExecuteTask(ctx, task)
			},
		},
	},
}

// roles reads an organ type, a map of role probabilities, or null.
func (c call) roles(i int) (RoleProbs, error) {
	value, _, err := c.value(i)
	if err != nil {
		return RoleProbs{}, err
	}
	switch value := value.(type) {
	case nil:
		return DefaultRoles(), nil
	case string:
		return RolesFor(value), nil
	case map[string]any:
		roles, err := ParseRoleProbs(value)
		if err != nil {
			return RoleProbs{}, c.fail(i, "%w", err)
		}
		return roles, nil
	default:
		return RoleProbs{}, c.wrongType(i, "an organ type or a map of role probabilities", value)
	}
}

var organActor = actorClass[*Organ]{
	name:      OrganClass,
	arguments: []string{"organ_id", "organ_type", "agent_ids"},
	construct: func(c call) (*Organ, error) {
		id, err := c.text(0)
		if err != nil {
			return nil, err
		}
		organType, err := c.text(1)
		if err != nil {
			return nil, err
		}
		agentIDs, err := c.optionalTexts(2)
		if err != nil {
			return nil, err
		}
		return NewOrgan(OrganState{ID: id, Type: organType, AgentIDs: agentIDs})
	},
	groups: []worker.ConcurrencyGroup{{Name: "tasks", MaxConcurrency: 100, Methods: []string{"run_task"}}},
	methods: map[string]actorMethod[*Organ]{
		"ping":            asks(func(o *Organ) any { return o.Ping() }),
		"get_agent_count": asks(func(o *Organ) any { return o.AgentCount() }),
		"get_agent_ids":   asks(func(o *Organ) any { return o.AgentIDs() }),
		"get_status":      asks(func(o *Organ) any { return o.Status() }),
		"register_agent": takes(func(o *Organ, c call) (any, error) {
			agentID, err := c.text(0)
			if err != nil {
				return nil, err
			}
			if err := o.RegisterAgent(agentID); err != nil {
				return nil, c.fail(0, "%w", err)
			}
			return nil, nil
		}, "agent_id"),
		"remove_agent": takes(func(o *Organ, c call) (any, error) {
			agentID, err := c.text(0)
			if err != nil {
				return nil, err
			}
			return o.RemoveAgent(agentID), nil
		}, "agent_id"),
		"configure": takes(func(o *Organ, c call) (any, error) {
			revision, err := c.text(0)
			if err != nil {
				return nil, err
			}
			agentIDs, err := c.optionalTexts(1)
			if err != nil {
				return nil, err
			}
			value, err := c.required(2)
			if err != nil {
				return nil, err
			}
			lease, ok := toFloat(value)
			if !ok || !(lease <= MaxLease.Seconds()) { // not a number, or too large to convert
				return nil, c.wrongType(2, "a number of seconds", value)
			}
			if err := o.Configure(revision, agentIDs, time.Duration(lease*float64(time.Second))); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrArgument, c.method, err)
			}
			return o.Status(), nil
		}, "revision", "agent_ids", "lease"),
		"select_agent": takes(func(o *Organ, c call) (any, error) {
			task, err := c.mapping(0)
			if err != nil {
				return nil, err
			}
			return o.SelectAgent(task)
		}, "task"),
		"run_task": {
			arguments: []string{"task", "timeout"},
			run: func(ctx context.Context, o *Organ, c call) (any, error) {
				task, err := c.mapping(0)
				if err != nil {
					return nil, err
				}
				timeout, given, err := c.value(1)
				if err != nil {
					return nil, err
				}
				if given && timeout != nil {
					seconds, ok := toFloat(timeout)
					if !ok || !(seconds > 0 && seconds <= maxTaskSeconds) {
						return nil, c.wrongType(1, "a number of seconds above 0 and at most a day's", timeout)
					}
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
					defer cancel()
				}
				return o.RunTask(ctx, task)
			},
		},
	},
}

// maxTaskSeconds is the longest timeout of run_task.
const maxTaskSeconds = 24 * 60 * 60

var missTrackerActor = actorClass[*MissTracker]{
	name:      MissTrackerClass,
	construct: func(call) (*MissTracker, error) { return NewMissTracker(), nil },
	methods: map[string]actorMethod[*MissTracker]{
		"ping": asks(func(m *MissTracker) any { return m.Ping() }),
		"incr": takes(func(m *MissTracker, c call) (any, error) {
			itemID, err := c.text(0)
			if err != nil {
				return nil, err
			}
			return nil, m.Incr(itemID)
		}, "item_id"),
		"get_top_n": takes(func(m *MissTracker, c call) (any, error) {
			n, err := c.integer(0)
			if err != nil {
				return nil, err
			}
			return pairs(m.TopN(n)), nil
		}, "n"),
	},
}

var sharedCacheActor = actorClass[*SharedCache]{
	name:      SharedCacheClass,
	construct: func(call) (*SharedCache, error) { return NewSharedCache(), nil },
	methods: map[string]actorMethod[*SharedCache]{
		"ping":    asks(func(s *SharedCache) any { return s.Ping() }),
		"get_all": asks(func(s *SharedCache) any { return s.GetAll() }),
		"get": takes(func(s *SharedCache, c call) (any, error) {
			key, err := c.text(0)
			if err != nil {
				return nil, err
			}
			return s.Get(key), nil
		}, "key"),
		"set": takes(func(s *SharedCache, c call) (any, error) {
			key, err := c.text(0)
			if err != nil {
				return nil, err
			}
			value, err := c.required(1)
			if err != nil {
				return nil, err
			}
			if err := s.Set(key, value); err != nil {
				return nil, c.fail(1, "%w", err)
			}
			return nil, nil
		}, "key", "value"),
	},
}

var mwStoreActor = actorClass[*MwStore]{
	name:      MwStoreClass,
	arguments: []string{"max_items"},
	construct: func(c call) (*MwStore, error) {
		maxItems, err := c.optionalInteger(0, MwStoreItems)
		if err != nil {
			return nil, err
		}
		return NewMwStore(int(maxItems))
	},
	methods: map[string]actorMethod[*MwStore]{
		"ping": asks(func(m *MwStore) any { return m.Ping() }),
		"incr": takes(func(m *MwStore, c call) (any, error) {
			id, err := c.text(0)
			if err != nil {
				return nil, err
			}
			delta, err := c.optionalInteger(1, 1)
			if err != nil {
				return nil, err
			}
			return nil, m.Incr(id, delta)
		}, "uuid", "delta"),
		"topn": takes(func(m *MwStore, c call) (any, error) {
			n, err := c.optionalInteger(0, 1)
			if err != nil {
				return nil, err
			}
			return pairs(m.TopN(n)), nil
		}, "n"),
	},
}

// pairs is the form in which counts travel: a list of [id, count].
func pairs(counts []Count) []any {
	list := make([]any, len(counts))
	for i, count := range counts {
		list[i] = []any{count.ID, count.Count}
	}
	return list
}
