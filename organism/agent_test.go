package organism_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/organism"
)

func newAgent(t *testing.T, config organism.AgentConfig) *organism.Agent {
	t.Helper()
	agent, err := organism.NewAgent(config)
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

func keys(t *testing.T, value any) []string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return slices.Sorted(maps.Keys(object))
}

func wantKeys(t *testing.T, value any, want string) {
	t.Helper()
	names := strings.Fields(want)
	slices.Sort(names)
	if got := keys(t, value); !slices.Equal(got, names) {
		t.Errorf("the keys of %T are %v, want %v", value, got, names)
	}
}

func TestNewAgentRefusesWhatItCannotUse(t *testing.T) {
	for says, config := range map[string]organism.AgentConfig{
		"agent_id: organism: unusable name: it is empty": {},
		"agent_id": {ID: "a b"},
		"organ_id": {ID: "a", OrganID: "a/b"},
		"E is -1":  {ID: "a", Roles: organism.RoleProbs{E: -1}},
	} {
		if _, err := organism.NewAgent(config); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: got %v, want an error that says %q", config, err, says)
		}
	}
}

func TestNewAgentStartValues(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x", OrganID: "o"})
	if agent.ID() != "x" || agent.OrganID() != "o" || agent.Roles() != organism.DefaultRoles() {
		t.Errorf("got %s of %s with %v", agent.ID(), agent.OrganID(), agent.Roles())
	}
	if got := agent.Performance(); !reflect.DeepEqual(got, organism.NewPerformance()) {
		t.Errorf("got %+v", got)
	}
}

func TestExecuteTaskSimulated(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x", Rand: rand.New(rand.NewPCG(9, 9))})
	twin := organism.NewPerformance()
	source := organism.Simulated(rand.New(rand.NewPCG(9, 9)))
	for range 100 {
		result, err := agent.ExecuteTask(t.Context(), organism.Task{"type": "general"})
		if err != nil {
			t.Fatal(err)
		}
		outcome, err := source(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		twin.Begin(0.5)
		twin.Record(outcome)
		want := organism.TaskResult{
			AgentID: "x", TaskProcessed: true, Success: outcome.Success, Quality: outcome.Quality,
			CapabilityScore: twin.CapabilityScore, MemUtil: twin.MemUtil, PID: os.Getpid(),
		}
		if result != want {
			t.Fatalf("got %+v, want %+v", result, want)
		}
	}
	if got := agent.Performance(); !reflect.DeepEqual(got, twin) || got.MemWrites != 100 {
		t.Errorf("got  %+v\nwant %+v", got, twin)
	}
	result, err := agent.ExecuteTask(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantKeys(t, result, "agent_id task_processed success quality capability_score mem_util pid")
}

var errBroken = errors.New("broken")

func init() {
	organism.RegisterHandler("agent_test.echo", func(_ context.Context, task organism.Task) (organism.Outcome, error) {
		return organism.Outcome{Success: true, Quality: 0.9, MemHits: 3, Output: task["text"]}, nil
	})
	organism.RegisterHandler("agent_test.error", func(context.Context, organism.Task) (organism.Outcome, error) {
		return organism.Outcome{Success: true, Quality: 1, MemHits: 5, MemWrites: 1}, errBroken
	})
	organism.RegisterHandler("agent_test.invalid", func(context.Context, organism.Task) (organism.Outcome, error) {
		return organism.Outcome{Success: true, Quality: 2}, nil
	})
	organism.RegisterHandler("agent_test.panic", func(context.Context, organism.Task) (organism.Outcome, error) {
		panic("a bug in the handler")
	})
}

func TestExecuteTaskRunsTheHandlerOfItsType(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x"})
	result, err := agent.ExecuteTask(t.Context(), organism.Task{"task_type": "agent_test.echo", "text": "hello"})
	if err != nil {
		t.Fatal(err)
	}
	if !result.Success || result.Quality != 0.9 || result.Output != "hello" ||
		!near(result.CapabilityScore, 0.5874, 1e-9) || !near(result.MemUtil, 0.3, 1e-9) {
		t.Errorf("got %+v", result)
	}
	if proxy := agent.EnergyProxy(); !near(proxy.Capability, 0.546, 1e-9) || !near(proxy.MemUtil, 0.3, 1e-9) {
		t.Errorf("selection would use %+v, want c and not the score", proxy)
	}
	wantKeys(t, result, "agent_id task_processed success quality capability_score mem_util pid output")
}

func TestExecuteTaskCountsFailures(t *testing.T) {
	failed := organism.NewPerformance()
	failed.Record(organism.Outcome{})

	for taskType, cause := range map[string]error{
		"agent_test.error": errBroken, "agent_test.invalid": organism.ErrOutcome, "agent_test.panic": nil,
	} {
		agent := newAgent(t, organism.AgentConfig{ID: "x"})
		run := func() error {
			_, err := agent.ExecuteTask(t.Context(), organism.Task{"type": taskType})
			return err
		}
		if cause == nil {
			if !panics(func() { _ = run() }) {
				t.Errorf("%s: the panic did not reach the caller", taskType)
			}
		} else if err := run(); !errors.Is(err, cause) || !strings.Contains(err.Error(), taskType) || !strings.Contains(err.Error(), "agent x") {
			t.Errorf("%s: got %v", taskType, err)
		}
		if got := agent.Performance(); !reflect.DeepEqual(got, failed) {
			t.Errorf("%s: got %+v, want one failed task %+v", taskType, got, failed)
		}
	}
}

func TestExecuteTaskRefusesWithoutCounting(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx   context.Context
		task  organism.Task
		cause error
	}{
		"type":       {t.Context(), organism.Task{"type": 5.0}, organism.ErrTask},
		"complexity": {t.Context(), organism.Task{"complexity": "high"}, organism.ErrTask},
		"ended":      {ended, organism.Task{}, context.Canceled},
	} {
		if _, err := agent.ExecuteTask(test.ctx, test.task); !errors.Is(err, test.cause) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if got := agent.Performance(); !reflect.DeepEqual(got, organism.NewPerformance()) {
		t.Errorf("it was counted: %+v", got)
	}
}

func TestUpdateRoles(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x"})
	if err := agent.UpdateRoles(organism.RoleProbs{E: 2, S: 2}); err != nil {
		t.Fatal(err)
	}
	want := organism.RoleProbs{E: 0.5, S: 0.5}
	if err := agent.UpdateRoles(organism.RoleProbs{}); !errors.Is(err, organism.ErrRoles) {
		t.Errorf("sum 0: %v", err)
	}
	if agent.Roles() != want || agent.Heartbeat().RoleProbs != want || !near(agent.EnergyProxy().EntropyContribution, 1, 1e-8) {
		t.Errorf("got %v, want %v everywhere", agent.Roles(), want)
	}
}

func TestHeartbeat(t *testing.T) {
	clock := time.Unix(1000, 500_000_000)
	agent := newAgent(t, organism.AgentConfig{ID: "x", Now: func() time.Time { return clock }, Rand: rand.New(rand.NewPCG(1, 1))})
	for range 30 {
		if _, err := agent.ExecuteTask(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	clock = clock.Add(10 * time.Second)
	first := agent.Heartbeat()
	wantKeys(t, first, "timestamp agent_id state_embedding_h role_probs performance_metrics memory_metrics local_state lifecycle energy_state")
	wantKeys(t, first.PerformanceMetrics, "success_rate quality_score capability_score_c mem_util tasks_processed successful_tasks")
	wantKeys(t, first.MemoryMetrics, "memory_writes memory_hits_on_writes salient_events_logged total_compression_gain")
	wantKeys(t, first.LocalState, "skill_deltas peer_interactions recent_quality_scores")
	wantKeys(t, first.Lifecycle, "state created_at last_heartbeat uptime capability_c mem_util idle_ticks archived")
	wantKeys(t, first.RoleProbs, "E S O")

	p := agent.Performance()
	if first.AgentID != "x" || first.Timestamp != 1010.5 || len(first.StateEmbeddingH) != organism.StateDim {
		t.Errorf("got %s at %v with %d values", first.AgentID, first.Timestamp, len(first.StateEmbeddingH))
	}
	if got := first.PerformanceMetrics; got.TasksProcessed != 30 || got.SuccessfulTasks != p.Successes || got.SuccessRate != p.SuccessRate() ||
		got.QualityScore != p.LatestQuality() || got.CapabilityScoreC != p.CapabilityScore || got.MemUtil != p.MemUtil {
		t.Errorf("performance is %+v, want %+v", got, p)
	}
	if got := first.Lifecycle; got.State != "Employed" || got.CreatedAt != 1000.5 || got.LastHeartbeat != 1000.5 || got.Uptime != 10 ||
		got.CapabilityC != p.Capability || got.MemUtil != p.MemHits {
		t.Errorf("lifecycle is %+v", got)
	}
	if got := first.LocalState.RecentQualityScores; !slices.Equal(got, p.Qualities[15:]) {
		t.Errorf("recent qualities are %v of %v", got, p.Qualities)
	}
	if first.MemoryMetrics.MemoryWrites != 30 || first.MemoryMetrics.MemoryHitsOnWrites != p.MemWriteHits {
		t.Errorf("memory is %+v", first.MemoryMetrics)
	}
	clock = clock.Add(time.Second)
	if second := agent.Heartbeat(); second.Lifecycle.LastHeartbeat != 1010.5 || second.Lifecycle.Uptime != 11 {
		t.Errorf("the second lifecycle is %+v", second.Lifecycle)
	}
	first.StateEmbeddingH[0], first.LocalState.SkillDeltas["x"], first.EnergyState["x"] = 1, 1, 1
	first.LocalState.RecentQualityScores[0] = -1
	if again := agent.Heartbeat(); again.StateEmbeddingH[0] != 0 || len(again.LocalState.SkillDeltas)+len(again.EnergyState) != 0 ||
		again.LocalState.RecentQualityScores[0] == -1 {
		t.Error("a heartbeat shares memory with the agent")
	}
}

func TestHeartbeatOfANewAgentHasNoNulls(t *testing.T) {
	text, err := json.Marshal(newAgent(t, organism.AgentConfig{ID: "x"}).Heartbeat())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "null") {
		t.Errorf("got %s", text)
	}
}

func TestSummaryStats(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x", Rand: rand.New(rand.NewPCG(1, 1))})
	for range 3 {
		if _, err := agent.ExecuteTask(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	p, stats := agent.Performance(), agent.SummaryStats()
	want := organism.SummaryStats{
		AgentID: "x", CapabilityScore: p.CapabilityScore, MemUtil: p.MemUtil, TasksProcessed: 3,
		SuccessRate: p.SuccessRate(), AvgQuality: p.AverageQuality(), MemoryWrites: 3,
	}
	if stats != want {
		t.Errorf("got %+v, want %+v", stats, want)
	}
	wantKeys(t, stats, "agent_id capability_score mem_util tasks_processed success_rate avg_quality memory_writes peer_interactions_count")
}

func TestResetMetrics(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x", Roles: organism.RolesFor("Utility")})
	for range 3 {
		if _, err := agent.ExecuteTask(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	agent.ResetMetrics()
	if got := agent.Performance(); !reflect.DeepEqual(got, organism.NewPerformance()) {
		t.Errorf("got %+v", got)
	}
	if got := agent.EnergyProxy(); !near(got.Score(), 0.202904941, 1e-9) {
		t.Errorf("selection still sees %+v", got)
	}
	if agent.Roles() != organism.RolesFor("Utility") {
		t.Errorf("the roles became %v", agent.Roles())
	}
}
