package taskevents_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/seedcore/seedcore/internal/taskevents"
	"github.com/seedcore/seedcore/internal/wire/corepb"
)

// gcs remembers what was reported.
type gcs struct {
	mu      sync.Mutex // guards the fields below
	reports []*corepb.TaskEventData
	times   []time.Duration
	start   time.Time
	fail    int // as many reports
	lost    []error
}

func (g *gcs) report(_ context.Context, data *corepb.TaskEventData) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail > 0 {
		g.fail--
		return errors.New("no GCS")
	}
	g.reports = append(g.reports, data)
	g.times = append(g.times, time.Since(g.start))
	return nil
}

func (g *gcs) buffer(o taskevents.Options) *taskevents.Buffer {
	g.start = time.Now()
	return taskevents.New(o, taskevents.Worker{ID: []byte("worker"), NodeIP: "10.0.0.1", PID: 7}, g.report, func(err error) { g.lost = append(g.lost, err) })
}

// pass lets time go by, and all happen that is due.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func task(n int) taskevents.Task {
	t := taskevents.Task{Attempt: int32(n % 3)}
	copy(t.ID[:], fmt.Sprintf("task %019d", n))
	copy(t.Job[:], "job1")
	return t
}

var call = &taskevents.Call{Name: "Counter.add", ActorID: []byte("actor"), NodeID: []byte("node"), WorkerID: []byte("its worker")}

func TestWhatHappensToATaskIsReportedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gcs{}
		b := g.buffer(taskevents.Options{})
		sent := time.Now().UnixNano()
		b.Submitted(task(1), call, []byte("its parent"))
		time.Sleep(time.Millisecond)
		from := time.Now()
		b.Running(task(1), from)
		time.Sleep(time.Millisecond)
		b.Ran(task(1), "Counter.add", "add", from)
		b.Finished(task(1))
		until := time.Now().UnixNano()
		b.Failed(task(2), corepb.ErrorType_TASK_EXECUTION_EXCEPTION, "a reason")
		pass(2 * time.Second)

		id, other := task(1).ID, task(2).ID
		want := &corepb.TaskEventData{EventsByTask: []*corepb.TaskEvents{{
			TaskId: id[:], AttemptNumber: 1, JobId: []byte("job1"),
			TaskInfo: &corepb.TaskInfoEntry{
				Type: corepb.TaskType_ACTOR_TASK, Name: "Counter.add", FuncOrClassName: "Counter.add", TaskId: id[:], JobId: []byte("job1"), ActorId: []byte("actor"),
				ParentTaskId: []byte("its parent"),
			},
			StateUpdates: &corepb.TaskStateUpdate{
				NodeId: []byte("node"), WorkerId: []byte("its worker"), WorkerPid: 7,
				StateTsNs: map[int32]int64{1: sent, 5: sent, 8: from.UnixNano(), 11: until},
			},
			ProfileEvents: &corepb.ProfileEvents{
				ComponentType: "worker", ComponentId: []byte("worker"), NodeIpAddress: "10.0.0.1",
				Events: []*corepb.ProfileEventEntry{{
					EventName: "task::Counter.add", StartTime: from.UnixNano(), EndTime: until,
					ExtraData: fmt.Sprintf(`{"name":"add","task_id":"%x"}`, id),
				}},
			},
		}, {
			TaskId: other[:], AttemptNumber: 2, JobId: []byte("job1"),
			StateUpdates: &corepb.TaskStateUpdate{
				StateTsNs: map[int32]int64{12: until},
				ErrorInfo: &corepb.RayErrorInfo{ErrorType: corepb.ErrorType_TASK_EXECUTION_EXCEPTION, ErrorMessage: "a reason"},
			},
		}}}
		if len(g.reports) != 1 || !proto.Equal(g.reports[0], want) {
			t.Errorf("%v\nnot\n%v", g.reports, want)
		}
	}) // and nothing runs any more
}

func TestEveryTaskIsReportedOrCountedAsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gcs{fail: 2}
		b := g.buffer(taskevents.Options{Events: 10, Batch: 4})
		for n := range 15 {
			b.Submitted(task(n), call, nil)
		}
		for range 3 {
			b.Ran(task(100), "f", "f", time.Now()) // each takes the place of a task
		}
		pass(time.Minute)
		b.Submitted(task(200), call, nil) // begins anew
		pass(time.Minute)

		shown, dropped := map[string]int{}, map[string]int{}
		for _, report := range g.reports {
			if len(report.GetEventsByTask()) > 4 || len(report.GetDroppedTaskAttempts()) > 4 {
				t.Errorf("a report of %d tasks and %d dropped ones", len(report.GetEventsByTask()), len(report.GetDroppedTaskAttempts()))
			}
			for _, e := range report.GetEventsByTask() {
				shown[string(e.GetTaskId())]++
			}
			for _, a := range report.GetDroppedTaskAttempts() {
				dropped[string(a.GetTaskId())]++
			}
		}
		for n := range 15 {
			id := task(n).ID
			want := []int{0, 1}
			if n < 8 {
				want = []int{1, 0}
			}
			if got := []int{dropped[string(id[:])], shown[string(id[:])]}; !slices.Equal(got, want) {
				t.Errorf("task %d: %v, not %v", n, got, want)
			}
		}
		if id := task(200).ID; shown[string(id[:])] != 1 {
			t.Error("a later task is missing")
		}
		if len(dropped) != 8 || len(g.lost) != 1 {
			t.Errorf("dropped %d, lost %v", len(dropped), g.lost)
		}
		want := []time.Duration{3 * time.Second, 4 * time.Second, 5 * time.Second, 61 * time.Second}
		if !slices.Equal(g.times, want) {
			t.Errorf("reported at %v, not %v", g.times, want)
		}
	})
}

func TestTheTimelineLosesNoTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gcs{}
		b := g.buffer(taskevents.Options{Events: 2})
		for range 5 {
			b.Ran(task(1), "f", "f", time.Now())
		}
		pass(5 * time.Second)
		if len(g.reports) != 1 || g.reports[0].GetNumProfileEventsDropped() != 3 || len(g.reports[0].GetDroppedTaskAttempts()) != 0 {
			t.Errorf("%v", g.reports)
		}
		g.reports = nil
		without := g.buffer(taskevents.Options{NoTimeline: true})
		without.Ran(task(1), "f", "f", time.Now())
		pass(5 * time.Second)
		if len(g.reports) != 0 {
			t.Errorf("%v", g.reports)
		}
	})
}

func TestCloseSendsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gcs{}
		b := g.buffer(taskevents.Options{Batch: 2})
		for n := range 5 {
			b.Submitted(task(n), call, nil)
		}
		b.Close(t.Context())
		b.Close(t.Context())
		if want := []time.Duration{0, 0, 0}; !slices.Equal(g.times, want) {
			t.Errorf("reported at %v, not %v", g.times, want)
		}
		b.Submitted(task(9), call, nil)
		pass(5 * time.Second)
		if len(g.times) != 3 {
			t.Error("closed, and reports")
		}

		failing := &gcs{fail: 1000}
		b = failing.buffer(taskevents.Options{})
		b.Running(task(1), time.Now())
		b.Close(t.Context())
		if waited := time.Since(failing.start); waited != 0 || len(failing.lost) != 1 {
			t.Errorf("waited %v for a GCS that is gone; lost %v", waited, failing.lost)
		}

		start := time.Now()
		hanging := taskevents.New(taskevents.Options{}, taskevents.Worker{}, func(ctx context.Context, _ *corepb.TaskEventData) error {
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		hanging.Running(task(1), time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		hanging.Close(ctx)
		if waited := time.Since(start); waited != 3*time.Second {
			t.Errorf("waited %v for a GCS that hangs", waited)
		}
	})
}

func TestTextsOfErrorsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gcs{}
		b := g.buffer(taskevents.Options{})
		for n := range 6000 {
			b.Failed(task(n), corepb.ErrorType_ACTOR_DIED, strings.Repeat("\u00e4", 5000)+fmt.Sprint(n))
		}
		pass(5 * time.Second)
		sizes := map[int]int{}
		total := 0
		for _, report := range g.reports {
			for _, e := range report.GetEventsByTask() {
				text := e.GetStateUpdates().GetErrorInfo().GetErrorMessage()
				if !utf8.ValidString(text) || text == "" {
					t.Fatalf("%q", text)
				}
				sizes[len(text)]++
				total += len(text)
			}
		}
		if total > 17<<20 || len(sizes) != 2 || slices.Max(slices.Collect(maps.Keys(sizes))) > 5000 {
			t.Errorf("%d bytes, texts of %v", total, sizes)
		}
	})
}

func TestAnEventIsNotAllocated(t *testing.T) {
	b := taskevents.New(taskevents.Options{Interval: time.Hour}, taskevents.Worker{}, func(context.Context, *corepb.TaskEventData) error { return nil }, nil)
	defer b.Close(t.Context())
	n := 0
	if got := testing.AllocsPerRun(1000, func() {
		from := time.Now()
		b.Submitted(task0, call, nil)
		b.Running(task0, from)
		b.Ran(task0, "Counter.add", "add", from)
		b.Finished(task0)
		n++
	}); got != 0 || n < 1000 {
		t.Errorf("%v allocations in each of %d calls", got, n)
	}
}

var task0 = task(0)

func TestFromEnv(t *testing.T) {
	for _, test := range []struct {
		env    map[string]string
		want   taskevents.Options
		report bool
		err    string
	}{
		{nil, taskevents.Options{Interval: time.Second, Events: 100_000, Batch: 10_000}, true, ""},
		{
			map[string]string{
				"RAY_task_events_report_interval_ms": "50", "RAY_task_events_max_num_status_events_buffer_on_worker": "7",
				"RAY_task_events_send_batch_size": "3", "RAY_enable_timeline": "0",
			},
			taskevents.Options{Interval: 50 * time.Millisecond, Events: 7, Batch: 3, NoTimeline: true},
			true, "",
		},
		{map[string]string{"RAY_task_events_report_interval_ms": "0"}, taskevents.Options{Events: 100_000, Batch: 10_000}, false, ""},
		{
			map[string]string{"RAY_enable_core_worker_task_event_to_gcs": "False"},
			taskevents.Options{Interval: time.Second, Events: 100_000, Batch: 10_000},
			false, "",
		},
		{
			map[string]string{"RAY_task_events_report_interval_ms": "often", "RAY_enable_timeline": "TRUE"},
			taskevents.Options{Interval: time.Second, Events: 100_000, Batch: 10_000},
			true, `RAY_task_events_report_interval_ms="often" is not an integer, 1000 is used`,
		},
	} {
		got, report, err := taskevents.FromEnv(func(name string) string { return test.env[name] })
		if got != test.want || report != test.report || fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
			t.Errorf("%v: %+v, %v, %v", test.env, got, report, err)
		}
	}
}

// BenchmarkRun is what a call of a Go actor pays.
func BenchmarkRun(b *testing.B) {
	buffer := taskevents.New(taskevents.Options{}, taskevents.Worker{}, func(context.Context, *corepb.TaskEventData) error { return nil }, nil)
	defer buffer.Close(b.Context())
	t := task(1)
	b.ReportAllocs()
	for b.Loop() {
		from := time.Now()
		buffer.Running(t, from)
		buffer.Ran(t, "Counter.add", "add", from)
	}
}
