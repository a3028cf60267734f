package organism

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// ErrRoles is wrapped by every error about role probabilities.
var ErrRoles = errors.New("organism: unusable role probabilities")

// roleTolerance is how far from 1 a sum may be before it is divided out, as in update_role_probs.
const roleTolerance = 1e-6

// RoleProbs are an agent's probabilities of acting in each of the three roles. They sum to 1 within 1e-6 in every value
// that this package returns.
type RoleProbs struct {
	// E is exploration.
	E float64 `json:"E"`
	// S is specialization.
	S float64 `json:"S"`
	// O is optimization.
	O float64 `json:"O"`
}

// DefaultRoles are those of an agent that was created without an organ type: E 0.9, S 0.1, O 0.
func DefaultRoles() RoleProbs { return RoleProbs{E: 0.9, S: 0.1, O: 0} }

// RolesFor returns the role probabilities of the agents of an organ type. "Cognitive", "Actuator" and "Utility" are
// matched exactly; any other type gets E 0.33, S 0.33, O 0.34.
func RolesFor(organType string) RoleProbs {
	switch organType {
	case "Cognitive":
		return RoleProbs{E: 0.3, S: 0.6, O: 0.1}
	case "Actuator":
		return RoleProbs{E: 0.7, S: 0.2, O: 0.1}
	case "Utility":
		return RoleProbs{E: 0.2, S: 0.3, O: 0.5}
	default:
		return RoleProbs{E: 0.33, S: 0.33, O: 0.34}
	}
}

// Normalized returns the probabilities divided by their sum, or unchanged when the sum is 1 within 1e-6. A value that is
// negative, infinite or not a number, and a sum of 0, are errors that wrap [ErrRoles].
func (p RoleProbs) Normalized() (RoleProbs, error) {
	for _, role := range p.list() {
		switch {
		case math.IsNaN(role.value) || math.IsInf(role.value, 0):
			return RoleProbs{}, fmt.Errorf("%w: %s is %v; give a finite number", ErrRoles, role.name, role.value)
		case role.value < 0:
			return RoleProbs{}, fmt.Errorf("%w: %s is %v; give a number of at least 0", ErrRoles, role.name, role.value)
		}
	}
	largest := max(p.E, p.S, p.O)
	if largest == 0 {
		return RoleProbs{}, fmt.Errorf("%w: E, S and O sum to 0; at least one must be above 0", ErrRoles)
	}
	sum := p.E + p.S + p.O
	if math.Abs(sum-1) <= roleTolerance {
		return p, nil
	}
	if math.IsInf(sum, 0) { // finite values can sum to more than a float holds
		p = RoleProbs{E: p.E / largest, S: p.S / largest, O: p.O / largest}
		sum = p.E + p.S + p.O
	}
	return RoleProbs{E: p.E / sum, S: p.S / sum, O: p.O / sum}, nil
}

// ParseRoleProbs reads role probabilities from a decoded map such as {"E": 0.3, "S": 0.6, "O": 0.1} and normalizes
// them. A role that is left out is 0. Another key, a value that is not a number, and what [RoleProbs.Normalized]
// refuses are errors that wrap [ErrRoles].
func ParseRoleProbs(values map[string]any) (RoleProbs, error) {
	var probs RoleProbs
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		number, ok := toFloat(value)
		if !ok {
			return RoleProbs{}, fmt.Errorf("%w: %.40q is a %T; give a number", ErrRoles, key, value)
		}
		switch key {
		case "E":
			probs.E = number
		case "S":
			probs.S = number
		case "O":
			probs.O = number
		default:
			return RoleProbs{}, fmt.Errorf("%w: there is no role %.40q; the roles are E, S and O", ErrRoles, key)
		}
	}
	return probs.Normalized()
}

// Entropy returns -sum p*log2(p + 1e-9), in bits.
func (p RoleProbs) Entropy() float64 {
	var entropy float64
	for _, role := range p.list() {
		entropy -= role.value * math.Log2(role.value+1e-9)
	}
	return entropy
}

type namedRole struct {
	name  string
	value float64
}

func (p RoleProbs) list() [3]namedRole {
	return [3]namedRole{{"E", p.E}, {"S", p.S}, {"O", p.O}}
}
