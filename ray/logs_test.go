package ray_test

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"testing"

	"github.com/seedcore/seedcore/ray"
)

// recorder keeps records.
type recorder struct {
	slog.Handler // for the methods that nobody calls here
	mu           sync.Mutex
	texts        map[string]map[string]string
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, record slog.Record) error {
	attrs := map[string]string{}
	record.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts[record.Message] = attrs
	return nil
}

func (r *recorder) find(text string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.texts[text]
}

func TestClusterLog(t *testing.T) {
	t.Parallel()
	log := &recorder{texts: map[string]map[string]string{}}
	s := open(t, ray.Config{ClusterLog: slog.New(log)})
	ctx := deadline(t)
	said := "said by " + s.ID()
	ref, err := s.Submit(ctx, ray.Function{Name: "say", Source: "import sys\ndef say(text):\n    print(text)\n    print(text + ' loudly', file=sys.stderr)\n"}, said)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(s.Get(ctx, ref)); err != nil {
		t.Fatal(err)
	}
	for text, stream := range map[string]string{said: "stdout", said + " loudly": "stderr"} {
		waitFor(t, "what the task printed", func() bool { return log.find(text) != nil })
		if attrs := log.find(text); attrs["stream"] != stream || attrs["pid"] == "" || attrs["source"] != "say" {
			t.Errorf("%s: %v", text, attrs)
		}
	}
}

func TestLogRecords(t *testing.T) {
	for text, c := range map[string]struct {
		level int32
		want  []ray.LogRecord
	}{
		"\x1b[36m(say pid=7)\x1b[0m hello \n": {-1, []ray.LogRecord{{Level: slog.LevelInfo, Text: "hello", Attrs: map[string]string{"stream": "stdout", "source": "say", "pid": "7"}}}},
		"(pid=7, ip=10.0.0.1) a\nb": {-2, []ray.LogRecord{
			{Level: slog.LevelInfo, Text: "a", Attrs: map[string]string{"stream": "stderr", "pid": "7", "ip": "10.0.0.1"}},
			{Level: slog.LevelInfo, Text: "b", Attrs: map[string]string{"stream": "stderr"}},
		}},
		"careful": {30, []ray.LogRecord{{Level: slog.LevelWarn, Text: "careful", Attrs: map[string]string{"logger": "l"}}}},
		"wrong":   {40, []ray.LogRecord{{Level: slog.LevelError, Text: "wrong", Attrs: map[string]string{"logger": "l"}}}},
		"detail":  {10, []ray.LogRecord{{Level: slog.LevelDebug, Text: "detail", Attrs: map[string]string{"logger": "l"}}}},
		"\n \n":   {-1, nil},
	} {
		if got := ray.LogRecords(c.level, "l", text); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q became %+v", text, got)
		}
	}
}
