package server

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// taskRequest is the body of every execute route. Unknown keys are ignored.
type taskRequest struct {
	TaskData organism.Task `json:"task_data"`
}

// execution is the answer of a task that ran.
type execution struct {
	Success bool       `json:"success"`
	Result  taskResult `json:"result"`
	OrganID string     `json:"organ_id,omitempty"`
}

func (s *Server) execute(w http.ResponseWriter, r *http.Request) {
	var req taskRequest
	if !s.decode(w, r, &req) {
		return
	}
	organID := r.PathValue("organ_id")
	e, err := s.organism.Execute(r.Context(), organID, req.TaskData)
	s.replyOrgan(w, organID, e, err)
}

func (s *Server) executeRandom(w http.ResponseWriter, r *http.Request) {
	var req taskRequest
	if !s.decode(w, r, &req) {
		return
	}
	e, err := s.organism.ExecuteRandom(r.Context(), req.TaskData)
	s.replyOrgan(w, e.OrganID, e, err)
}

func (s *Server) replyOrgan(w http.ResponseWriter, organID string, e organism.Execution, err error) {
	if err != nil {
		s.fail(w, err, failure{Error: text(err, organID), OrganID: organID, Sent: ray.SentOf(err).String()})
		return
	}
	s.reply(w, http.StatusOK, execution{Success: true, Result: e.Result, OrganID: e.OrganID})
}

func (s *Server) executeOnAgent(w http.ResponseWriter, r *http.Request) {
	var req taskRequest
	if !s.decode(w, r, &req) {
		return
	}
	e, err := s.organism.ExecuteOnAgent(r.Context(), r.PathValue("agent_id"), req.TaskData)
	if err != nil {
		s.fail(w, err, failure{Message: text(err, ""), Sent: ray.SentOf(err).String()})
		return
	}
	s.reply(w, http.StatusOK, execution{Success: true, Result: e.Result})
}

func (s *Server) agents(w http.ResponseWriter, r *http.Request) {
	agents, err := s.organism.Agents(r.Context())
	if err != nil {
		s.fail(w, err, failure{Message: text(err, "")})
		return
	}
	ids := make([]string, len(agents))
	for i, a := range agents {
		ids[i] = a.Name
	}
	s.reply(w, http.StatusOK, struct {
		Success bool     `json:"success"`
		Agents  []string `json:"agents"`
		Count   int      `json:"count"`
	}{true, ids, len(ids)})
}

func (s *Server) createAgent(w http.ResponseWriter, r *http.Request) {
	var req struct {
		AgentID   string         `json:"agent_id"`
		RoleProbs map[string]any `json:"role_probs"`
	}
	if !s.decode(w, r, &req) {
		return
	}
	if req.AgentID == "" {
		s.fail(w, organism.ErrArgument, failure{Message: "agent_id is required"})
		return
	}
	var roles organism.RoleProbs
	if req.RoleProbs != nil {
		var err error
		if roles, err = organism.ParseRoleProbs(req.RoleProbs); err != nil {
			s.fail(w, organism.ErrArgument, failure{Message: "role_probs: " + err.Error()})
			return
		}
	}
	created, err := s.organism.CreateAgent(r.Context(), req.AgentID, roles)
	if err != nil {
		s.fail(w, err, failure{Message: text(err, "")})
		return
	}
	message := "Agent " + req.AgentID + " created"
	if !created {
		message = "Agent " + req.AgentID + " already runs and was adopted"
	}
	s.reply(w, http.StatusOK, struct {
		Success bool   `json:"success"`
		AgentID string `json:"agent_id"`
		Message string `json:"message"`
	}{true, req.AgentID, message})
}

// taskResult is what an agent returned. Its JSON has the keys of a task's result first, in the order that people know
// them, and whatever else the agent added behind.
type taskResult map[string]any

var resultKeys = []string{"agent_id", "task_processed", "success", "quality", "capability_score", "mem_util", "pid"}

// MarshalJSON implements json.Marshaler.
func (r taskResult) MarshalJSON() ([]byte, error) {
	keys := slices.DeleteFunc(slices.Clone(resultKeys), func(k string) bool {
		_, ok := r[k]
		return !ok
	})
	for _, k := range slices.Sorted(maps.Keys(r)) {
		if !slices.Contains(resultKeys, k) {
			keys = append(keys, k)
		}
	}
	var b bytes.Buffer
	for i, k := range keys {
		b.WriteByte("{,"[min(i, 1)])
		key, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(r[k])
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	if len(keys) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
