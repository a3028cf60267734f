package worker_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/corepb"
	"github.com/seedcore/seedcore/worker"
)

func TestValuesGoThereAndBack(t *testing.T) {
	h := actor(t, nil)
	for _, v := range []any{
		nil, true, int64(-5), int64(math.MaxInt64), 2.5, "text",
		[]byte{0, 1, 0xff},
		[]any{int64(1), []any{"two", nil}},
		map[string]any{"a": []any{map[string]any{"b": []byte("c")}}},
	} {
		if got := h.call("echo", v); !reflect.DeepEqual(got, v) {
			t.Errorf("%#v came back as %#v", v, got)
		}
	}
	if got, ok := h.call("echo", []byte{}).([]byte); !ok || len(got) != 0 {
		t.Errorf("no bytes came back as %v", got)
	}
	if got := h.call("__ray_ready__"); got != nil {
		t.Errorf("__ray_ready__ gave %v", got)
	}
}

func TestArgs(t *testing.T) {
	type inner struct {
		Name  string   `json:"name"`
		Sizes []int    `json:"sizes"`
		Extra *float64 `json:"extra,omitempty"`
	}
	checked := make(chan struct{})
	h := actor(t, methods{"check": func(_ *thing, _ context.Context, args worker.Args) (any, error) {
		defer close(checked)
		if args.Len() != 3 {
			t.Errorf("%d arguments", args.Len())
		}
		var got inner
		if err := args.Decode(0, &got); err != nil || got.Name != "n" || !slices.Equal(got.Sizes, []int{1, 2}) {
			t.Errorf("decoded %+v: %v", got, err)
		}
		if b, err := args.Bytes(1); err != nil || string(b) != "raw" {
			t.Errorf("bytes %q: %v", b, err)
		}
		for _, read := range []func() error{
			func() error { _, err := args.Bytes(2); return err },
			func() error { _, err := args.Value(3); return err },
			func() error { _, err := args.Value(-1); return err },
			func() error { var n int; return args.Decode(2, &n) },
			func() error { var n int; return args.Decode(3, &n) },
		} {
			if err := read(); err == nil || !strings.Contains(err.Error(), "argument") {
				t.Errorf("a wrong read gave %v", err)
			}
		}
		if v, ok, err := args.Named("key"); v != int64(9) || !ok || err != nil {
			t.Errorf("named %v %v %v", v, ok, err)
		}
		if v, ok, err := args.Named("none"); v != nil || ok || err != nil {
			t.Errorf("named %v %v %v", v, ok, err)
		}
		return nil, nil
	}})
	h.call("check", map[string]any{"name": "n", "sizes": []any{1, 2}}, []byte("raw"), "text", keyword{"key", 9})
	<-checked
}

func TestBadArgumentsAreExceptions(t *testing.T) {
	h := actor(t, nil)
	ref := h.task("echo", 1)
	ref.TaskSpec.Args[1] = &corepb.TaskArg{ObjectRef: &corepb.ObjectReference{ObjectId: bytes.Repeat([]byte{1}, 28)}}
	odd := h.task("echo", 1)
	odd.TaskSpec.Args = odd.TaskSpec.Args[:1]
	key := h.task("echo", keyword{"k", 1})
	key.TaskSpec.Args[0].Data = []byte("short")
	value := h.task("echo", 1)
	value.TaskSpec.Args[1].Metadata = []byte("ODD")
	missing := h.task("echo")
	for _, test := range []struct {
		req  *corepb.PushTaskRequest
		want string
	}{
		{ref, "object reference"}, {odd, "pairs"}, {key, "name of argument 0"}, {value, "ODD"}, {missing, "argument 0 is missing"},
	} {
		if text := h.exception(test.req, h.push(test.req)); !strings.Contains(text, test.want) {
			t.Errorf("%q does not say %q", text, test.want)
		}
	}
	h.call("echo", "still here")
}

func TestReturnValuesAreAsManyAsWanted(t *testing.T) {
	h := actor(t, methods{
		"three": func(*thing, context.Context, worker.Args) (any, error) { return []any{"a", []byte("b"), 3}, nil },
		"bad":   func(*thing, context.Context, worker.Args) (any, error) { return []any{1, make(chan int)}, nil },
		"endless": func(*thing, context.Context, worker.Args) (any, error) {
			return nil, errors.New(strings.Repeat("long ", 1<<20))
		},
	})
	push := func(method string, n uint64) (*corepb.PushTaskRequest, *corepb.PushTaskReply) {
		req := h.task(method, "x")
		req.TaskSpec.NumReturns = n
		return req, h.push(req)
	}
	for n, want := range map[uint64][]any{
		0: {}, 1: {[]any{"a", []byte("b"), int64(3)}}, 3: {"a", []byte("b"), int64(3)},
	} {
		req, reply := push("three", n)
		if got := h.values(req, reply); !reflect.DeepEqual(got, want) {
			t.Errorf("%d: %v", n, got)
		}
	}
	for _, test := range []struct {
		method string
		n      uint64
		want   string
	}{
		{"three", 2, "wants 2 return values, and the method returned a []any of 3"},
		{"echo", 2, "returned a string"},
		{"bad", 1, "chan int"},
		{"bad", 2, "return value 1"},
		{"fail", 3, "it failed"},
	} {
		req, reply := push(test.method, test.n)
		if text := h.exception(req, reply); !strings.Contains(text, test.want) {
			t.Errorf("%s, %d: %s", test.method, test.n, text)
		}
	}
	if _, reply := push("fail", 0); !reply.GetIsApplicationError() || len(reply.GetReturnObjects()) != 0 {
		t.Errorf("%v", reply)
	}
	many := h.task("endless")
	many.TaskSpec.NumReturns = 10_000
	if text := h.exception(many, h.push(many)); len(text) > 1000 {
		t.Errorf("%d bytes, 10,000 times", len(text))
	}
	tooMany := h.task("three")
	tooMany.TaskSpec.NumReturns = math.MaxUint64
	h.refuses(tooMany, "18446744073709551615 return values")
	h.seq--
	dynamic := h.task("three")
	dynamic.TaskSpec.ReturnsDynamic = true
	if text := h.exception(dynamic, h.push(dynamic)); !strings.Contains(text, "dynamic return values") {
		t.Error(text)
	}
}
