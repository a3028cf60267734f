package connector_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/connector"
)

// script names for each transition of the table the steps that lead to it, from the start on.
var script = map[string][]step{
	"disconnected connecting": {{"start", 0}},
	"disconnected closing":    {{"close", 0}},
	"connecting connected":    {{"start", 0}},
	"connecting disconnected": {{"session refused", 0}, {"start", 0}, {"look", time.Second}},
	"connecting closing":      {{"session silent", 0}, {"start", 0}, {"close", time.Second}},
	// The GCS of the session before is kept, and silent, while there is a new session.
	"connecting degraded":    {{"start", 0}, {"GCS silent", time.Second}, {"session forgotten", 0}, {"settles", 0}},
	"connected degraded":     {{"start", 0}, {"GCS refused", time.Second}, {"look", time.Minute}},
	"connected reconnecting": {{"start", 0}, {"cluster mute", time.Second}, {"look", 20 * time.Second}},
	"connected lost":         {{"start", 0}, {"session forgotten", time.Second}, {"look", time.Second}},
	"connected closing":      {{"start", 0}, {"close", time.Second}},
	"degraded connected":     {{"start", 0}, {"GCS refused", time.Second}, {"GCS heals", time.Minute}, {"settles", 0}},
	"degraded reconnecting":  {{"start", 0}, {"GCS silent", time.Second}, {"session silent", 15 * time.Second}, {"look", 20 * time.Second}},
	"degraded lost":          {{"start", 0}, {"GCS refused", time.Second}, {"session forgotten", time.Minute}, {"settles", 0}},
	"degraded closing":       {{"start", 0}, {"GCS refused", time.Second}, {"close", time.Minute}},
	"reconnecting connected": {{"start", 0}, {"cluster mute", time.Second}, {"cluster speaks", 12 * time.Second}, {"settles", 0}},
	"reconnecting degraded":  {{"start", 0}, {"session silent", time.Second}, {"GCS silent", 0}, {"session heals", 14 * time.Second}, {"settles", 0}},
	"reconnecting lost":      {{"start", 0}, {"GCS refused", time.Second}, {"session refused", 0}, {"settles", 0}},
	"reconnecting closing":   {{"start", 0}, {"cluster mute", time.Second}, {"close", 20 * time.Second}},
	"lost connecting":        {{"start", 0}, {"session forgotten", time.Second}, {"settles", 0}},
	// The pauses between lost and connecting are those of the farewell to a session that is replaced.
	"lost closing":   {{"start", 0}, {"ping", time.Second}, {"cluster mute", 0}, {"ping", 0}, {"reset", time.Millisecond}, {"close", time.Second}},
	"closing closed": {{"close", 0}},
}

// Every transition of the table is taken, each by a script of its own, and every other one is refused.
func TestEveryTransition(t *testing.T) {
	for _, from := range allStates {
		for _, to := range allStates {
			name := fmt.Sprintf("%s %s", from, to)
			if _, scripted := script[name]; scripted != from.CanBecome(to) {
				t.Errorf("%s is scripted: %v, and in the table: %v", name, scripted, from.CanBecome(to))
			}
		}
	}
	for name, todo := range script {
		t.Run(name, func(t *testing.T) {
			taken := false
			for _, problem := range run(t, todo, func(from, to connector.State) {
				taken = taken || name == fmt.Sprintf("%s %s", from, to)
			}) {
				t.Error(problem)
			}
			if !taken {
				t.Error("the script does not lead there")
			}
		})
	}

	// On the shortest way to each state, whatever must not follow is refused.
	ways := map[connector.State][]connector.State{connector.StateDisconnected: nil}
	for todo := []connector.State{connector.StateDisconnected}; len(todo) > 0; todo = todo[1:] {
		for _, next := range following(todo[0]) {
			if _, known := ways[next]; !known {
				ways[next] = append(append([]connector.State{}, ways[todo[0]]...), next)
				todo = append(todo, next)
			}
		}
	}
	for _, from := range allStates {
		for _, to := range allStates {
			if from == to {
				continue
			}
			var log safeBuffer
			conn, err := connector.New(connector.Config{Logger: logger(&log)})
			if err != nil {
				t.Fatal(err)
			}
			events := conn.Subscribe(100)
			for _, s := range ways[from] {
				if !conn.SetState(s) {
					t.Fatalf("%s on the way to %s", s, from)
				}
			}
			before := len(events.Events())
			allowed := conn.SetState(to)
			now, want := conn.Info().State, from
			if from.CanBecome(to) {
				want = to
			}
			if allowed != from.CanBecome(to) || now != want || len(events.Events()) > before != allowed {
				t.Errorf("from %s to %s: %v, %s", from, to, allowed, now)
			}
			if end := from == connector.StateClosing || from == connector.StateClosed; !end && strings.Contains(log.String(), "level=ERROR") == allowed {
				t.Errorf("from %s to %s the log says %s", from, to, &log)
			}
		}
	}
}

// A session whose process hangs, behind a server that is well, is replaced by itself.
func TestASessionThatHangsIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		conn, _ := newConnector(t, m.config())
		if err := conn.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.hang()
		time.Sleep(connector.DefaultMaxSilence - 10*time.Second)
		if info := conn.Info(); info.State != connector.StateDegraded || info.Epoch != 1 {
			t.Errorf("%+v", info)
		}
		time.Sleep(30 * time.Second)
		if info := conn.Info(); info.State != connector.StateConnected || info.Epoch != 2 {
			t.Errorf("%+v", info)
		}
		if stat := conn.Stat(); stat.Lost != 1 {
			t.Errorf("%+v", stat)
		}
	})
}
