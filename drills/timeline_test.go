package drills_test

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/connector"
)

// timeline is what happened in a round, and when. The zero value is usable.
type timeline struct {
	mu         sync.Mutex // guards what follows
	start      time.Time
	lines      []string
	came       time.Time // when Ray was back
	connecting time.Time // when the newest attempt began
	connected  time.Time // when the connection last came to be connected
	opening    time.Duration
	epochs     uint64
}

// begin forgets the round before.
func (l *timeline) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start, l.lines, l.came, l.connected, l.opening, l.epochs = time.Now(), nil, time.Time{}, time.Time{}, 0, 0
}

func (l *timeline) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(format, args...)
}

// add adds a line; l.mu is held.
func (l *timeline) add(format string, args ...any) {
	l.lines = append(l.lines, fmt.Sprintf("%7.2fs  ", time.Since(l.start).Seconds())+fmt.Sprintf(format, args...))
}

// back notes that nothing but our own side is in the way any more.
func (l *timeline) back() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.came = time.Now()
	l.add("Ray is back")
}

// event notes a change of the connection.
func (l *timeline) event(e connector.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.From != e.To {
		switch e.To {
		case connector.StateConnecting:
			l.connecting = time.Now()
			if e.Info.Attempts > 1 {
				return // its outcome is a line
			}
		case connector.StateDisconnected:
			if e.Info.Attempts > 1 {
				l.add("connector: attempt %d failed after %.2f s", e.Info.Attempts, time.Since(l.connecting).Seconds())
				return
			}
		case connector.StateConnected:
			l.connected = time.Now()
			l.opening = 0
		}
		if e.From == connector.StateConnecting && e.Info.Session.Answers {
			l.epochs++
			l.opening = time.Since(l.connecting)
			l.add("connector: the session was opened in %.2f s", l.opening.Seconds())
		}
	}
	links := func(answers bool) string {
		if answers {
			return "answers"
		}
		return "silent"
	}
	line := fmt.Sprintf("connector: %s, epoch %d, session %s, GCS %s", e.To, e.Info.Epoch, links(e.Info.Session.Answers), links(e.Info.GCS.Answers))
	if e.Info.Ready {
		line += ", ready"
	}
	if e.Info.LastError != "" && e.From != e.To {
		line += " (" + firstLine(e.Info.LastError) + ")"
	}
	l.add("%s", line)
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 140 {
		s = s[:140] + "..."
	}
	return s
}

// times are what a round took: from the moment at which Ray was back to connected, and how much of that was Ray's own start
// of a session's process.
func (l *timeline) times() (recovery, opening time.Duration, epochs uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.connected.After(l.came) && !l.came.IsZero() {
		recovery = l.connected.Sub(l.came)
		opening = min(l.opening, recovery)
	}
	return recovery, opening, l.epochs
}

func (l *timeline) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
