package organism

import (
	"maps"
	"slices"
	"time"
)

// recentQualities is how many of the latest qualities a heartbeat shows.
const recentQualities = 5

// Heartbeat is the full state of an agent. All its keys are always present. Times are seconds since 1970.
type Heartbeat struct {
	Timestamp          float64            `json:"timestamp"`
	AgentID            string             `json:"agent_id"`
	StateEmbeddingH    []float64          `json:"state_embedding_h"` // StateDim values
	RoleProbs          RoleProbs          `json:"role_probs"`
	PerformanceMetrics PerformanceMetrics `json:"performance_metrics"`
	MemoryMetrics      MemoryMetrics      `json:"memory_metrics"`
	LocalState         LocalState         `json:"local_state"`
	Lifecycle          Lifecycle          `json:"lifecycle"`
	EnergyState        map[string]float64 `json:"energy_state"`
}

// PerformanceMetrics are a heartbeat's account of tasks.
type PerformanceMetrics struct {
	SuccessRate  float64 `json:"success_rate"`
	QualityScore float64 `json:"quality_score"` // of the latest task
	// CapabilityScoreC is the reported capability score; the one that drives selection is Lifecycle.CapabilityC.
	CapabilityScoreC float64 `json:"capability_score_c"`
	MemUtil          float64 `json:"mem_util"`
	TasksProcessed   int     `json:"tasks_processed"`
	SuccessfulTasks  int     `json:"successful_tasks"`
}

// MemoryMetrics are a heartbeat's account of memory. Nothing logs salient events or compresses memory yet, so those two
// are 0.
type MemoryMetrics struct {
	MemoryWrites         int     `json:"memory_writes"`
	MemoryHitsOnWrites   int     `json:"memory_hits_on_writes"`
	SalientEventsLogged  int     `json:"salient_events_logged"`
	TotalCompressionGain float64 `json:"total_compression_gain"`
}

// LocalState is a heartbeat's account of skills and peers.
type LocalState struct {
	SkillDeltas         map[string]float64 `json:"skill_deltas"`
	PeerInteractions    map[string]int     `json:"peer_interactions"`
	RecentQualityScores []float64          `json:"recent_quality_scores"` // at most 5, oldest first
}

// Lifecycle is a heartbeat's account of the agent's life.
type Lifecycle struct {
	State         string  `json:"state"`
	CreatedAt     float64 `json:"created_at"`
	LastHeartbeat float64 `json:"last_heartbeat"` // the one before this one; created_at in the first
	Uptime        float64 `json:"uptime"`         // seconds
	CapabilityC   float64 `json:"capability_c"`   // drives selection
	MemUtil       float64 `json:"mem_util"`
	IdleTicks     int     `json:"idle_ticks"`
	Archived      bool    `json:"archived"`
}

// SummaryStats is the short form of a heartbeat.
type SummaryStats struct {
	AgentID               string  `json:"agent_id"`
	CapabilityScore       float64 `json:"capability_score"`
	MemUtil               float64 `json:"mem_util"`
	TasksProcessed        int     `json:"tasks_processed"`
	SuccessRate           float64 `json:"success_rate"`
	AvgQuality            float64 `json:"avg_quality"` // of the last 20 tasks
	MemoryWrites          int     `json:"memory_writes"`
	PeerInteractionsCount int     `json:"peer_interactions_count"` // the number of peers
}

// Ping returns the agent's id, time and process. It may run beside other calls.
func (a *Agent) Ping() Pong { return pong(a.id, AgentClass, a.spec, a.now()) }

// Heartbeat returns the agent's state and remembers the time as that of the last heartbeat. The result shares nothing
// with the agent.
func (a *Agent) Heartbeat() Heartbeat {
	now, p := a.now(), &a.performance
	previous := a.lastHeartbeat
	a.lastHeartbeat = now
	recent := p.Qualities[max(0, len(p.Qualities)-recentQualities):]
	return Heartbeat{
		Timestamp:       seconds(now),
		AgentID:         a.id,
		StateEmbeddingH: slices.Clone(a.h[:]),
		RoleProbs:       a.roles,
		PerformanceMetrics: PerformanceMetrics{
			SuccessRate:      p.SuccessRate(),
			QualityScore:     p.LatestQuality(),
			CapabilityScoreC: p.CapabilityScore,
			MemUtil:          p.MemUtil,
			TasksProcessed:   p.Tasks,
			SuccessfulTasks:  p.Successes,
		},
		MemoryMetrics: MemoryMetrics{MemoryWrites: p.MemWrites, MemoryHitsOnWrites: p.MemWriteHits},
		LocalState: LocalState{
			SkillDeltas:         maps.Clone(a.skillDeltas),
			PeerInteractions:    maps.Clone(a.peerInteractions),
			RecentQualityScores: append([]float64{}, recent...),
		},
		Lifecycle: Lifecycle{
			State:         lifecycleEmployed,
			CreatedAt:     seconds(a.createdAt),
			LastHeartbeat: seconds(previous),
			Uptime:        now.Sub(a.createdAt).Seconds(),
			CapabilityC:   p.Capability,
			MemUtil:       p.MemHits,
		},
		EnergyState: maps.Clone(a.energyState),
	}
}

// SummaryStats returns the short form.
func (a *Agent) SummaryStats() SummaryStats {
	p := &a.performance
	return SummaryStats{
		AgentID:               a.id,
		CapabilityScore:       p.CapabilityScore,
		MemUtil:               p.MemUtil,
		TasksProcessed:        p.Tasks,
		SuccessRate:           p.SuccessRate(),
		AvgQuality:            p.AverageQuality(),
		MemoryWrites:          p.MemWrites,
		PeerInteractionsCount: len(a.peerInteractions),
	}
}

func seconds(t time.Time) float64 {
	return float64(t.UnixNano()) / 1e9
}
