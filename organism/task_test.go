package organism_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func TestTaskType(t *testing.T) {
	for _, test := range []struct {
		task organism.Task
		want string
		bad  bool
	}{
		{task: nil},
		{task: organism.Task{}},
		{task: organism.Task{"type": "a", "task_type": "b"}, want: "a"},
		{task: organism.Task{"type": "", "task_type": "b"}, want: "b"},
		{task: organism.Task{"type": nil, "task_type": "b"}, want: "b"},
		{task: organism.Task{"type": 1.0, "task_type": "b"}, bad: true},
		{task: organism.Task{"task_type": []any{}}, bad: true},
	} {
		got, err := test.task.Type()
		if got != test.want || errors.Is(err, organism.ErrTask) != test.bad {
			t.Errorf("%v: got %q, %v", test.task, got, err)
		}
	}
}

// What is wrong is shown as it came, and cut when it is long.
func TestTaskErrorsShowTheValue(t *testing.T) {
	for want, value := range map[string]any{
		"type is 5;":      int64(5),
		"type is 7;":      json.Number("7"),
		"type is 1.5;":    1.5,
		"type is [1 a];":  []any{1, "a"},
		"type is [aaaaaa": []any{strings.Repeat("a", 5000)},
	} {
		_, err := organism.Task{"type": value}.Type()
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 120 {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	if _, err := (organism.Task{"complexity": true}).Complexity(); err == nil || !strings.Contains(err.Error(), "complexity is true;") {
		t.Error(err)
	}
}

func TestTaskNumbers(t *testing.T) {
	for _, test := range []struct {
		value      any
		capability float64
		complexity float64
		bad        bool
	}{
		{value: nil, capability: 0, complexity: 0.5},
		{value: 0.25, capability: 0.25, complexity: 0.25},
		{value: int64(2), capability: 2, complexity: 2},
		{value: json.Number("2.5"), capability: 2.5, complexity: 2.5},
		{value: "0.5", bad: true},
		{value: math.NaN(), bad: true},
		{value: math.Inf(1), bad: true},
		{value: true, bad: true},
	} {
		task := organism.Task{"required_capability": test.value, "complexity": test.value}
		capability, err1 := task.RequiredCapability()
		complexity, err2 := task.Complexity()
		if capability != test.capability || complexity != test.complexity ||
			errors.Is(err1, organism.ErrTask) != test.bad || errors.Is(err2, organism.ErrTask) != test.bad {
			t.Errorf("%v: got %v, %v and %v, %v", test.value, capability, err1, complexity, err2)
		}
	}
	if _, err := (organism.Task{"complexity": -1.0}).Complexity(); !errors.Is(err, organism.ErrTask) {
		t.Errorf("a negative complexity: %v", err)
	}
}

// Numbers of a task decoded with UseNumber reach the agent as what they are: an integer keeps all its digits.
func TestPlainTaskKeepsIntegersWhole(t *testing.T) {
	decoder := json.NewDecoder(strings.NewReader(`{"id":9007199254740993,"list":[18446744073709551615,{"low":-9223372036854775808}],"f":1.5,"e":1e3,"text":"1","big":1e400}`))
	decoder.UseNumber()
	var task organism.Task
	if err := decoder.Decode(&task); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"id": int64(9007199254740993), "list": []any{uint64(18446744073709551615), map[string]any{"low": int64(-9223372036854775808)}},
		"f": 1.5, "e": 1000.0, "text": "1", "big": "1e400",
	}
	if got := organism.Plain(task); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v", got)
	}
	if task["id"] != json.Number("9007199254740993") {
		t.Error("the caller's task was changed")
	}
	// And through the encoding of a direct call and an actor's handler, there and back.
	if got := travelled(t, map[string]any{"id": want["id"], "list": want["list"]}, nil); !reflect.DeepEqual(got, map[string]any{"id": want["id"], "list": want["list"]}) {
		t.Errorf("on the way became %#v", got)
	}
}

func TestOutcomeValidate(t *testing.T) {
	for _, o := range []organism.Outcome{
		{}, {Success: true, Quality: 1, MemHits: 5, MemWrites: 9, MemWriteHits: 9, Output: "x"},
	} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for field, o := range map[string]organism.Outcome{
		"Quality is 1.1":    {Quality: 1.1},
		"Quality is -0.1":   {Quality: -0.1},
		"Quality is NaN":    {Quality: math.NaN()},
		"MemHits is 6":      {MemHits: 6},
		"MemHits is -1":     {MemHits: -1},
		"MemWrites is -1":   {MemWrites: -1},
		"MemWriteHits is 2": {MemWrites: 1, MemWriteHits: 2},
	} {
		if err := o.Validate(); !errors.Is(err, organism.ErrOutcome) || !strings.Contains(err.Error(), field) {
			t.Errorf("%+v: %v, want one that says %q", o, err, field)
		}
	}
}

func TestSimulatedDrawsWithinTheBounds(t *testing.T) {
	simulated := organism.Simulated(rand.New(rand.NewPCG(7, 8)))
	const n = 4000
	successes, writeHits, hits := 0, 0, map[int]int{}
	lowest, highest := 1.0, 0.0
	for range n {
		o, err := simulated(t.Context(), organism.Task{"type": "anything"})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Validate(); err != nil || o.Quality < 0.5 || o.MemWrites != 1 || o.Output != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		if o.Success {
			successes++
		}
		writeHits += o.MemWriteHits
		hits[o.MemHits]++
		lowest, highest = min(lowest, o.Quality), max(highest, o.Quality)
	}
	// The source is seeded: these are facts about this sequence, wide enough for any fair one.
	if !near(float64(successes)/n, 0.5, 0.05) || !near(float64(writeHits)/n, 0.3, 0.05) || lowest > 0.51 || highest < 0.99 {
		t.Errorf("%d successes, %d found again, quality %v to %v", successes, writeHits, lowest, highest)
	}
	for value := range 6 {
		if !near(float64(hits[value])/n, 1.0/6, 0.03) {
			t.Errorf("%d memory hits came %d times of %d", value, hits[value], n)
		}
	}
}

func TestSimulatedStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := organism.Simulated(rand.New(rand.NewPCG(1, 1)))(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func handler(context.Context, organism.Task) (organism.Outcome, error) {
	return organism.Outcome{}, nil
}

func init() { organism.RegisterHandler("task_test.once", handler) }

func TestRegisterHandlerRefusesMistakes(t *testing.T) {
	if types := organism.HandledTypes(); !slices.Contains(types, "task_test.once") || !slices.IsSorted(types) {
		t.Errorf("the types are %v", types)
	}
	for name, register := range map[string]func(){
		"twice":   func() { organism.RegisterHandler("task_test.once", handler) },
		"nil":     func() { organism.RegisterHandler("task_test.nil", nil) },
		"no type": func() { organism.RegisterHandler(" ", handler) },
	} {
		if !panics(register) {
			t.Errorf("%s: it did not panic", name)
		}
	}
	if slices.Contains(organism.HandledTypes(), "task_test.nil") {
		t.Error("a nil handler was registered")
	}
}

func panics(f func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	f()
	return false
}
