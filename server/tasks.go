package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// execution is the answer of a task that ran.
type execution struct {
	Success bool       `json:"success"`
	Result  taskResult `json:"result"`
	OrganID string     `json:"organ_id,omitempty"`
}

// task reads the task of a request. It answers by itself, and returns false, when there is none that an agent can run.
func (s *Server) task(w http.ResponseWriter, r *http.Request, refuse func(err error, sent string)) (task organism.Task, ok bool) {
	if !s.body(w, r, func(o *object) { task = o.mapping("task_data") }) {
		return nil, false
	}
	// What every agent refuses is refused here, before it is sent.
	_, typeErr := task.Type()
	_, complexityErr := task.Complexity()
	if err := errors.Join(typeErr, complexityErr); err != nil {
		refuse(err, ray.SentNo.String())
		return nil, false
	}
	return task, true
}

func (s *Server) execute(w http.ResponseWriter, r *http.Request) {
	organID := r.PathValue("organ_id")
	s.executeInOrgan(w, r, organID, func(task organism.Task) (organism.Execution, error) {
		return s.organism.Execute(r.Context(), organID, task)
	})
}

func (s *Server) executeRandom(w http.ResponseWriter, r *http.Request) {
	s.executeInOrgan(w, r, "", func(task organism.Task) (organism.Execution, error) {
		return s.organism.ExecuteRandom(r.Context(), task)
	})
}

func (s *Server) executeInOrgan(w http.ResponseWriter, r *http.Request, organID string, run func(organism.Task) (organism.Execution, error)) {
	refuse := func(err error, sent string) {
		s.fail(w, r, err, failure{Error: text(err, organID), OrganID: organID, Sent: sent})
	}
	task, ok := s.task(w, r, refuse)
	if !ok {
		return
	}
	e, err := run(task)
	if organID == "" {
		organID = e.OrganID // the one that was chosen
	}
	if err != nil {
		refuse(err, sent(err))
		return
	}
	s.replyResult(w, execution{Success: true, Result: e.Result, OrganID: e.OrganID}, refuse)
}

func (s *Server) executeOnAgent(w http.ResponseWriter, r *http.Request) {
	refuse := func(err error, sent string) { s.fail(w, r, err, failure{Message: text(err, ""), Sent: sent}) }
	task, ok := s.task(w, r, refuse)
	if !ok {
		return
	}
	e, err := s.organism.ExecuteOnAgent(r.Context(), r.PathValue("agent_id"), task)
	if err != nil {
		refuse(err, sent(err))
		return
	}
	s.replyResult(w, execution{Success: true, Result: e.Result}, refuse)
}

// replyResult answers with what a task returned. JSON cannot say everything that an agent can return.
func (s *Server) replyResult(w http.ResponseWriter, e execution, refuse func(err error, sent string)) {
	if err := e.Result.check(); err != nil {
		err := &ray.CallError{Target: "result", Sent: ray.SentYes, Err: err}
		refuse(err, sent(err))
		return
	}
	s.reply(w, http.StatusOK, e)
}

func (s *Server) agents(w http.ResponseWriter, r *http.Request) {
	agents, err := s.organism.Agents(r.Context())
	if err != nil {
		s.fail(w, r, err, failure{Message: text(err, "")})
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
	var id string
	var probs map[string]any
	if !s.body(w, r, func(o *object) {
		id = o.text("agent_id")
		if o.fields["role_probs"] != nil {
			probs = o.mapping("role_probs")
		}
	}) {
		return
	}
	if id == "" {
		s.fail(w, r, organism.ErrArgument, failure{Message: "agent_id is required"})
		return
	}
	var roles organism.RoleProbs
	if probs != nil {
		var err error
		if roles, err = organism.ParseRoleProbs(probs); err != nil {
			s.fail(w, r, organism.ErrArgument, failure{Message: "role_probs: " + err.Error()})
			return
		}
	}
	created, err := s.organism.CreateAgent(r.Context(), id, roles)
	if err != nil {
		s.fail(w, r, err, failure{Message: text(err, "")})
		return
	}
	message := "Agent " + id + " created"
	if !created {
		message = "Agent " + id + " already runs and was adopted"
	}
	s.reply(w, http.StatusOK, struct {
		Success bool   `json:"success"`
		AgentID string `json:"agent_id"`
		Message string `json:"message"`
	}{true, id, message})
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

// check finds what JSON has no form for, and says where it stands.
func (r taskResult) check() error { return checkJSON(map[string]any(r), "result") }

func checkJSON(value any, at string) error {
	switch value := value.(type) {
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return fmt.Errorf("%w: %s is %v; the task ran, and its handler should return finite numbers", errResult, at, value)
		}
	case []any:
		for i, item := range value {
			if err := checkJSON(item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range value {
			if err := checkJSON(item, at+"."+key); err != nil {
				return err
			}
		}
	}
	return nil
}
