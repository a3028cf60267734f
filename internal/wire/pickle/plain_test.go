package pickle_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

func TestPlain(t *testing.T) {
	object := &pickle.Object{Class: global("a", "b"), Args: pickle.Tuple{list(1)}}
	set := &pickle.Set{Items: []any{pickle.Tuple{1}}}
	for name, c := range map[string]struct{ value, want any }{
		"nil":        {nil, nil},
		"scalar":     {int64(7), int64(7)},
		"list":       {list("a", list(), nil), []any{"a", []any{}, nil}},
		"dict":       {dict("a", dict("b", list())), map[string]any{"a": map[string]any{"b": []any{}}}},
		"last value": {dict("a", 1, "a", 2), map[string]any{"a": 2}},
		"empty dict": {dict(), map[string]any{}},
		"other keys": {dict("a", list(1), int64(1), list(2)), dict("a", []any{1}, int64(1), []any{2})},
		"tuple":      {pickle.Tuple{list(1), pickle.Tuple{}}, pickle.Tuple{[]any{1}, pickle.Tuple{}}},
		"bytearray":  {list(&pickle.ByteArray{Data: []byte("x")}), []any{[]byte("x")}},
		"object":     {list(object, set), []any{object, set}},
		"global":     {list(global("a", "b")), []any{global("a", "b")}},
		"nil list":   {list((*pickle.List)(nil), (*pickle.Dict)(nil), (*pickle.ByteArray)(nil)), []any{nil, nil, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pickle.Plain(c.value, 10_000_000)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, %v", got, err)
			}
		})
	}
}

func TestPlainLeavesItsInputAlone(t *testing.T) {
	inner := list(int64(1))
	v := list(inner, inner)
	got, err := pickle.Plain(v, 10_000_000)
	if err != nil {
		t.Fatal(err)
	}
	plain := got.([]any)
	plain[0].([]any)[0] = "changed"
	if plain[1].([]any)[0] != int64(1) || inner.Items[0] != int64(1) || v.Items[0] != any(inner) {
		t.Errorf("the copies share a container: %v, %v", plain, inner)
	}
}

func TestPlainLimits(t *testing.T) {
	wrap := func(n int) any {
		var v any
		for range n {
			v = list(v)
		}
		return v
	}
	if _, err := pickle.Plain(wrap(200), 10_000_000); err != nil {
		t.Errorf("200 levels: %v", err)
	}
	if _, err := pickle.Plain(wrap(201), 10_000_000); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("201 levels: %v", err)
	}
	d := dict()
	d.Items = items("self", pickle.Tuple{d})
	if _, err := pickle.Plain(d, 10_000_000); !errors.Is(err, pickle.ErrLimit) {
		t.Errorf("a dict in itself: %v", err)
	}
}
