// Package organism is what runs on a connection: the singletons, the organs and their agents, all of them named
// detached actors in Go, and the tasks that they are given.
//
// An organism is described by a [Config], read from YAML. Each organ is a group of agents; an [Agent] runs one task at
// a time and keeps account of how it went, from which [SelectBest] chooses among several. What an agent does with a
// task is up to the [Handler] that is registered for the task's type, in every binary that runs agents:
//
//	organism.RegisterHandler("greet", func(ctx context.Context, task organism.Task) (organism.Outcome, error) {
//		return organism.Outcome{Success: true, Quality: 1, Output: "hello"}, nil
//	})
//
// The singletons are [MissTracker], [SharedCache] and [MwStore]. [RegisterActors] makes all of these classes ones that
// Ray can start in this binary. Their state lives in their processes: when one ends, Ray starts it again from nothing.
//
// An [Organism] keeps what is configured alive on a connection, on every session anew, and gives tasks to the agents.
//
// Two values are easily misread. The capability c (capability_c, or capability in an energy proxy) decides which agent
// is chosen, while capability_score is what is reported; and mem_util is a moving average of memory hits per task,
// 0 to 5, not a ratio.
package organism
