package organism

import (
	"errors"
	"math"
)

// ErrProxyNotFinite is the [Selection.Err] of an agent whose energy proxy has a value that is not a finite number.
var ErrProxyNotFinite = errors.New("organism: the energy proxy is not finite")

// Weights of the selection score. MemWeight and StateWeight are applied to penalties that are scaled themselves, so
// their effect is 0.09 and 0.0001.
const (
	pairWeight    = 1.0
	exploreWeight = 0.2
	memWeight     = 0.3
	stateWeight   = 0.01

	memPenalty   = 0.3
	statePenalty = 0.01
)

// EnergyProxy is what an agent tells about itself so that one of several can be chosen.
type EnergyProxy struct {
	// Capability is the agent's c, 0 to 1.
	Capability float64 `json:"capability"`
	// EntropyContribution is the entropy of its role probabilities, in bits.
	EntropyContribution float64 `json:"entropy_contribution"`
	// MemUtil is the moving average of memory hits per task, 0 to 5. It is not a ratio.
	MemUtil float64 `json:"mem_util"`
	// StateNorm is the Euclidean norm of its state vector h.
	StateNorm float64 `json:"state_norm"`
}

// Score returns the predicted change of energy when this agent takes a task; lower is better:
//
//	(1 - capability) - 0.2*entropy + 0.3*(0.3*mem_util) + 0.01*(0.01*state_norm)
//
// It is not a finite number when the proxy is not.
func (p EnergyProxy) Score() float64 {
	return pairWeight*(1-p.Capability) - exploreWeight*p.EntropyContribution +
		memWeight*(memPenalty*p.MemUtil) + stateWeight*(statePenalty*p.StateNorm)
}

// Candidate is an agent that [SelectBest] may choose.
type Candidate struct {
	// AgentID is reported back when this one is chosen.
	AgentID string
	// Proxy is what the agent answered; not looked at when Err is set.
	Proxy EnergyProxy
	// Err is why there is no proxy; nil when there is one.
	Err error
	// Unavailable takes the agent out of the choice.
	Unavailable bool
}

// Selection is the outcome of [SelectBest].
type Selection struct {
	// AgentID is the chosen agent.
	AgentID string
	// Score is its predicted change of energy; +Inf when its proxy was not to be had.
	Score float64
	// Err is why the chosen agent has no score: the candidate's Err, or ErrProxyNotFinite. Nil when it has one.
	Err error
}

// SelectBest chooses the candidate with the smallest score, the first of those in the order given. It leaves out
// candidates that are unavailable and, when requiredCapability is above 0, those whose capability is below it or
// unknown. A candidate without a usable proxy is chosen only when there is none with one; Selection.Err then says so.
// The second result is false, and the score +Inf, when no candidate is left.
//
// What kind of task it is plays no part. SelectBest reads its arguments only and may be called concurrently.
func SelectBest(candidates []Candidate, requiredCapability float64) (Selection, bool) {
	best, found := Selection{Score: math.Inf(1)}, false
	for _, candidate := range candidates {
		if candidate.Unavailable {
			continue
		}
		score, err := candidate.Proxy.Score(), candidate.Err
		if err == nil && (math.IsNaN(score) || math.IsInf(score, 0)) {
			err = ErrProxyNotFinite
		}
		if err != nil {
			score = math.Inf(1)
		}
		if requiredCapability > 0 && (err != nil || candidate.Proxy.Capability < requiredCapability) {
			continue
		}
		if !found || score < best.Score {
			best, found = Selection{AgentID: candidate.AgentID, Score: score, Err: err}, true
		}
	}
	return best, found
}
