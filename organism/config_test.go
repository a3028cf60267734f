package organism_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func TestDefaultConfigIsTheSeedsOrganism(t *testing.T) {
	organs := organism.DefaultConfig().Organs
	want := []struct{ id, organType, agent string }{
		{"cognitive_organ_1", "Cognitive", "cognitive_organ_1_agent_0"},
		{"actuator_organ_1", "Actuator", "actuator_organ_1_agent_0"},
		{"utility_organ_1", "Utility", "utility_organ_1_agent_0"},
	}
	if len(organs) != len(want) {
		t.Fatalf("got %d organs, want %d", len(organs), len(want))
	}
	for i, organ := range organs {
		if organ.ID != want[i].id || organ.Type != want[i].organType || organ.AgentID(0) != want[i].agent {
			t.Errorf("organ %d is %+v with agent %s, want %+v", i, organ, organ.AgentID(0), want[i])
		}
		if organ.AgentCount != 1 || organ.Description == "" || len(organ.TaskTypes) != 0 {
			t.Errorf("organ %d is %+v, want one agent, a description and no task types", i, organ)
		}
	}
}

func TestParseConfigReadsEveryField(t *testing.T) {
	const text = "\ufeff" + `---
seedcore:
  weights: {w_pair: 1.0, own: [1, {a: b}]}
  organism:
    organ_types:
      - {id: a.b-C_9, type: Swarm, agent_count: 0}
      - id: "7"
        task_types: [general, "two words"]
        agent_count: 0x10
        type: 'Cognitive'
        description: |
          two
          lines
...
`
	got, err := organism.ParseConfig("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := organism.Config{Organs: []organism.OrganConfig{
		{ID: "a.b-C_9", Type: "Swarm"},
		{
			ID: "7", Type: "Cognitive", Description: "two\nlines\n", AgentCount: 16,
			TaskTypes: []string{"general", "two words"},
		},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoadConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "organism.yaml")
	if err := os.WriteFile(path, organism.DefaultConfigYAML(), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := organism.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(config, organism.DefaultConfig()) {
		t.Errorf("got %+v, want the default", config)
	}
}

func TestLoadConfigOfAnUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	long := filepath.Join(dir, "long.yaml")
	if err := os.WriteFile(long, make([]byte, organism.MaxConfigSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path  string
		cause error
	}{
		"missing":   {filepath.Join(dir, "none.yaml"), fs.ErrNotExist},
		"directory": {dir, nil},
		"too long":  {long, nil},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := organism.LoadConfig(test.path)
			problem := theProblem(t, err)
			if problem.File != test.path || len(config.Organs) != 0 {
				t.Errorf("got %+v and %d organs, want the file %s and none", problem, len(config.Organs), test.path)
			}
			if test.cause != nil && !errors.Is(err, test.cause) {
				t.Errorf("%v does not wrap %v", err, test.cause)
			}
			if strings.Count(err.Error(), test.path) != 1 {
				t.Errorf("%q names the file not just once", err)
			}
		})
	}
}

func theProblem(t *testing.T, err error) *organism.ConfigError {
	t.Helper()
	all := problems(t, err)
	if len(all) != 1 {
		t.Fatalf("got %d problems, want 1: %v", len(all), err)
	}
	return all[0]
}

func problems(t *testing.T, err error) []*organism.ConfigError {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	if one, ok := err.(*organism.ConfigError); ok { //nolint:errorlint // it is about this very error
		return []*organism.ConfigError{one}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%T is neither a ConfigError nor joined: %v", err, err)
	}
	var all []*organism.ConfigError
	for _, err := range joined.Unwrap() {
		problem, ok := errors.AsType[*organism.ConfigError](err)
		if !ok {
			t.Fatalf("%T is no ConfigError: %v", err, err)
		}
		all = append(all, problem)
	}
	return all
}

// at is where a problem is, as "line key"; the problem's text must contain says.
type at struct {
	where, says string
}

const head = "seedcore:\n  organism:\n    organ_types:\n"

func organ(id string) string {
	return "      - id: " + id + "\n        type: T\n        agent_count: 1\n"
}

func TestParseConfigNamesLineAndKey(t *testing.T) {
	const types = "seedcore.organism.organ_types"
	for name, test := range map[string]struct {
		text string
		want []at
	}{
		"empty":         {"", []at{{"0 ", "the file is empty"}}},
		"only comments": {"# nothing\n---\n", []at{{"0 ", "empty"}}},
		"null":          {"~\n", []at{{"1 ", "must be a mapping and is empty"}}},
		"a list":        {"- a\n", []at{{"1 ", "must be a mapping and is a list"}}},
		"not UTF-8":     {"a: b\nc: \xff\n", []at{{"2 ", "not UTF-8"}}},
		"a tab":         {"seedcore:\n\torganism:\n", []at{{"2 ", "this is not YAML"}}},
		"unclosed":      {head + "      - [1, 2\n", []at{{"4 ", "this is not YAML"}}},
		"indentation":   {"a:\n  b: 1\n c: 2\n", []at{{"3 ", "this is not YAML"}}},
		"two documents": {"seedcore: 1\n---\nseedcore: 2\n", []at{{"3 ", "more than one YAML document"}}},
		"deep brackets": {"seedcore: " + strings.Repeat("[", 1000), []at{{"1 ", "nested deeper"}}},
		"deep dashes":   {"seedcore:\n " + strings.Repeat("- ", 1000) + "1", []at{{"2 ", "nested deeper"}}},

		"no seedcore":      {"# x\nother: 1\n", []at{{"2 other", "unknown key; the keys here are seedcore"}, {"2 seedcore", "missing"}}},
		"seedcore null":    {"seedcore:\n", []at{{"1 seedcore", "must be a mapping and is empty"}}},
		"no organism":      {"\nseedcore:\n  grpc_port: 1\n", []at{{"3 seedcore.organism", "missing"}}},
		"no organ_types":   {"seedcore:\n  organism: {}\n", []at{{"2 seedcore.organism.organ_types", "missing"}}},
		"organism scalar":  {"seedcore:\n  organism: 5\n", []at{{"2 seedcore.organism", "must be a mapping and is the number 5"}}},
		"no organs":        {"seedcore:\n  organism:\n    organ_types: []\n", []at{{"3 " + types, "the list is empty"}}},
		"null organs":      {"seedcore:\n  organism:\n    organ_types:\n", []at{{"3 " + types, "must be a list of organs and is empty"}}},
		"organs a mapping": {"seedcore:\n  organism:\n    organ_types:\n      id: x\n", []at{{"4 " + types, "must be a list of organs and is a mapping"}}},
		"organ a string":   {head + "      - x\n", []at{{"4 " + types + "[0]", `must be a mapping and is the string "x"`}}},
		"too many organs": {
			head + strings.Repeat("      - {}\n", organism.MaxOrgans+1),
			[]at{{"4 " + types, "there are 1001 organs"}},
		},

		"unknown keys": {
			"seedcore:\n  organsm: 1\n  organism:\n    organ_type: 1\n    organ_types:\n" + organ("a") + "        agents: 1\n",
			[]at{
				{"2 seedcore.organsm", "unknown key"},
				{"4 seedcore.organism.organ_type", "unknown key"},
				{"9 " + types + "[0].agents", "unknown key; the keys here are id, type"},
			},
		},
		"duplicate keys": {
			"seedcore:\n  organism:\n    organ_types:\n" + organ("a") + "        type: U\n  weights:\n    a: 1\n    b: [{c: 1, c: 2}]\n    a: 2\n  organism: 1\n",
			[]at{
				{"12 seedcore.organism", "there twice; the first is in line 2"},
				{"10 seedcore.weights.b.c", "there twice"},
				{"11 seedcore.weights.a", "the first is in line 9"},
				{"7 " + types + "[0].type", "the first is in line 5"},
			},
		},
		"odd keys": {
			"seedcore:\n  \"a\\nb\": 1\n  1: 2\n  organism:\n    organ_types:\n" + organ("a"),
			[]at{{`2 seedcore."a\nb"`, "unknown key"}, {"3 seedcore", "not plain text"}},
		},
		"merge key": {
			"seedcore:\n  organism:\n    organ_types:\n      - &x\n        id: a\n        type: T\n        agent_count: 1\n",
			[]at{{"4 " + types + "[0]", "is an anchor; write the value out"}},
		},
		"alias": {"seedcore:\n  weights: &w {a: 1}\n  organism: *w\n", []at{{"3 seedcore.organism", "is an alias; write the value out"}}},
		"tag":   {head + "      - id: !!str 5\n        type: T\n        agent_count: 1\n", []at{{"4 " + types + "[0].id", "with a tag"}}},

		"missing in an organ": {
			head + "      - description: x\n",
			[]at{{"4 " + types + "[0].id", "missing"}, {"4 " + types + "[0].type", "missing"}, {"4 " + types + "[0].agent_count", "missing"}},
		},
		"wrong types": {
			head + "      - id: 5\n        type: [a]\n        description: true\n        agent_count: '1'\n        task_types: general\n",
			[]at{
				{"4 " + types + "[0].id", "must be a string and is the number 5; put it in quotes"},
				{"5 " + types + "[0].type", "must be a string and is a list"},
				{"6 " + types + "[0].description", "is the boolean true; put it in quotes"},
				{"7 " + types + "[0].agent_count", `must be a whole number and is the string "1"`},
				{"8 " + types + "[0].task_types", `must be a list of strings and is the string "general"`},
			},
		},
		"nulls": {
			head + "      - id:\n        type: ~\n        description:\n        agent_count: null\n        task_types:\n",
			[]at{
				{"4 " + types + "[0].id", "is empty"},
				{"5 " + types + "[0].type", "is empty"},
				{"6 " + types + "[0].description", "is empty"},
				{"7 " + types + "[0].agent_count", "is empty"},
				{"8 " + types + "[0].task_types", "is empty"},
			},
		},
		"empty texts": {
			head + "      - id: ''\n        type: ' '\n        agent_count: 1\n        task_types: ['', 1]\n",
			[]at{
				{"4 " + types + "[0].id", "it is empty"},
				{"5 " + types + "[0].type", "it is empty"},
				{"7 " + types + "[0].task_types[0]", "it is empty"},
				{"7 " + types + "[0].task_types[1]", "must be a string"},
			},
		},
		"task type twice": {
			head + organ("a") + "        task_types:\n          - x\n          - x\n",
			[]at{{"9 " + types + "[0].task_types[1]", `"x" is there twice`}},
		},

		"negative count":   {head + "      - {id: a, type: T, agent_count: -1}\n", []at{{"4 " + types + "[0].agent_count", "the number -1 is out of bounds; it must be 0 to 10000"}}},
		"absurd count":     {head + "      - {id: a, type: T, agent_count: 10001}\n", []at{{"4 " + types + "[0].agent_count", "out of bounds"}}},
		"beyond int64":     {head + "      - {id: a, type: T, agent_count: 18446744073709551615}\n", []at{{"4 " + types + "[0].agent_count", "out of bounds"}}},
		"beyond 64 bits":   {head + "      - {id: a, type: T, agent_count: 99999999999999999999}\n", []at{{"4 " + types + "[0].agent_count", "the number 99999999999999999999 is out of bounds"}}},
		"quoted, too":      {head + "      - {id: a, type: T, agent_count: '99999999999999999999'}\n", []at{{"4 " + types + "[0].agent_count", "is the string"}}},
		"a fraction":       {head + "      - {id: a, type: T, agent_count: 1.5}\n", []at{{"4 " + types + "[0].agent_count", "must be a whole number"}}},
		"not a number":     {head + "      - {id: a, type: T, agent_count: .nan}\n", []at{{"4 " + types + "[0].agent_count", "must be a whole number"}}},
		"an integer float": {head + "      - {id: a, type: T, agent_count: 1.0}\n", []at{{"4 " + types + "[0].agent_count", "must be a whole number"}}},

		"duplicate id": {
			head + organ("a") + organ("b") + organ("a"),
			[]at{{"10 " + types + "[2].id", `"a" is used already in line 4`}},
		},
		"an agent's id": {
			head + organ("a_agent_7") + organ("a"),
			[]at{{"4 " + types + "[0].id", `is that of an agent of organ "a"`}},
		},
		"reserved ids": {
			head + organ("random") + organ("mw") + organ("miss_tracker") + organ("shared_cache"),
			[]at{
				{"4 " + types + "[0].id", "means any organ"},
				{"7 " + types + "[1].id", "singleton"},
				{"10 " + types + "[2].id", "singleton"},
				{"13 " + types + "[3].id", "singleton"},
			},
		},
		"unusable ids": {
			head + organ("'a b'") + organ("a/b") + organ("'-a'") + organ("..") + organ("\u00e4") + organ(strings.Repeat("x", 129)),
			[]at{
				{"4 " + types + "[0].id", "not a letter"},
				{"7 " + types + "[1].id", "not a letter"},
				{"10 " + types + "[2].id", "does not begin with"},
				{"13 " + types + "[3].id", "does not begin with"},
				{"16 " + types + "[4].id", "not a letter"},
				{"19 " + types + "[5].id", "129 bytes, at most 128"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := organism.ParseConfig("conf/x.yaml", []byte(test.text))
			if len(config.Organs) != 0 {
				t.Errorf("there are organs besides the error: %+v", config.Organs)
			}
			got := problems(t, err)
			for i, problem := range got {
				where := fmt.Sprintf("%d %s", problem.Line, problem.Key)
				if i >= len(test.want) || where != test.want[i].where || !strings.Contains(problem.Problem, test.want[i].says) {
					t.Errorf("problem %d is %q: %q", i, where, problem.Problem)
				}
				if problem.File != "conf/x.yaml" || !strings.HasPrefix(problem.Error(), "conf/x.yaml:") || strings.Contains(problem.Error(), "\n") {
					t.Errorf("bad text: %q", problem.Error())
				}
			}
			if len(got) < len(test.want) {
				t.Errorf("got %d problems, want %d: %v", len(got), len(test.want), test.want)
			}
		})
	}
}

func TestParseConfigBoundsTheNumberOfProblems(t *testing.T) {
	_, err := organism.ParseConfig("x.yaml", []byte(head+strings.Repeat("      - {}\n", 100)))
	if got := problems(t, err); len(got) != 51 || !strings.Contains(got[50].Problem, "more problems") {
		t.Errorf("got %d problems, the last is %v", len(got), got[len(got)-1])
	}
}

func TestConfigErrorText(t *testing.T) {
	err := &organism.ConfigError{File: "f.yaml", Line: 3, Key: "seedcore.organism", Problem: "the key is missing"}
	if got, want := err.Error(), "f.yaml:3: seedcore.organism: the key is missing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzParseConfig: any text ends in a configuration that keeps its promises or in errors of the promised kind.
func FuzzParseConfig(f *testing.F) {
	f.Add(organism.DefaultConfigYAML())
	for _, text := range []string{
		head + organ("a") + organ("b_agent_1") + "        task_types: [x, y]\n",
		"seedcore:\n  weights: &w {a: 1}\n  organism: *w\n", "? a\n: b\n", "<<: *x\n", "a: |\n x\n", "{[: ", "- - - -", "!x &y z: {}", "",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := organism.ParseConfig("fuzz.yaml", data)
		if err != nil {
			for _, problem := range problems(t, err) {
				if problem.Line < 0 || problem.Line > strings.Count(string(data), "\n")+strings.Count(string(data), "\r")+1 || problem.Problem == "" {
					t.Errorf("bad problem: %+v", problem)
				}
			}
			if len(config.Organs) != 0 {
				t.Errorf("organs besides an error")
			}
			return
		}
		if len(config.Organs) == 0 || len(config.Organs) > organism.MaxOrgans {
			t.Fatalf("%d organs and no error", len(config.Organs))
		}
		seen := map[string]bool{}
		for _, organ := range config.Organs {
			if organism.CheckOrganID(organ.ID) != nil || seen[organ.ID] || organ.Type == "" ||
				organ.AgentCount < 0 || organ.AgentCount > organism.MaxAgentsPerOrgan {
				t.Errorf("bad organ %+v", organ)
			}
			seen[organ.ID] = true
			if organ.AgentCount > 0 && organism.CheckName(organ.AgentID(organ.AgentCount-1)) != nil {
				t.Errorf("bad agent id %s", organ.AgentID(organ.AgentCount-1))
			}
		}
	})
}
