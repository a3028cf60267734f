package organism

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

var (
	// ErrTask is wrapped by errors about a task that cannot be run as it is. It was not run.
	ErrTask = errors.New("organism: unusable task")
	// ErrOutcome is wrapped by errors about what a handler returned. The task was run.
	ErrOutcome = errors.New("organism: unusable outcome")
)

// Task is a task as it came in, decoded from JSON or from a Ray value. Keys that nobody here knows are for its handler,
// which must not change the map.
type Task map[string]any

// Type returns the text under "type" or, when that is absent, null or empty, under "task_type"; "" when there is
// neither. Another kind of value there is an error that wraps [ErrTask].
func (t Task) Type() (string, error) {
	for _, key := range []string{"type", "task_type"} {
		switch value := t[key].(type) {
		case nil:
		case string:
			if value != "" {
				return value, nil
			}
		default:
			return "", fmt.Errorf("%w: %s is %s; give a string", ErrTask, key, brief(value))
		}
	}
	return "", nil
}

// RequiredCapability returns the number under "required_capability", 0 when it is absent or null. Something that is no
// finite number is an error that wraps [ErrTask].
func (t Task) RequiredCapability() (float64, error) {
	return t.number("required_capability", 0)
}

// Complexity returns the number under "complexity", 0.5 when it is absent or null. Something that is no finite number
// of at least 0 is an error that wraps [ErrTask].
func (t Task) Complexity() (float64, error) {
	complexity, err := t.number("complexity", defaultComplexity)
	if err == nil && complexity < 0 {
		return 0, fmt.Errorf("%w: complexity is %v; give a number of at least 0", ErrTask, complexity)
	}
	return complexity, err
}

func (t Task) number(key string, absent float64) (float64, error) {
	value, _ := plainValue(t[key])
	if value == nil {
		return absent, nil
	}
	number, ok := toFloat(value)
	if !ok || math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, fmt.Errorf("%w: %s is %s; give a finite number", ErrTask, key, brief(value))
	}
	return number, nil
}

// brief is a value as a message shows it. (A precision on %v would pad numbers.)
func brief(value any) string { return fmt.Sprintf("%.40s", fmt.Sprint(value)) }

// plain returns the task with every json.Number in it as the number that it is: an int64 or uint64 where one holds it
// whole, else a float64. It copies what it changes.
func (t Task) plain() map[string]any {
	if plain, changed := plainValue(map[string]any(t)); changed {
		return plain.(map[string]any) //nolint:forcetypeassert // a map stays a map
	}
	return t
}

func plainValue(value any) (plain any, changed bool) {
	switch value := value.(type) {
	case json.Number:
		return plainNumber(value), true
	case []any:
		for i, item := range value {
			if item, itemChanged := plainValue(item); itemChanged {
				if !changed {
					value, changed = slices.Clone(value), true
				}
				value[i] = item
			}
		}
		return value, changed
	case map[string]any:
		source := value
		for key, item := range source {
			if item, itemChanged := plainValue(item); itemChanged {
				if !changed {
					value, changed = maps.Clone(source), true
				}
				value[key] = item
			}
		}
		return value, changed
	default:
		return value, false
	}
}

// plainNumber leaves a text that is no number as the text that it is.
func plainNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	if f, err := n.Float64(); err == nil {
		return f
	}
	return n.String()
}

// Outcome is what came of a task.
type Outcome struct {
	// Success is the task's own success; a task can be run properly and have none.
	Success bool
	// Quality is 0 to 1.
	Quality float64
	// MemHits is how often the task found what it looked for in memory, 0 to [MaxMemHits].
	MemHits int
	// MemWrites is how often the task wrote to memory, and MemWriteHits how many of those writes were found again.
	MemWrites, MemWriteHits int
	// Output is the task's own result. Unless it is nil, the result of execute_task has it under "output". It is a
	// bool, a number, a string, bytes, a slice or map of these, or a struct with json tags.
	Output any
}

// Validate reports the first field that is out of its bounds, wrapping [ErrOutcome].
func (o Outcome) Validate() error {
	switch {
	case math.IsNaN(o.Quality) || o.Quality < 0 || o.Quality > 1:
		return fmt.Errorf("%w: Quality is %v; it must be 0 to 1", ErrOutcome, o.Quality)
	case o.MemHits < 0 || o.MemHits > MaxMemHits:
		return fmt.Errorf("%w: MemHits is %d; it must be 0 to %d", ErrOutcome, o.MemHits, MaxMemHits)
	case o.MemWrites < 0:
		return fmt.Errorf("%w: MemWrites is %d; it must be at least 0", ErrOutcome, o.MemWrites)
	case o.MemWriteHits < 0 || o.MemWriteHits > o.MemWrites:
		return fmt.Errorf("%w: MemWriteHits is %d; it must be 0 to MemWrites, %d", ErrOutcome, o.MemWriteHits, o.MemWrites)
	}
	return nil
}
