package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedcore/seedcore/server"
)

func TestUnusableBodies(t *testing.T) {
	h := unconnected(t, server.Config{})
	const execute, create = "/organism/execute/cognitive_organ_1", "/tier0/agents/create"
	for _, c := range []struct{ path, body, want string }{
		{execute, "", `{"detail":[{"type":"missing","loc":["body"],"msg":"Field required","input":null}]}`},
		{execute, "null", `{"detail":[{"type":"dict_type","loc":["body"],"msg":"Input should be a valid dictionary","input":null}]}`},
		{execute, "[]", `{"type":"dict_type","loc":["body"],"msg":"Input should be a valid dictionary","input":[]}`},
		{execute, `"text"`, `{"type":"dict_type","loc":["body"],"msg":"Input should be a valid dictionary","input":"text"}`},
		{execute, "{", `"type":"json_invalid","loc":["body",1],"msg":"JSON decode error","input":{},"ctx":{"error":`},
		{execute, `{"task_data":{}} tail`, `"type":"json_invalid","loc":["body",17],"msg":"JSON decode error","input":{},"ctx":{"error":"Extra data"}`},
		{execute, `{"task_data":[1]}`, `{"type":"dict_type","loc":["body","task_data"],"msg":"Input should be a valid dictionary","input":[1]}`},
		{execute, `{"task_data":null}`, `{"type":"dict_type","loc":["body","task_data"]`},
		{execute, `{"task_data":"x"}`, `{"type":"dict_type","loc":["body","task_data"],"msg":"Input should be a valid dictionary","input":"x"}`},
		{execute, `{"task_data":{"n":[1,18446744073709551616]}}`, `"loc":["body","task_data","n",1],"msg":"Input should be a whole number of at most 64 bits`},
		{execute, `{"task_data":{"n":1e999}}`, `"loc":["body","task_data","n"],"msg":"Input should be a finite number`},
		{create, `{"agent_id":5}`, `{"type":"string_type","loc":["body","agent_id"],"msg":"Input should be a valid string","input":5}`},
		{create, `{"agent_id":null,"role_probs":[]}`, `"loc":["body","role_probs"],"msg":"Input should be a valid dictionary","input":[]}`},
	} {
		code, got := ask(t, h, "POST", c.path, c.body)
		if code != http.StatusUnprocessableEntity || !strings.Contains(got, c.want) {
			t.Errorf("body %q: %d %s; want %s", c.body, code, got, c.want)
		}
		for _, leak := range []string{"map[", "organism.", "float64", "interface"} {
			if strings.Contains(got, leak) {
				t.Errorf("body %q: the answer speaks Go: %s", c.body, got)
			}
		}
	}
	large := `{"task_data":{"x":"` + strings.Repeat("y", 9<<20) + `"}}`
	if code, got := ask(t, h, "POST", execute, large); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of %d bytes: %d %s", len(large), code, got)
	}
	if _, got := ask(t, h, "POST", execute, `["`+strings.Repeat("y", 5000)+`"]`); len(got) > 1000 {
		t.Errorf("a refusal of a large body has %d bytes", len(got))
	}
}

func TestNumbersKeepTheirValue(t *testing.T) {
	s := newServer(t, server.Config{})
	for text, want := range map[string]any{
		"9007199254740993":     int64(9007199254740993),
		"-9223372036854775808": int64(math.MinInt64),
		"18446744073709551615": uint64(math.MaxUint64),
		"0":                    int64(0),
		"1.0":                  1.0,
		"1e3":                  1000.0,
		"0.1":                  0.1,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{"task_data":{"deep":[{"n":`+text+`}]}}`))
		task, ok := s.ReadBody(w, r)
		if !ok {
			t.Fatalf("%s: %s", text, w.Body)
		}
		if got := task["deep"].([]any)[0].(map[string]any)["n"]; got != want {
			t.Errorf("%s became %v (%T)", text, got, got)
		}
	}
}

// Whatever the body is, the answer is JSON, and a body that is taken has the values that it had.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"task_data":{"a":[1,2.5,{"b":null}]}}`, `{"task_data":{"n":9007199254740993}}`, `{"task_data":{"n":1e400}}`, `{"task_data":1}`, "{\"\xff\":1}", `[[[[`} {
		f.Add(seed)
	}
	s := newServer(f, server.Config{})
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		task, ok := s.ReadBody(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(body)))
		if !ok {
			if !json.Valid(w.Body.Bytes()) || w.Code != http.StatusUnprocessableEntity {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			return
		}
		if _, err := json.Marshal(task); err != nil {
			t.Fatal(err)
		}
	})
}

// A path with a slash too many leads to the route without it, with method and body kept.
func TestTrailingSlashIsRedirected(t *testing.T) {
	h := unconnected(t, server.Config{})
	for path, want := range map[string]string{
		"/healthz/": "/healthz", "/tier0/agents/?limit=3": "/tier0/agents?limit=3",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if w.Code != http.StatusTemporaryRedirect || w.Header().Get("Location") != want || w.Body.Len() > 0 {
			t.Errorf("%s: %d %q %s", path, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	for _, path := range []string{"/", "/nowhere/", "/organism/execute/", "/healthz//"} {
		if code, body := ask(t, h, "GET", path, ""); code != http.StatusNotFound && code != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.Post(server.URL+"/organism/execute/nowhere/", "application/json", strings.NewReader(`{"task_data":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNotFound || resp.Request.Method != http.MethodPost {
		t.Errorf("followed: %s %s", resp.Request.Method, resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// serving runs a server on pipes until stop is called; then served has what Serve returned.
func serving(t *testing.T) (ln *pipeListener, stop context.CancelFunc, served <-chan error) {
	t.Helper()
	s := newServer(t, server.Config{})
	ln = &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s.ListenOn(ln)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	return ln, stop, ended
}

// A client that does not send what it announced is given up, so that it cannot hold a connection for ever.
func TestABodyThatDoesNotComeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, stop, served := serving(t)
		client := ln.dial()
		start := time.Now()
		if _, err := io.WriteString(client, "POST /organism/execute/random HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Error(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if took := time.Since(start); resp.StatusCode != http.StatusRequestTimeout || took != server.BodyTimeout {
			t.Errorf("%s after %s", resp.Status, took)
		}
		_ = client.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A server that stops says so to probes and to new requests while one is under way, and cuts that one in the end.
func TestAServerThatStopsSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, stop, served := serving(t)
		stuck := ln.dial()
		if _, err := io.WriteString(stuck, "POST /organism/execute/random HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		start := time.Now()
		stop()
		synctest.Wait()
		for request, want := range map[string]string{
			"GET /readyz":                   `503 "cause":"stopping"`,
			"GET /healthz":                  `200 "status":"ok"`,
			"POST /organism/execute/random": `503 "sent":"no"`,
			"POST /tier0/agents/create":     `503 "message":"server: it is stopping"`,
		} {
			client := ln.dial()
			if _, err := io.WriteString(client, request+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"); err != nil {
				t.Error(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			code, text, _ := strings.Cut(want, " ")
			if err != nil || strconv.Itoa(resp.StatusCode) != code || !strings.Contains(string(body), text) {
				t.Errorf("%s: %d %s, %v; want %s", request, resp.StatusCode, body, err, want)
			}
			_ = client.Close()
		}
		err := <-served
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "1 requests were cut") || took < server.DrainTimeout || took > server.DrainTimeout+2*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		_ = stuck.Close()
	})
}

// pipeListener accepts connections in memory, whose deadlines follow the test's clock.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) dial() net.Conn {
	client, accepted := net.Pipe()
	l.conns <- accepted
	return client
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
