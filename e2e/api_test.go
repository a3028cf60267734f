package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seedcore/seedcore/internal/raytest"
)

// documented is a command of docs/api.md with the answer that stands below it.
var documented = regexp.MustCompile("(?s)```sh\n(curl [^\n]*)\n```\n(\\d{3})\n```json\n(.*?)\n```")

// What docs/api.md tells is what happens: its commands are run in their order, and each answer has the status and the
// keys that stand there, and the values where they are texts or flags that a client goes by.
func TestTheDocumentedAPI(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(raytest.Root(t), "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	commands := documented.FindAllStringSubmatch(string(text), -1)
	if n := strings.Count(string(text), "curl -s "); n != len(commands) || n < 11 {
		t.Fatalf("%d commands, %d of them with an answer", n, len(commands))
	}
	namespace := raytest.Namespace(t)
	p := start(t, environment(raytest.Head(t).ClientAddress(), namespace), "serve")
	watcher := connected(t, namespace)
	t.Cleanup(func() { removeActors(t, watcher) })
	p.ready(2 * time.Minute)
	for i, c := range commands {
		command, example := c[1], c[3]
		t.Run(fmt.Sprintf("command %d", i+1), func(t *testing.T) {
			want, err := strconv.Atoi(c[2])
			if err != nil {
				t.Fatal(err)
			}
			code, body := run(t, strings.Replace(command, "localhost:8002", p.address, 1))
			if code != want {
				t.Fatalf("%s: %d instead of %d: %s", command, code, want, body)
			}
			var shown, got any
			if err := json.Unmarshal([]byte(example), &shown); err != nil {
				t.Fatalf("the example: %v", err)
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if err := alike(shown, got, "answer"); err != nil {
				t.Errorf("%s: %v\ngot %s", command, err, body)
			}
		})
	}
	resp, err := http.Get("http://" + p.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := os.ReadFile(filepath.Join(raytest.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE ((?:seedcore|api)_\w+)`).FindAllStringSubmatch(string(metrics), -1) {
		if row := "| `" + m[1] + "` |"; !strings.Contains(string(text), row) && !strings.Contains(string(connection), row) {
			t.Errorf("neither docs/api.md nor docs/metrics.md has %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:seedcore|api)_\\w+)` \\|").FindAllStringSubmatch(string(text), -1) {
		if m[1] != "seedcore_http_panics_total" && !strings.Contains(string(metrics), "\n"+m[1]) {
			t.Errorf("/metrics does not have %s", m[1])
		}
	}
}

// run runs a command line of the form `curl -s [-X METHOD] HOST/PATH [-d 'BODY']`: with curl, or by itself where there is
// no curl.
func run(t *testing.T, line string) (code int, body []byte) {
	t.Helper()
	line, data, hasData := strings.Cut(line, " -d '")
	words := strings.Fields(line)
	method, url := http.MethodGet, words[len(words)-1]
	if i := slices.Index(words, "-X"); i > 0 {
		method = words[i+1]
	}
	data = strings.TrimSuffix(data, "'")
	if _, err := exec.LookPath("curl"); err == nil {
		args := slices.Concat(words[1:], []string{"-w", "\n%{http_code}"})
		if hasData {
			args = append(args, "-d", data)
		}
		out, err := exec.CommandContext(t.Context(), "curl", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		end := strings.LastIndexByte(string(out), '\n')
		if code, err = strconv.Atoi(string(out[end+1:])); err != nil {
			t.Fatal(err)
		}
		return code, out[:end]
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+url, strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

// spelled are the keys whose texts are part of the API.
var spelled = []string{"success", "error", "message", "cause", "sent", "detail", "type", "msg", "status", "organ_count", "ray_state", "state", "agents"}

// alike compares an answer with an example: the same keys, but for those that "..." stands for, the same kinds of values.
func alike(shown, got any, at string) error {
	switch shown := shown.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %v", at, got)
		}
		_, more := shown["..."]
		for key, value := range shown {
			if key == "..." {
				continue
			}
			other, ok := m[key]
			if !ok {
				return fmt.Errorf("%s.%s is missing", at, key)
			}
			if err := alike(value, other, at+"."+key); err != nil {
				return err
			}
			if at == "answer.result" { // the task's own success is by chance
				continue
			}
			if slices.Contains(spelled, key) && fmt.Sprint(value) != fmt.Sprint(other) {
				return fmt.Errorf("%s.%s is %v instead of %v", at, key, other, value)
			}
		}
		for key := range m {
			if _, ok := shown[key]; !ok && !more {
				return fmt.Errorf("%s.%s is not documented", at, key)
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) == 0 && len(shown) > 0 {
			return fmt.Errorf("%s is %v", at, got)
		}
		for i, value := range shown {
			if i < len(list) {
				if err := alike(value, list[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
					return err
				}
			}
		}
	default:
		if fmt.Sprintf("%T", shown) != fmt.Sprintf("%T", got) {
			return fmt.Errorf("%s is a %T instead of a %T", at, got, shown)
		}
	}
	return nil
}
