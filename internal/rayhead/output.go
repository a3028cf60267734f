package rayhead

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

const (
	keptLines     = 40
	keptLineBytes = 1000
)

// lastLines keeps the last lines that were written to it, and passes everything on.
type lastLines struct {
	next io.Writer // nil: none

	mu    sync.Mutex // guards lines and open
	lines []string
	open  []byte // the line that has no end yet
}

func newLastLines(next io.Writer) *lastLines { return &lastLines{next: next} }

// Write never fails: an error would stop the reader of Ray's output, and a full pipe would stop Ray.
func (l *lastLines) Write(p []byte) (int, error) {
	l.keep(p)
	if l.next != nil {
		_, _ = l.next.Write(p)
	}
	return len(p), nil
}

func (l *lastLines) keep(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if room := keptLineBytes - len(l.open); room > 0 {
			l.open = append(l.open, line[:min(room, len(line))]...)
		}
		if !ended {
			return
		}
		if len(l.lines) == keptLines {
			l.lines = append(l.lines[:0], l.lines[1:]...)
		}
		l.lines = append(l.lines, string(l.open))
		l.open = l.open[:0]
		p = rest
	}
}

// String returns the kept lines, or says that there are none.
func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := strings.TrimRight(strings.Join(l.lines, "\n")+"\n"+string(l.open), "\n")
	if strings.TrimSpace(text) == "" {
		return "(none)"
	}
	return text
}
