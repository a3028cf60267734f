package organism_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/xlang"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
	"github.com/seedcore/seedcore/worker"
)

// given are the arguments of a call.
type given struct {
	positional []any
	named      map[string]any
}

var errUndecodable = errors.New("only Python has this")

func (g given) Len() int { return len(g.positional) }

func (g given) Value(i int) (any, error) { return decoded(g.positional[i]) }

func (g given) Named(name string) (any, bool, error) {
	named, ok := g.named[name]
	if !ok {
		return nil, false, nil
	}
	value, err := decoded(named)
	return value, true, err
}

func decoded(value any) (any, error) {
	if err, ok := value.(error); ok {
		return nil, err
	}
	return value, nil
}

func args(values ...any) given { return given{positional: values} }

// travelled returns a result as the caller gets it.
func travelled(t *testing.T, result any, err error) any {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, metadata, err := xlang.Encode(result)
	if err != nil {
		t.Fatalf("%#v cannot travel: %v", result, err)
	}
	value, err := xlang.Decode(data, metadata)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func wantMap(t *testing.T, value any, names string) map[string]any {
	t.Helper()
	object, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("got a %T: %v", value, value)
	}
	want := strings.Fields(names)
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, want) {
		t.Errorf("the keys are %v, want %v", got, want)
	}
	return object
}

var registerActors = sync.OnceFunc(organism.RegisterActors)

func TestRegisterActorsNamesTheClasses(t *testing.T) {
	registerActors()
	got := map[string]string{}
	for _, class := range worker.Classes() {
		got[class.Name] = strings.Join(class.Methods, " ")
	}
	want := map[string]string{
		"RayAgent":    "execute_task get_energy_proxy get_heartbeat get_id get_role_probs get_summary_stats ping reset_metrics update_role_probs",
		"Organ":       "configure get_agent_count get_agent_ids get_status ping register_agent remove_agent run_task select_agent",
		"MissTracker": "get_top_n incr ping",
		"SharedCache": "get get_all ping set",
		"MwStore":     "incr ping topn",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestAgentActor(t *testing.T) {
	agent, err := organism.CreateAgent(args("o_agent_0", "Utility", "o"))
	if err != nil {
		t.Fatal(err)
	}
	if agent.Roles() != organism.RolesFor("Utility") || agent.OrganID() != "o" {
		t.Errorf("got %v of %s", agent.Roles(), agent.OrganID())
	}
	ask := func(method string, values ...any) any {
		t.Helper()
		result, err := organism.CallAgent(t.Context(), agent, method, args(values...))
		return travelled(t, result, err)
	}
	if got := ask("get_id"); got != "o_agent_0" {
		t.Errorf("get_id: %v", got)
	}
	ping := wantMap(t, ask("ping"), "id class ts pid program spec")
	if ping["id"] != "o_agent_0" || ping["pid"] != int64(os.Getpid()) || ping["ts"] == 0.0 {
		t.Errorf("ping: %v", ping)
	}
	if got := ask("update_role_probs", map[string]any{"E": int64(1), "S": int64(1), "O": int64(2)}); got != nil {
		t.Errorf("update_role_probs: %v", got)
	}
	if got := ask("get_role_probs"); !reflect.DeepEqual(got, map[string]any{"E": 0.25, "S": 0.25, "O": 0.5}) {
		t.Errorf("get_role_probs: %v", got)
	}
	result := wantMap(t, ask("execute_task", map[string]any{"type": "general"}),
		"agent_id task_processed success quality capability_score mem_util pid")
	if result["agent_id"] != "o_agent_0" || result["task_processed"] != true || result["pid"] != int64(os.Getpid()) {
		t.Errorf("execute_task: %v", result)
	}
	heartbeat := wantMap(t, ask("get_heartbeat"),
		"timestamp agent_id state_embedding_h role_probs performance_metrics memory_metrics local_state lifecycle energy_state")
	if h, ok := heartbeat["state_embedding_h"].([]any); !ok || len(h) != 128 {
		t.Errorf("h: %v", heartbeat["state_embedding_h"])
	}
	wantMap(t, heartbeat["local_state"], "skill_deltas peer_interactions recent_quality_scores")
	stats := wantMap(t, ask("get_summary_stats"),
		"agent_id capability_score mem_util tasks_processed success_rate avg_quality memory_writes peer_interactions_count")
	if stats["tasks_processed"] != int64(1) {
		t.Errorf("get_summary_stats: %v", stats)
	}
	if got := ask("reset_metrics"); got != nil {
		t.Errorf("reset_metrics: %v", got)
	}
	proxy := wantMap(t, ask("get_energy_proxy"), "capability entropy_contribution mem_util state_norm")
	if proxy["capability"] != 0.5 {
		t.Errorf("get_energy_proxy: %v", proxy)
	}
}

func TestAgentActorConstructor(t *testing.T) {
	for name, test := range map[string]struct {
		args given
		want organism.RoleProbs
	}{
		"only an id":     {args("x"), organism.DefaultRoles()},
		"null":           {args("x", nil, nil), organism.DefaultRoles()},
		"type":           {args("x", "Actuator"), organism.RolesFor("Actuator")},
		"probabilities":  {args("x", map[string]any{"S": 2.0}, "o"), organism.RoleProbs{S: 1}},
		"by name":        {given{named: map[string]any{"agent_id": "x", "initial_role_probs": "Utility", "organ_id": "o"}}, organism.RolesFor("Utility")},
		"partly by name": {given{positional: []any{"x"}, named: map[string]any{"organ_id": "o"}}, organism.DefaultRoles()},
	} {
		agent, err := organism.CreateAgent(test.args)
		if err != nil || agent.ID() != "x" || agent.Roles() != test.want {
			t.Errorf("%s: got %+v, %v", name, agent, err)
		}
	}
}

func TestOrganActor(t *testing.T) {
	organ, err := organism.CreateOrgan(args("o", "Cognitive", []any{"o_agent_0"}))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method string, values ...any) any {
		t.Helper()
		result, err := organism.CallOrgan(t.Context(), organ, method, args(values...))
		return travelled(t, result, err)
	}
	if got := ask("register_agent", "o_agent_1"); got != nil {
		t.Errorf("register_agent: %v", got)
	}
	if got := ask("get_agent_ids"); !reflect.DeepEqual(got, []any{"o_agent_0", "o_agent_1"}) {
		t.Errorf("get_agent_ids: %v", got)
	}
	if got := ask("remove_agent", "o_agent_0"); got != true {
		t.Errorf("remove_agent: %v", got)
	}
	if got := ask("get_agent_count"); got != int64(1) {
		t.Errorf("get_agent_count: %v", got)
	}
	if got := ask("select_agent", map[string]any{}); got != "o_agent_1" {
		t.Errorf("select_agent: %v", got)
	}
	want := map[string]any{
		"organ_id": "o", "organ_type": "Cognitive", "agent_count": int64(1), "agent_ids": []any{"o_agent_1"}, "pid": int64(os.Getpid()),
		"revision": "", "revision_age": 0.0,
	}
	if got := ask("get_status"); !reflect.DeepEqual(got, want) {
		t.Errorf("get_status: %v, want %v", got, want)
	}
	if got := wantMap(t, ask("ping"), "id class ts pid program spec"); got["id"] != "o" {
		t.Errorf("ping: %v", got)
	}
	configured := wantMap(t, ask("configure", "r1", []any{"a", "b"}, int64(5)), "organ_id organ_type agent_count agent_ids revision revision_age pid")
	if configured["revision"] != "r1" || !reflect.DeepEqual(configured["agent_ids"], []any{"a", "b"}) {
		t.Errorf("configure: %v", configured)
	}
	if got := wantMap(t, ask("configure", "r2", []any{"c"}, 0.5), "organ_id organ_type agent_count agent_ids revision revision_age pid"); got["revision"] != "r1" {
		t.Errorf("configure by another: %v", got)
	}
	for _, id := range []string{"a", "b"} {
		ask("remove_agent", id)
	}
	if got := ask("get_agent_ids"); !reflect.DeepEqual(got, []any{}) {
		t.Errorf("an empty organ has the agents %v", got)
	}
	_, err = organism.CallOrgan(t.Context(), organ, "select_agent", args(map[string]any{}))
	if err == nil || err.Error() != "No agents available in this organ." {
		t.Errorf("select_agent of an empty organ: %v", err)
	}
	_, err = organism.CallOrgan(t.Context(), organ, "run_task", args(map[string]any{}))
	if err == nil || err.Error() != "No agents available in this organ." || ray.SentOf(err) != ray.SentNo {
		t.Errorf("run_task of an empty organ: %v", err)
	}
}

func TestSingletonActors(t *testing.T) {
	tracker, err := organism.CreateMissTracker(args())
	if err != nil {
		t.Fatal(err)
	}
	track := func(method string, values ...any) any {
		t.Helper()
		result, err := organism.CallMissTracker(t.Context(), tracker, method, args(values...))
		return travelled(t, result, err)
	}
	if got := track("incr", "a"); got != nil {
		t.Errorf("incr: %v", got)
	}
	if got := track("get_top_n", int64(3)); !reflect.DeepEqual(got, []any{[]any{"a", int64(1)}}) {
		t.Errorf("get_top_n: %v", got)
	}
	if got := wantMap(t, track("ping"), "id class ts pid program spec"); got["id"] != "miss_tracker" {
		t.Errorf("ping: %v", got)
	}

	cache, err := organism.CreateSharedCache(args())
	if err != nil {
		t.Fatal(err)
	}
	keep := func(method string, values ...any) any {
		t.Helper()
		result, err := organism.CallSharedCache(t.Context(), cache, method, args(values...))
		return travelled(t, result, err)
	}
	if got := keep("get_all"); !reflect.DeepEqual(got, map[string]any{}) {
		t.Errorf("get_all of an empty cache: %v", got)
	}
	keep("set", "k", []any{int64(1), "x"})
	if got := keep("get", "k"); !reflect.DeepEqual(got, []any{int64(1), "x"}) {
		t.Errorf("get: %v", got)
	}
	if got := keep("get", "none"); got != nil {
		t.Errorf("get of an absent key: %v", got)
	}
	if got := wantMap(t, keep("ping"), "id class ts pid program spec"); got["id"] != "shared_cache" {
		t.Errorf("ping: %v", got)
	}

	store, err := organism.CreateMwStore(args())
	if err != nil {
		t.Fatal(err)
	}
	use := func(method string, arguments given) any {
		t.Helper()
		result, err := organism.CallMwStore(t.Context(), store, method, arguments)
		return travelled(t, result, err)
	}
	use("incr", args("a"))
	use("incr", args("b", int64(4)))
	use("incr", given{named: map[string]any{"uuid": "a", "delta": 2.0}})
	if got := use("topn", args()); !reflect.DeepEqual(got, []any{[]any{"b", int64(4)}}) {
		t.Errorf("topn(): %v", got)
	}
	if got := use("topn", args(int64(2))); !reflect.DeepEqual(got, []any{[]any{"b", int64(4)}, []any{"a", int64(3)}}) {
		t.Errorf("topn(2): %v", got)
	}
	if got := wantMap(t, use("ping", args()), "id class ts pid program spec"); got["id"] != "mw" {
		t.Errorf("ping: %v", got)
	}
}

// Every wrong argument ends in an error that names the method and the argument.
func TestActorsRefuseWrongArguments(t *testing.T) {
	agent := newAgent(t, organism.AgentConfig{ID: "x"})
	organ := newOrgan(t, "a")
	tracker, cache := organism.NewMissTracker(), organism.NewSharedCache()
	store, err := organism.NewMwStore(5)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	type call func(context.Context, given) error
	method := func(actor, name string) call {
		return func(ctx context.Context, g given) error {
			var err error
			switch actor {
			case "RayAgent":
				_, err = organism.CallAgent(ctx, agent, name, g)
			case "Organ":
				_, err = organism.CallOrgan(ctx, organ, name, g)
			case "MissTracker":
				_, err = organism.CallMissTracker(ctx, tracker, name, g)
			case "SharedCache":
				_, err = organism.CallSharedCache(ctx, cache, name, g)
			case "MwStore":
				_, err = organism.CallMwStore(ctx, store, name, g)
			}
			return err
		}
	}
	constructor := func(actor string) call {
		return func(_ context.Context, g given) error {
			var err error
			switch actor {
			case "RayAgent":
				_, err = organism.CreateAgent(g)
			case "Organ":
				_, err = organism.CreateOrgan(g)
			case "MissTracker":
				_, err = organism.CreateMissTracker(g)
			case "MwStore":
				_, err = organism.CreateMwStore(g)
			}
			return err
		}
	}
	for _, test := range []struct {
		call call
		args given
		says string
	}{
		{constructor("RayAgent"), args(), "RayAgent.__init__, agent_id: it is missing"},
		{constructor("RayAgent"), args(nil), "RayAgent.__init__, agent_id: it must be text, and is null"},
		{constructor("RayAgent"), args("x", 1.5), "RayAgent.__init__, initial_role_probs: it must be an organ type or a map of role probabilities, and is a float64"},
		{constructor("RayAgent"), args("x", map[string]any{"Q": 1.0}), `RayAgent.__init__, initial_role_probs: organism: unusable role probabilities: there is no role "Q"`},
		{constructor("RayAgent"), args("x", "T", int64(1)), "RayAgent.__init__, organ_id: it must be text, and is a int64"},
		{constructor("RayAgent"), args("x", "T", "o", 1), "RayAgent.__init__ takes 3 and got 4"},
		{constructor("Organ"), args("o"), "Organ.__init__, organ_type: it is missing"},
		{constructor("Organ"), args("o", "T", "a"), "Organ.__init__, agent_ids: it must be a list of text, and is a string"},
		{constructor("Organ"), args("o", "T", []any{"a", nil}), "Organ.__init__, agent_ids: it must be a list of text, and item 1 is a <nil>"},
		{constructor("MissTracker"), args(1), "MissTracker.__init__ takes 0 and got 1"},
		{constructor("MwStore"), args("many"), "MwStore.__init__, max_items: it must be a whole number, and is a string"},

		{method("RayAgent", "ping"), args(1), "RayAgent.ping takes 0 and got 1"},
		{method("RayAgent", "execute_task"), args(), "RayAgent.execute_task, task: it is missing"},
		{method("RayAgent", "execute_task"), args([]any{}), "RayAgent.execute_task, task: it must be a map with text keys, and is a []interface {}"},
		{method("RayAgent", "execute_task"), args(errUndecodable), "RayAgent.execute_task, task: only Python has this"},
		{method("RayAgent", "execute_task"), given{named: map[string]any{"task": errUndecodable}}, "RayAgent.execute_task, task: only Python has this"},
		{method("RayAgent", "execute_task"), given{positional: []any{map[string]any{}}, named: map[string]any{"task": map[string]any{}}}, "RayAgent.execute_task, task: it was given twice"},
		{method("RayAgent", "update_role_probs"), args(map[string]any{"E": -1.0}), "RayAgent.update_role_probs, role_probs: organism: unusable role probabilities: E is -1"},
		{method("Organ", "register_agent"), args("a b"), "Organ.register_agent, agent_id: organism: unusable name"},
		{method("Organ", "register_agent"), args("a", "handle"), "Organ.register_agent takes 1 and got 2"},
		{method("Organ", "remove_agent"), args([]byte("a")), "Organ.remove_agent, agent_id: it must be text, and is a []uint8"},
		{method("Organ", "select_agent"), args(), "Organ.select_agent, task: it is missing"},
		{method("Organ", "run_task"), args(), "Organ.run_task, task: it is missing"},
		{method("Organ", "run_task"), args(map[string]any{}, int64(0)), "Organ.run_task, timeout: "},
		{method("Organ", "run_task"), args(map[string]any{}, "soon"), "Organ.run_task, timeout: "},
		{method("MissTracker", "incr"), args(int64(1)), "MissTracker.incr, item_id: it must be text, and is a int64"},
		{method("MissTracker", "get_top_n"), args(1.5), "MissTracker.get_top_n, n: it must be a whole number, and is a float64"},
		{method("MissTracker", "get_top_n"), args(math.NaN()), "MissTracker.get_top_n, n: it must be a whole number"},
		{method("MissTracker", "get_top_n"), args(uint64(math.MaxUint64)), "MissTracker.get_top_n, n: it must be a whole number"},
		{method("MissTracker", "get_top_n"), args(), "MissTracker.get_top_n, n: it is missing"},
		{method("SharedCache", "get"), args(), "SharedCache.get, key: it is missing"},
		{method("SharedCache", "set"), args("k"), "SharedCache.set, value: it is missing"},
		{method("SharedCache", "set"), args("k", map[any]any{}), "SharedCache.set, value: a map[interface {}]interface {} cannot be stored"},
		{method("MwStore", "incr"), args("a", "1"), "MwStore.incr, delta: it must be a whole number, and is a string"},
		{method("MwStore", "topn"), args(true), "MwStore.topn, n: it must be a whole number, and is a bool"},
	} {
		err := test.call(ctx, test.args)
		if !errors.Is(err, organism.ErrArgument) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("got  %v\nwant %q", err, test.says)
		}
	}
	if stats := agent.SummaryStats(); stats.TasksProcessed != 0 || organ.AgentCount() != 1 || len(cache.GetAll()) != 0 {
		t.Errorf("something ran: %+v, %v, %v", stats, organ.AgentIDs(), cache.GetAll())
	}
}
