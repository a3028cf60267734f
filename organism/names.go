package organism

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// MissTrackerName is the actor name of the singleton that counts items that were looked for and not found.
	MissTrackerName = "miss_tracker"
	// SharedCacheName is the actor name of the singleton that holds values for every organ.
	SharedCacheName = "shared_cache"
	// MwStoreName is the actor name of the singleton that counts the use of working-memory items.
	MwStoreName = "mw"

	// MaxNameLength bounds the name of an actor, in bytes.
	MaxNameLength = 192
	// MaxOrganIDLength bounds the id of an organ, in bytes. It leaves room for the "_agent_<i>" of its agents.
	MaxOrganIDLength = 128

	agentInfix = "_agent_"
)

// reservedIDs are names that an organ or agent cannot have, with the reason.
var reservedIDs = map[string]string{
	MissTrackerName: "it is the name of a singleton actor",
	SharedCacheName: "it is the name of a singleton actor",
	MwStoreName:     "it is the name of a singleton actor",
	"random":        "/organism/execute/random means any organ",
}

// ErrName is wrapped by every error of [CheckName] and [CheckOrganID].
var ErrName = errors.New("organism: unusable name")

// CheckName reports whether name can be the name of an agent's actor: 1 to [MaxNameLength] ASCII letters, digits and
// the characters "_", "-" and ".", beginning with a letter, a digit or "_", and not the name of a singleton or
// "random". Such a name needs no escaping in a URL path, a metric label, a log line or a shell. The error wraps
// [ErrName] and says what is wrong.
func CheckName(name string) error {
	return checkName(name, MaxNameLength)
}

// CheckOrganID is [CheckName] with the shorter bound [MaxOrganIDLength].
func CheckOrganID(id string) error {
	return checkName(id, MaxOrganIDLength)
}

func checkName(name string, limit int) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrName)
	}
	if len(name) > limit {
		return fmt.Errorf("%w: it has %d bytes, at most %d are allowed", ErrName, len(name), limit)
	}
	for i, c := range []byte(name) {
		letterOrDigit := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		switch {
		case letterOrDigit:
		case c != '-' && c != '.':
			return fmt.Errorf("%w: %q has a character that is not a letter, a digit, \"_\", \"-\" or \".\"", ErrName, name)
		case i == 0:
			return fmt.Errorf("%w: %q does not begin with a letter, a digit or \"_\"", ErrName, name)
		}
	}
	if reason, reserved := reservedIDs[name]; reserved {
		return fmt.Errorf("%w: %q is reserved, %s", ErrName, name, reason)
	}
	return nil
}

// AgentID returns the id of agent i, counted from 0, of an organ. It is also the name of the agent's actor.
func AgentID(organID string, i int) string {
	return organID + agentInfix + strconv.Itoa(i)
}

// agentOrgan returns the organ whose agent an id would be by its form, or "".
func agentOrgan(id string) string {
	cut := strings.LastIndex(id, agentInfix)
	if cut <= 0 {
		return ""
	}
	number := id[cut+len(agentInfix):]
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return id[:cut]
}
