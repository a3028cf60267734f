package rayhead

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	keptLines     = 10
	keptLineBytes = 1000
)

// output passes on what Ray prints, and keeps what explains an end. Ray prints much, such as the ends of the logs of a process
// that died, which are statistics for the most part.
type output struct {
	next io.Writer // nil: none

	mu        sync.Mutex // guards the rest
	open      []byte     // the line that has no end yet
	last      []string   // the last lines
	troubles  []string   // the last ones that warn of something or tell an error
	ended     []string   // Ray's processes that ended, as in "raylet [exit code=-9]"
	raised    string     // the last exception
	traceback bool       // the lines are those of a traceback
}

func newOutput(next io.Writer) *output { return &output{next: next} }

// Write never fails: an error would stop the reader of Ray's output, and a full pipe would stop Ray.
func (o *output) Write(p []byte) (int, error) {
	o.split(p)
	if o.next != nil {
		_, _ = o.next.Write(p)
	}
	return len(p), nil
}

func (o *output) split(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		line, rest, ended := bytes.Cut(p, []byte("\n"))
		if room := keptLineBytes - len(o.open); room > 0 {
			o.open = append(o.open, line[:min(room, len(line))]...)
		}
		if !ended {
			return
		}
		o.keep(string(o.open))
		o.open = o.open[:0]
		p = rest
	}
}

var (
	// rayLine is a line of `ray start`, in the log style "record": a time, a level and a place before the text.
	rayLine = regexp.MustCompile(`^\d{4}-\d\d-\d\d [0-9:,]+\t([A-Z]+) [\w.]+:\d+ -- (.*)$`)
	// exitLine names a process of Ray's that ended.
	exitLine = regexp.MustCompile(`^ *\w+ \[exit code=[^]]*\]$`)
	// troubleLine is a line of a process of Ray's that is no mere information, in the style of C++ or of Python.
	troubleLine = regexp.MustCompile(`^\[[-0-9:, ]+ [WEFC] |^[-0-9:, ]+\t(WARNING|ERROR|CRITICAL) `)
)

// keep takes one line; o.mu is held.
func (o *output) keep(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	o.last = appendBounded(o.last, line)
	text, level := line, ""
	if parts := rayLine.FindStringSubmatch(line); parts != nil {
		level, text = parts[1], parts[2]
	}
	switch {
	case strings.HasPrefix(text, "Traceback (most recent call last):"):
		o.traceback = true
	case o.traceback && strings.HasPrefix(text, " "): // a frame
	case o.traceback:
		o.traceback, o.raised = false, text
	case level == "ERR" && exitLine.MatchString(text):
		o.ended = appendBounded(o.ended, strings.TrimSpace(text))
	case level == "PANIC", troubleLine.MatchString(text):
		o.troubles = appendBounded(o.troubles, text)
	}
}

func appendBounded(lines []string, line string) []string {
	if len(lines) == keptLines {
		lines = slices.Delete(lines, 0, 1)
	}
	return append(lines, line)
}

// String says in its first line why Ray ended, if Ray told: which of its processes did, else which exception `ray start` raised.
// Behind that come the lines that tell of trouble, or the last ones where nothing is known.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var lines []string
	if len(o.ended) > 0 {
		lines = append(lines, strings.Join(o.ended, ", "))
	}
	if o.raised != "" {
		lines = append(lines, o.raised)
	}
	switch {
	case len(lines) > 0:
		lines = append(lines, o.troubles...)
	case len(o.last) > 0 || len(o.open) > 0:
		lines = append(append(lines, "its last output:"), o.last...)
		if len(o.open) > 0 {
			lines = append(lines, string(o.open))
		}
	default:
		return "it printed nothing"
	}
	return strings.Join(lines, "\n")
}
