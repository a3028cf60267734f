package ray

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// MaxStateLimit is the most entries that the state API returns at once.
const MaxStateLimit = 10_000

// StateFilter selects entries of the state API. All filters must hold.
type StateFilter struct {
	// Key is a field of the entries, such as "state", by its JSON name.
	Key string
	// Not selects the entries that differ.
	Not   bool
	Value string
}

// StateOptions say what the state API is asked for. The zero value asks for Ray's default: at most 100 entries, no details.
type StateOptions struct {
	Filters []StateFilter
	// Limit is the most entries that are returned, up to MaxStateLimit; 0: Ray's default, 100.
	Limit int
	// Detail asks for the fields that are marked so.
	Detail bool
	// Timeout bounds how long the dashboard itself asks around, in whole seconds; 0: Ray's default, 30 s.
	Timeout time.Duration
}

// StateList is an answer of the state API, and how much of the whole it is.
type StateList[T any] struct {
	Items []T `json:"items"`
	// Total is the number of entries that the cluster has, and Matching that of those which pass the filters, as far as
	// the dashboard looked.
	Total    int `json:"total"`
	Matching int `json:"matching"`
	// Truncated tells that Items are not all that match: the limit cut them, or the dashboard did not look at everything.
	Truncated bool `json:"truncated"`
	// Warning is set when some of the nodes did not answer, or the dashboard has something else to say.
	Warning string `json:"warning,omitempty"`
}

// StateActor is an actor as the state API tells of it.
type StateActor struct {
	ActorID          string          `json:"actor_id"`
	ClassName        string          `json:"class_name"`
	State            string          `json:"state"` // DEPENDENCIES_UNREADY, PENDING_CREATION, ALIVE, RESTARTING or DEAD
	JobID            string          `json:"job_id"`
	Name             string          `json:"name"`
	NodeID           string          `json:"node_id"`
	PID              int             `json:"pid"`
	Namespace        string          `json:"ray_namespace"`
	IsDetached       bool            `json:"is_detached"`        // detail
	NumRestarts      json.Number     `json:"num_restarts"`       // detail; Ray writes it as text
	DeathCause       json.RawMessage `json:"death_cause"`        // detail
	PlacementGroupID string          `json:"placement_group_id"` // detail
}

// StateNode is a node as the state API tells of it.
type StateNode struct {
	NodeID         string             `json:"node_id"`
	NodeIP         string             `json:"node_ip"`
	IsHeadNode     bool               `json:"is_head_node"`
	State          string             `json:"state"` // ALIVE or DEAD
	StateMessage   string             `json:"state_message"`
	NodeName       string             `json:"node_name"`
	ResourcesTotal map[string]float64 `json:"resources_total"`
	Labels         map[string]string  `json:"labels"`
	StartTimeMS    int64              `json:"start_time_ms"` // detail, Unix
	EndTimeMS      int64              `json:"end_time_ms"`   // detail, Unix
}

// StateWorker is a worker process as the state API tells of it.
type StateWorker struct {
	WorkerID    string `json:"worker_id"`
	IsAlive     bool   `json:"is_alive"`
	WorkerType  string `json:"worker_type"` // WORKER, DRIVER, SPILL_WORKER or RESTORE_WORKER
	ExitType    string `json:"exit_type"`
	NodeID      string `json:"node_id"`
	IP          string `json:"ip"`
	PID         int    `json:"pid"`
	ExitDetail  string `json:"exit_detail"`   // detail
	StartTimeMS int64  `json:"start_time_ms"` // detail, Unix
	EndTimeMS   int64  `json:"end_time_ms"`   // detail, Unix
}

// StateTask is one attempt of a task as the state API tells of it.
type StateTask struct {
	TaskID        string `json:"task_id"`
	AttemptNumber int    `json:"attempt_number"`
	Name          string `json:"name"`
	State         string `json:"state"` // such as PENDING_NODE_ASSIGNMENT, RUNNING, FINISHED, FAILED
	JobID         string `json:"job_id"`
	ActorID       string `json:"actor_id"`
	Type          string `json:"type"` // NORMAL_TASK, ACTOR_CREATION_TASK, ACTOR_TASK or DRIVER_TASK
	Function      string `json:"func_or_class_name"`
	ParentTaskID  string `json:"parent_task_id"`
	NodeID        string `json:"node_id"`
	WorkerID      string `json:"worker_id"`
	WorkerPID     int    `json:"worker_pid"`
	ErrorType     string `json:"error_type"`
	ErrorMessage  string `json:"error_message"`    // detail
	CreationMS    int64  `json:"creation_time_ms"` // detail, Unix
	StartTimeMS   int64  `json:"start_time_ms"`    // detail, Unix
	EndTimeMS     int64  `json:"end_time_ms"`      // detail, Unix
}

// UnmarshalJSON reads a task as the state API writes it: its times are floats there.
func (t *StateTask) UnmarshalJSON(text []byte) error {
	type plain StateTask // without this method
	var read struct {
		plain
		CreationMS  millis `json:"creation_time_ms"`
		StartTimeMS millis `json:"start_time_ms"`
		EndTimeMS   millis `json:"end_time_ms"`
	}
	read.plain = plain(*t)
	read.CreationMS, read.StartTimeMS, read.EndTimeMS = millis(t.CreationMS), millis(t.StartTimeMS), millis(t.EndTimeMS)
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*t = StateTask(read.plain)
	t.CreationMS, t.StartTimeMS, t.EndTimeMS = int64(read.CreationMS), int64(read.StartTimeMS), int64(read.EndTimeMS)
	return nil
}

// millis is a time in milliseconds that may be written as a float.
type millis int64

func (m *millis) UnmarshalJSON(text []byte) error {
	var ms *float64 // nil for null, which changes nothing
	if err := json.Unmarshal(text, &ms); err != nil || ms == nil {
		return err
	}
	if *ms != math.Trunc(*ms) || math.Abs(*ms) > 1<<53 {
		return fmt.Errorf("%s is no time in milliseconds", text)
	}
	*m = millis(*ms)
	return nil
}

// Actors lists actors, dead ones included as long as the cluster remembers them: filter by "state" for the live ones, which
// are not first otherwise.
func (d *Dashboard) Actors(ctx context.Context, opts StateOptions) (StateList[StateActor], error) {
	return listState[StateActor](ctx, d, "actors", opts)
}

// Nodes lists nodes, dead ones included.
func (d *Dashboard) Nodes(ctx context.Context, opts StateOptions) (StateList[StateNode], error) {
	return listState[StateNode](ctx, d, "nodes", opts)
}

// Workers lists worker processes, dead ones included.
func (d *Dashboard) Workers(ctx context.Context, opts StateOptions) (StateList[StateWorker], error) {
	return listState[StateWorker](ctx, d, "workers", opts)
}

// Tasks lists attempts of tasks. The cluster forgets old ones, and learns of new ones about a second late.
func (d *Dashboard) Tasks(ctx context.Context, opts StateOptions) (StateList[StateTask], error) {
	return listState[StateTask](ctx, d, "tasks", opts)
}

// Jobs lists jobs: sessions and other drivers, and what was submitted.
func (d *Dashboard) Jobs(ctx context.Context, opts StateOptions) (StateList[JobInfo], error) {
	return listState[JobInfo](ctx, d, "jobs", opts)
}

func listState[T any](ctx context.Context, d *Dashboard, kind string, opts StateOptions) (StateList[T], error) {
	query := url.Values{"exclude_driver": {"true"}}
	fail := func(err error) (StateList[T], error) {
		return StateList[T]{}, &CallError{Target: "dashboard list " + kind, Sent: SentNo, Err: err}
	}
	if opts.Limit < 0 || opts.Limit > MaxStateLimit {
		return fail(fmt.Errorf("%w: limit: %d is not between 1 and %d", ErrInvalidOption, opts.Limit, MaxStateLimit))
	}
	if opts.Limit > 0 {
		query.Set("limit", strconv.Itoa(opts.Limit))
	}
	if opts.Timeout != 0 {
		if opts.Timeout < time.Second {
			return fail(fmt.Errorf("%w: timeout: %v is less than a second", ErrInvalidOption, opts.Timeout))
		}
		query.Set("timeout", strconv.Itoa(int(opts.Timeout/time.Second)))
	}
	if opts.Detail {
		query.Set("detail", "true")
	}
	for _, f := range opts.Filters {
		predicate := "="
		if f.Not {
			predicate = "!="
		}
		query.Add("filter_keys", f.Key)
		query.Add("filter_predicates", predicate)
		query.Add("filter_values", f.Value)
	}
	var answer struct {
		Result  bool   `json:"result"`
		Message string `json:"msg"`
		Data    struct {
			Result struct {
				Total           int      `json:"total"`
				AfterTruncation int      `json:"num_after_truncation"`
				Filtered        int      `json:"num_filtered"`
				Items           []T      `json:"result"`
				PartialFailure  string   `json:"partial_failure_warning"`
				Warnings        []string `json:"warnings"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := d.do(ctx, "list "+kind, http.MethodGet, "/api/v0/"+kind+"?"+query.Encode(), nil, &answer); err != nil {
		return StateList[T]{}, err
	}
	if !answer.Result {
		return StateList[T]{}, &CallError{Target: "dashboard list " + kind, Sent: SentYes, Err: fmt.Errorf("ray: the state API refused: %s", answer.Message)}
	}
	r := answer.Data.Result
	list := StateList[T]{
		Items: r.Items, Total: r.Total, Matching: r.Filtered,
		Truncated: r.Total > r.AfterTruncation || r.Filtered > len(r.Items) || r.PartialFailure != "",
		Warning:   r.PartialFailure,
	}
	for _, w := range r.Warnings {
		if list.Warning != "" {
			list.Warning += "\n"
		}
		list.Warning += w
	}
	return list, nil
}
