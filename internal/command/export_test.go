package command

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/seedcore/seedcore/connector"
)

// Records is where status reads nodes and actors from.
type Records = records

// Status returns what status prints of a cluster that answers: the text, and the JSON.
func Status(ctx context.Context, info connector.Info, from Records) (text, object string, err error) {
	report := clusterStatus{Connection: info}
	err = report.ask(ctx, from)
	var out strings.Builder
	printErr := report.print(&out)
	encoded, encodeErr := json.Marshal(report)
	return out.String(), string(encoded), errors.Join(err, printErr, encodeErr)
}

// Settings is the configuration of every command.
func Settings(get func(string) string) (connector.Config, error) { return settings(get) }

// Protect returns what the local head is told about its token, and what people are.
func Protect(get func(string) string) (env []string, hint string, err error) {
	p, err := protect(get)
	return p.env, p.hint, err
}
