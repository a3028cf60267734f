package organism_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func near(got, want, tolerance float64) bool { return math.Abs(got-want) <= tolerance }

func TestRolesForOrganType(t *testing.T) {
	for organType, want := range map[string]organism.RoleProbs{
		"Cognitive": {E: 0.3, S: 0.6, O: 0.1},
		"Actuator":  {E: 0.7, S: 0.2, O: 0.1},
		"Utility":   {E: 0.2, S: 0.3, O: 0.5},
		"cognitive": {E: 0.33, S: 0.33, O: 0.34},
		"":          {E: 0.33, S: 0.33, O: 0.34},
	} {
		if got := organism.RolesFor(organType); got != want {
			t.Errorf("%q: got %v, want %v", organType, got, want)
		}
	}
}

func TestNormalized(t *testing.T) {
	for name, test := range map[string]struct {
		in, want organism.RoleProbs
		says     string
	}{
		"a sum of 1 stays":     {in: organism.RoleProbs{E: 0.3, S: 0.6, O: 0.1}, want: organism.RoleProbs{E: 0.3, S: 0.6, O: 0.1}},
		"within the tolerance": {in: organism.RoleProbs{E: 1 + 9e-7}, want: organism.RoleProbs{E: 1 + 9e-7}},
		"divided by the sum":   {in: organism.RoleProbs{E: 1, S: 2, O: 5}, want: organism.RoleProbs{E: 0.125, S: 0.25, O: 0.625}},
		"one role":             {in: organism.RoleProbs{O: 7}, want: organism.RoleProbs{O: 1}},
		"the largest":          {in: organism.RoleProbs{E: math.MaxFloat64, S: math.MaxFloat64}, want: organism.RoleProbs{E: 0.5, S: 0.5}},
		"the smallest":         {in: organism.RoleProbs{E: math.SmallestNonzeroFloat64}, want: organism.RoleProbs{E: 1}},
		"sum 0":                {says: "sum to 0"},
		"negative":             {in: organism.RoleProbs{E: 2, S: -1}, says: "S is -1"},
		"not a number":         {in: organism.RoleProbs{E: 1, O: math.NaN()}, says: "O is NaN"},
		"infinite":             {in: organism.RoleProbs{E: math.Inf(1)}, says: "E is +Inf"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.in.Normalized()
			if test.says != "" {
				if !errors.Is(err, organism.ErrRoles) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got the error %v, want one that says %q", err, test.says)
				}
				return
			}
			if err != nil || got != test.want {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

func TestNormalizedKeepsProportions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		scale := math.Pow(10, 20*rng.Float64()-10)
		in := organism.RoleProbs{E: scale * rng.Float64(), S: scale * rng.Float64(), O: scale * rng.Float64()}
		got, err := in.Normalized()
		if err != nil {
			t.Fatal(err)
		}
		if !near(got.E+got.S+got.O, 1, 1e-6) || !near(got.E*in.S, got.S*in.E, 1e-9*scale) || got.E < 0 || got.S < 0 || got.O < 0 {
			t.Fatalf("%v became %v", in, got)
		}
		if entropy := got.Entropy(); entropy < -1e-8 || entropy > math.Log2(3)+1e-8 {
			t.Fatalf("the entropy of %v is %v", got, entropy)
		}
	}
}

func TestParseRoleProbs(t *testing.T) {
	got, err := organism.ParseRoleProbs(map[string]any{"E": int64(1), "O": 3.0})
	if want := (organism.RoleProbs{E: 0.25, O: 0.75}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for says, values := range map[string]map[string]any{
		`no role "X"`:   {"E": 1.0, "X": 1.0},
		"is a string":   {"E": "1"},
		"is a <nil>":    {"E": nil},
		"sum to 0":      {},
		"S is -0.5":     {"E": 1.5, "S": -0.5},
		"E is -Inf":     {"E": math.Inf(-1)},
		`"A" is a bool`: {"A": true, "B": true},
	} {
		if _, err := organism.ParseRoleProbs(values); !errors.Is(err, organism.ErrRoles) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: got the error %v, want one that says %q", values, err, says)
		}
	}
}
