package organism

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// MaxOrgans bounds the organs of one configuration.
	MaxOrgans = 1000
	// MaxAgentsPerOrgan bounds agent_count. Each agent is a process by default: more in one organ is a mistake.
	MaxAgentsPerOrgan = 10_000
	// MaxConfigSize bounds a configuration file, in bytes.
	MaxConfigSize = 256 << 10
)

// Config says which organs and agents an organism has. The zero value has none and is not usable: take one from
// [LoadConfig], [ParseConfig] or [DefaultConfig]. It is a plain value; nothing here reads or writes it after it was
// returned.
type Config struct {
	// Organs in the order of the file; never empty in a Config that this package returned.
	Organs []OrganConfig
}

// OrganConfig describes one organ.
type OrganConfig struct {
	// ID is the organ's id and the name of its actor. See [CheckOrganID] for its form.
	ID string
	// Type decides the agents' role probabilities, see [RolesFor]. It is case-sensitive and any text is allowed.
	Type string
	// Description is free text; may be empty.
	Description string
	// AgentCount is the number of agents, 0 to [MaxAgentsPerOrgan].
	AgentCount int
	// TaskTypes are the types of tasks that are routed to this organ; may be empty.
	TaskTypes []string
}

// AgentID returns the id of agent i, counted from 0: "<organ id>_agent_<i>".
func (o OrganConfig) AgentID(i int) string {
	return AgentID(o.ID, i)
}

// ConfigError is one problem of a configuration. [LoadConfig] and [ParseConfig] return all that they find, joined with
// [errors.Join].
type ConfigError struct {
	// File is the path of the file, or the name given to ParseConfig.
	File string
	// Line counts from 1; 0 when the problem is that of the file as a whole.
	Line int
	// Key is the path of the key, such as "seedcore.organism.organ_types[0].agent_count"; empty when there is none.
	Key string
	// Problem says what is wrong and what to do.
	Problem string
	// Err is the cause where there is one, such as that of a failed read.
	Err error
}

// Error returns "file:line: key: problem", without the parts that are not known.
func (e *ConfigError) Error() string {
	var text strings.Builder
	text.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&text, ":%d", e.Line)
	}
	if e.Key != "" {
		text.WriteString(": " + e.Key)
	}
	text.WriteString(": " + e.Problem)
	if e.Err != nil {
		text.WriteString(": " + e.Err.Error())
	}
	return text.String()
}

// Unwrap returns the cause, or nil.
func (e *ConfigError) Unwrap() error { return e.Err }

// LoadConfig reads a configuration file, see [ParseConfig]. A file that is missing, unreadable or longer than
// [MaxConfigSize] is a *[ConfigError]; the cause is kept, so errors.Is(err, fs.ErrNotExist) works.
func LoadConfig(path string) (Config, error) {
	unreadable := func(err error) (Config, error) {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err // its text would name the file a second time
		}
		return Config{}, &ConfigError{File: path, Problem: "cannot read the configuration", Err: err}
	}
	file, err := os.Open(path)
	if err != nil {
		return unreadable(err)
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxConfigSize+1))
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return unreadable(err)
	}
	return ParseConfig(path, data)
}

// ParseConfig reads a configuration: one YAML document that is a mapping with the key "seedcore", and in it
// "organism.organ_types", a list of at least one organ with the keys id, type, agent_count and, optionally, description
// and task_types. The keys telemetry_port, grpc_port, organs, entropy_floor and weights of "seedcore" are accepted and
// not read. Any other key, a key that is missing or there twice, a value of the wrong type or out of its bounds, an id
// that is unusable or used twice, and an anchor, alias or tag where a value is read are errors.
//
// Errors are *[ConfigError], joined; name stands for the file in them. Every problem is reported at once, except that
// the text is read no further when it is not YAML, and that no more than 50 are listed.
func ParseConfig(name string, data []byte) (Config, error) {
	reader := configReader{file: name}
	config := reader.read(data)
	if len(reader.problems) > 0 {
		return Config{}, errors.Join(reader.problems...)
	}
	return config, nil
}

//go:embed defaults.yaml
var defaults []byte

// DefaultConfig returns the configuration that is built in: one agent each in cognitive_organ_1 (Cognitive),
// actuator_organ_1 (Actuator) and utility_organ_1 (Utility).
func DefaultConfig() Config {
	config, err := ParseConfig("defaults.yaml", defaults)
	if err != nil {
		// The text is part of the binary: no input leads here, and a binary like that must not run.
		panic(fmt.Sprintf("organism: the built-in configuration is broken: %v", err))
	}
	return config
}

// DefaultConfigYAML returns a copy of the text that [DefaultConfig] reads, as a start for a file of one's own.
func DefaultConfigYAML() []byte {
	return append([]byte(nil), defaults...)
}
