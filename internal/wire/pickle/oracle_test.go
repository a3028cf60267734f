package pickle_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/internal/wire/oracle"
	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// load returns what CPython reads from data, in canonical form.
func load(t testing.TB, o *oracle.Oracle, data []byte, python2 bool) string {
	t.Helper()
	var answer struct{ Canon json.RawMessage }
	o.Ask(t, map[string]any{"ask": "load", "pickle": base64.StdEncoding.EncodeToString(data), "python2": python2}, &answer)
	return compact(t, answer.Canon)
}

func compact(t testing.TB, raw json.RawMessage) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return asJSON(v)
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// canon is the canonical form of a decoded value, the same as in oracle.py.
func canon(v any) any {
	switch x := v.(type) {
	case nil:
		return []any{"none"}
	case bool:
		return []any{"bool", x}
	case int64:
		return []any{"int", fmt.Sprintf("%#x", x)}
	case *big.Int:
		return []any{"int", fmt.Sprintf("%#x", x)}
	case float64:
		if math.IsNaN(x) {
			return []any{"float", "nan"}
		}
		return []any{"float", fmt.Sprintf("%016x", math.Float64bits(x))}
	case string:
		return []any{"str", hex.EncodeToString([]byte(x))}
	case []byte:
		return []any{"bytes", hex.EncodeToString(x)}
	case *pickle.ByteArray:
		return []any{"bytearray", hex.EncodeToString(x.Data)}
	case pickle.Tuple:
		return []any{"tuple", canonAll(x)}
	case *pickle.List:
		return []any{"list", canonAll(x.Items)}
	case *pickle.Dict:
		return []any{"dict", canonItems(x.Items)}
	case *pickle.Set:
		items := canonAll(x.Items)
		slices.SortFunc(items, func(a, b any) int { return strings.Compare(pythonJSON(a), pythonJSON(b)) })
		if x.Frozen {
			return []any{"frozenset", items}
		}
		return []any{"set", items}
	case pickle.Global:
		return []any{"global", x.Module, x.Name}
	case *pickle.Object:
		var kwargs, state any
		if x.Kwargs != nil {
			kwargs = canon(x.Kwargs)
		}
		if x.State != nil {
			state = canon(x.State)
		}
		return []any{
			"object", x.New, canon(x.Class), canonAll(x.Args), kwargs, state, canonAll(x.Items), canonItems(x.Entries),
		}
	}
	return []any{"go", fmt.Sprintf("%T", v)}
}

// pythonJSON is JSON with the spaces of Python's json.dumps, for an equal order of sets.
func pythonJSON(v any) string { return strings.ReplaceAll(asJSON(v), ",", ", ") }

func canonAll(vs []any) []any {
	out := make([]any, len(vs))
	for i, v := range vs {
		out[i] = canon(v)
	}
	return out
}

func canonItems(items []pickle.Item) []any {
	out := make([]any, len(items))
	for i, item := range items {
		out[i] = []any{canon(item.Key), canon(item.Value)}
	}
	return out
}

func base64Bytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
