package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxBody bounds a request's body in bytes.
	maxBody = 8 << 20
	// maxEcho bounds the body of which a refusal repeats the wrong part.
	maxEcho = 1 << 10
)

// invalid is one entry of a 422 answer, in the form of the Python server's validator.
type invalid struct {
	Type string `json:"type"`
	// Loc leads to the wrong part: "body", then keys, indexes, or the position of a syntax error in bytes.
	Loc   []any             `json:"loc"`
	Msg   string            `json:"msg"`
	Input any               `json:"input"`
	Ctx   map[string]string `json:"ctx,omitempty"`
}

// object is the body of a request: a JSON object whose fields are checked when they are asked for. Whole numbers in it
// are int64, or uint64 where only that holds them; others are float64. Unknown keys are ignored.
type object struct {
	fields   map[string]any
	echo     bool // wrong parts may be repeated
	problems []invalid
}

// mapping returns the object under a key, and an empty one when the key is absent.
func (o *object) mapping(key string) map[string]any {
	value, ok := o.fields[key]
	if !ok {
		return map[string]any{}
	}
	m, ok := value.(map[string]any)
	if !ok {
		o.refuse("dict_type", "Input should be a valid dictionary", key, value)
	}
	return m
}

// text returns the string under a key, and "" when the key is absent.
func (o *object) text(key string) string {
	value, ok := o.fields[key]
	if !ok {
		return ""
	}
	s, ok := value.(string)
	if !ok {
		o.refuse("string_type", "Input should be a valid string", key, value)
	}
	return s
}

func (o *object) refuse(kind, msg, key string, input any) {
	if !o.echo {
		input = nil
	}
	o.problems = append(o.problems, invalid{Type: kind, Loc: []any{"body", key}, Msg: msg, Input: input})
}

// body reads the JSON object of a request and lets take check its fields. It answers by itself, and returns false, when
// that is not possible: 413 for a body above the limit, 408 for one that does not come in time, 422 for anything that is
// not an object of the wanted form.
func (s *Server) body(w http.ResponseWriter, r *http.Request, take func(*object)) bool {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.reply(w, http.StatusRequestEntityTooLarge, detail{fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)})
		return false
	}
	if timeout := interface{ Timeout() bool }(nil); errors.As(err, &timeout) && timeout.Timeout() {
		s.reply(w, http.StatusRequestTimeout, detail{fmt.Sprintf("the body did not come within %s", bodyTimeout)})
		return false
	}
	if err != nil {
		s.reply(w, http.StatusBadRequest, detail{"the body could not be read: " + err.Error()})
		return false
	}
	// The deadline was for the body. From here on reading is only how a client is noticed that went away.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a writer without a connection has no deadline

	o, problem := parse(data)
	if problem == nil {
		take(o)
		if len(o.problems) == 0 {
			return true
		}
	} else {
		o = &object{problems: []invalid{*problem}}
	}
	s.reply(w, http.StatusUnprocessableEntity, detail{o.problems})
	return false
}

// parse decodes one JSON object, with its numbers as they were written.
func parse(data []byte) (*object, *invalid) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &invalid{Type: "missing", Loc: []any{"body"}, Msg: "Field required"}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		position := int64(len(data)) // it ended too early
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			position = syntax.Offset
		}
		return nil, malformed(position, err.Error())
	}
	if rest := bytes.TrimLeft(data[decoder.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, malformed(int64(len(data)-len(rest)), "Extra data")
	}
	o := &object{echo: len(data) <= maxEcho}
	value, problem := exact(value, "body")
	if problem != nil {
		return nil, problem
	}
	fields, ok := value.(map[string]any)
	if !ok {
		if !o.echo {
			value = nil
		}
		return nil, &invalid{Type: "dict_type", Loc: []any{"body"}, Msg: "Input should be a valid dictionary", Input: value}
	}
	o.fields = fields
	return o, nil
}

func malformed(position int64, cause string) *invalid {
	return &invalid{Type: "json_invalid", Loc: []any{"body", position}, Msg: "JSON decode error", Input: struct{}{}, Ctx: map[string]string{"error": cause}}
}

// exact replaces every number by one that has its value: a float64 of a large whole number would be another number.
func exact(value any, at any) (any, *invalid) {
	var problem *invalid
	switch value := value.(type) {
	case json.Number:
		number, err := number(value.String())
		if err != nil {
			return nil, &invalid{Type: "number_size", Loc: []any{at}, Msg: err.Error()}
		}
		return number, nil
	case []any:
		for i := range value {
			if value[i], problem = exact(value[i], i); problem != nil {
				problem.Loc = append([]any{at}, problem.Loc...)
				return nil, problem
			}
		}
	case map[string]any:
		for key := range value {
			if value[key], problem = exact(value[key], key); problem != nil {
				problem.Loc = append([]any{at}, problem.Loc...)
				return nil, problem
			}
		}
	}
	return value, nil
}

// number reads a JSON number: int64 or uint64 if it is written as a whole one, else float64.
func number(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n, nil
		}
		return nil, fmt.Errorf("Input should be a whole number of at most 64 bits, from %d to %d; send a larger one as text", math.MinInt64, uint64(math.MaxUint64)) //nolint:revive,staticcheck // what a client reads
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("Input should be a finite number of at most 64 bits") //nolint:revive,staticcheck // what a client reads
	}
	return f, nil
}
