package taskevents

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// Ray's own values, which Options may change.
const (
	defaultInterval = time.Second
	defaultEvents   = 100_000
	defaultBatch    = 10_000
)

const (
	// reportTime bounds one report.
	reportTime = 10 * time.Second
	// attempts is how often the same events are offered to a GCS that does not take them.
	attempts = 60
)

// Options are the bounds of a Buffer. Zero values stand for Ray's own.
type Options struct {
	// Interval is how long events wait at most: a second.
	Interval time.Duration
	// Events is how many may wait, 100,000, and Batch how many are sent at once, 10,000.
	Events, Batch int
	// NoTimeline leaves out what only the timeline shows.
	NoTimeline bool
}

// FromEnv reads the variables of Ray's configuration that a process inherits from its raylet. report is false where Ray
// itself would report nothing. An error names a variable that cannot be read; the others count.
func FromEnv(getenv func(string) string) (o Options, report bool, err error) {
	number := func(name string, otherwise int) int {
		text := getenv(name)
		if text == "" {
			return otherwise
		}
		n, e := strconv.Atoi(text)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s=%q is not an integer, %d is used", name, text, otherwise))
			return otherwise
		}
		return n
	}
	yes := func(name string) bool {
		text := strings.ToLower(getenv(name))
		return text == "" || text == "true" || text == "1" // as Ray reads it
	}
	interval := number("RAY_task_events_report_interval_ms", int(defaultInterval/time.Millisecond))
	o.Interval = time.Duration(interval) * time.Millisecond
	o.Events = max(number("RAY_task_events_max_num_status_events_buffer_on_worker", defaultEvents), 1)
	o.Batch = max(number("RAY_task_events_send_batch_size", defaultBatch), 1)
	o.NoTimeline = !yes("RAY_enable_timeline")
	return o, interval > 0 && yes("RAY_enable_core_worker_task_event_to_gcs"), err
}

// Buffer holds events until they are sent. It is safe for concurrent use.
type Buffer struct {
	options Options
	worker  Worker
	report  func(context.Context, *corepb.TaskEventData) error
	lost    func(error)

	ctx    context.Context // of the reports
	cut    context.CancelFunc
	ending chan struct{} // closed when there is no time to wait any more

	mu      sync.Mutex // guards the fields below
	closed  bool
	sending chan struct{} // set while events wait or are sent; closed after that
	events  ring
	texts   int // bytes of the errors in events
	dropped []Task
	unshown int // events of the timeline that were dropped
	labels  map[names]*label
}

// New makes a Buffer that hands events to report, one call at a time. worker is of a process that runs tasks. lost, which may be
// nil, is told when the GCS begins not to take events.
func New(o Options, worker Worker, report func(context.Context, *corepb.TaskEventData) error, lost func(error)) *Buffer {
	if o.Interval <= 0 {
		o.Interval = defaultInterval
	}
	if o.Events <= 0 {
		o.Events = defaultEvents
	}
	if o.Batch <= 0 {
		o.Batch = defaultBatch
	}
	b := &Buffer{options: o, worker: worker, report: report, lost: lost, ending: make(chan struct{})}
	b.ctx, b.cut = context.WithCancel(context.Background())
	return b
}

func (b *Buffer) add(e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.push(e)
}

// push is add; b.mu is held.
func (b *Buffer) push(e event) {
	if b.closed {
		return
	}
	if b.texts+len(e.text) > maxTexts {
		e.text = "(left out: too many errors at once)"
	}
	b.texts += len(e.text)
	if oldest, full := b.events.push(e, b.options.Events); full {
		b.drop(oldest)
	}
	if b.sending == nil {
		b.sending = make(chan struct{})
		go b.send(b.sending)
	}
}

// labelled returns a copy, the same one for the same names; b.mu is held. The originals lie in the message of a call.
func (b *Buffer) labelled(n names) *label {
	if known := b.labels[n]; known != nil {
		return known
	}
	n = names{strings.Clone(n.task), strings.Clone(n.function)}
	quoted, _ := json.Marshal(n.function) // of a text
	kept := &label{names: n, extra: `{"name":` + string(quoted) + `,"task_id":"`}
	if b.labels == nil {
		b.labels = map[names]*label{}
	}
	if len(b.labels) < maxLabels {
		b.labels[n] = kept
	}
	return kept
}

// drop notes down what is not going to be sent; b.mu is held. As in Ray, a task of which something is missing is not shown
// at all, but counted.
func (b *Buffer) drop(e event) {
	b.texts -= len(e.text)
	switch {
	case e.kind == ran:
		b.unshown++
	case len(b.dropped) < b.options.Events: // beyond that not even counted
		b.dropped = append(b.dropped, e.task)
	}
}

// send sends until nothing waits.
func (b *Buffer) send(done chan struct{}) {
	defer close(done)
	var data *corepb.TaskEventData
	failures := 0
	for {
		select {
		case <-time.After(b.options.Interval):
		case <-b.ending:
		}
		if data == nil {
			if data = b.take(); data == nil {
				return
			}
		}
		err := b.once(data)
		if err == nil {
			data, failures = nil, 0
			continue
		}
		if failures++; failures == 1 && b.lost != nil {
			b.lost(err)
		}
		if failures == attempts {
			data, failures = nil, 0
		}
		select {
		case <-b.ending: // without a second try
			return
		default:
		}
	}
}

func (b *Buffer) once(data *corepb.TaskEventData) error {
	ctx, cancel := context.WithTimeout(b.ctx, reportTime)
	defer cancel()
	return b.report(ctx, data)
}

// take returns the next events; nil: nothing waits, and whoever adds some has to start another send.
func (b *Buffer) take() *corepb.TaskEventData {
	b.mu.Lock()
	if b.events.n == 0 && len(b.dropped) == 0 && b.unshown == 0 {
		b.sending = nil
		b.events, b.dropped = ring{}, nil // the memory of a burst
		b.mu.Unlock()
		return nil
	}
	batch := b.events.take(b.options.Batch)
	for _, e := range batch {
		b.texts -= len(e.text)
	}
	data := &corepb.TaskEventData{NumProfileEventsDropped: int32(min(b.unshown, 1<<30))}
	b.unshown = 0
	n := min(len(b.dropped), b.options.Batch)
	dropped := slices.Clone(b.dropped[:n])
	b.dropped = slices.Delete(b.dropped, 0, n)
	b.mu.Unlock()
	for i := range dropped {
		data.DroppedTaskAttempts = append(data.DroppedTaskAttempts, &corepb.TaskAttempt{TaskId: dropped[i].ID[:], AttemptNumber: dropped[i].Attempt})
	}
	data.EventsByTask = b.encode(batch)
	return data
}

// Close takes no more events, and sends those that wait. When ctx ends before, the rest is lost.
func (b *Buffer) Close(ctx context.Context) {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.ending)
	}
	sending := b.sending
	b.mu.Unlock()
	defer b.cut()
	if sending == nil {
		return
	}
	select {
	case <-sending:
	case <-ctx.Done():
		b.cut()
		<-sending
	}
}

// ring is a queue that grows up to a limit.
type ring struct {
	items   []event
	head, n int
}

// push appends; when the limit is reached, the oldest one makes room.
func (r *ring) push(e event, limit int) (oldest event, full bool) {
	if r.n == limit {
		oldest, full = r.pop(), true
	}
	if r.n == len(r.items) {
		grown := make([]event, min(max(2*r.n, 16), limit))
		copy(grown, r.items[r.head:])
		copy(grown[len(r.items)-r.head:], r.items[:r.head])
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = e
	r.n++
	return oldest, full
}

func (r *ring) pop() event {
	e := r.items[r.head]
	r.items[r.head] = event{}
	r.head = (r.head + 1) % len(r.items)
	r.n--
	return e
}

func (r *ring) take(n int) []event {
	items := make([]event, min(n, r.n))
	for i := range items {
		items[i] = r.pop()
	}
	return items
}
