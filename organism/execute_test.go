package organism_test

import (
	"errors"
	"testing"

	"github.com/seedcore/seedcore/connector"
	"github.com/seedcore/seedcore/organism"
	"github.com/seedcore/seedcore/ray"
)

// A task that was not sent anywhere says so, whatever the reason, and keeps the text of the reason.
func TestErrorsOfATaskThatWasNotSent(t *testing.T) {
	conn, err := connector.New(connector.Config{Address: "ray://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	config := organism.Config{Organs: []organism.OrganConfig{{ID: "empty", Type: "Cognitive"}, {ID: "o", Type: "Cognitive", AgentCount: 1}}}
	org, err := organism.New(conn, config, organism.Options{})
	if err != nil {
		t.Fatal(err)
	}
	execute := func(organ string) error {
		_, err := org.Execute(t.Context(), organ, organism.Task{})
		return err
	}
	agent := func() error {
		_, err := org.ExecuteOnAgent(t.Context(), "somebody", organism.Task{})
		return err
	}
	check := func(name string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) || ray.SentOf(err) != ray.SentNo {
			t.Errorf("%s: %v, sent: %s", name, err, ray.SentOf(err))
		}
	}
	check("an unknown organ", execute("x"), organism.ErrUnknownOrgan)
	check("an organ without agents", execute("empty"), organism.ErrNoAgents)
	check("an organ before it was brought up", execute("o"), organism.ErrNotReady)
	check("an agent before the connection", agent(), organism.ErrNotReady)
	check("an agent before the connection", agent(), connector.ErrNotConnected)
	if text := execute("empty").Error(); text != organism.ErrNoAgents.Error() {
		t.Errorf("the text became %q", text)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("after the connector was closed", agent(), connector.ErrClosed)
}
