package organism_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seedcore/seedcore/organism"
)

func counts(pairs ...any) []organism.Count {
	list := []organism.Count{}
	for i := 0; i < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		count, _ := pairs[i+1].(int)
		list = append(list, organism.Count{ID: id, Count: int64(count)})
	}
	return list
}

func TestMissTracker(t *testing.T) {
	m := organism.NewMissTracker()
	for _, id := range []string{"b", "a", "c", "a", "d", "d", ""} {
		if err := m.Incr(id); err != nil {
			t.Fatal(err)
		}
	}
	all := counts("a", 2, "d", 2, "b", 1, "c", 1, "", 1)
	for n, want := range map[int64][]organism.Count{
		0: {}, 1: all[:1], 3: all[:3], 5: all, 100: all, math.MaxInt64: all,
		-1: all[:4], -4: all[:1], -5: {}, -100: {}, math.MinInt64: {},
	} {
		if got := m.TopN(n); !slices.Equal(got, want) {
			t.Errorf("top %d: got %v, want %v", n, got, want)
		}
	}
}

func TestMwStoreDropsTheLeastUsed(t *testing.T) {
	m, err := organism.NewMwStore(3)
	if err != nil {
		t.Fatal(err)
	}
	step := func(id string, delta int64, want ...any) {
		t.Helper()
		if err := m.Incr(id, delta); err != nil {
			t.Fatal(err)
		}
		if got := m.TopN(10); !slices.Equal(got, counts(want...)) {
			t.Errorf("after %s%+d: got %v, want %v", id, delta, got, want)
		}
	}
	step("a", 1, "a", 1)
	step("b", 1, "a", 1, "b", 1)
	step("c", 2, "c", 2, "a", 1, "b", 1)
	step("d", 1, "c", 2, "b", 1, "d", 1) // a came first of those with 1
	step("e", 0, "c", 2, "b", 1, "d", 1) // the new one is the unique minimum
	step("b", 5, "b", 6, "c", 2, "d", 1)
	step("a", 3, "b", 6, "a", 3, "c", 2)
	step("c", -10, "b", 6, "a", 3, "c", -8)
	step("f", -8, "b", 6, "a", 3, "f", -8)
}

// mwModel is the rule of the store as it is written down, without a heap.
type mwModel struct {
	order  []string // in the order of insertion
	counts map[string]int64
	limit  int
}

func (m *mwModel) incr(id string, delta int64) {
	if _, known := m.counts[id]; !known {
		m.order = append(m.order, id)
	}
	m.counts[id] += delta
	for len(m.order) > m.limit {
		least := slices.MinFunc(m.order, func(a, b string) int { return cmp.Compare(m.counts[a], m.counts[b]) })
		m.order = slices.DeleteFunc(m.order, func(id string) bool { return id == least })
		delete(m.counts, least)
	}
}

func (m *mwModel) top() []organism.Count {
	list := []organism.Count{}
	for _, id := range m.order {
		list = append(list, organism.Count{ID: id, Count: m.counts[id]})
	}
	slices.SortStableFunc(list, func(a, b organism.Count) int { return cmp.Compare(b.Count, a.Count) })
	return list
}

func TestMwStoreAgreesWithItsRule(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for range 60 {
		limit := 1 + rng.IntN(8)
		store, err := organism.NewMwStore(limit)
		if err != nil {
			t.Fatal(err)
		}
		model := mwModel{counts: map[string]int64{}, limit: limit}
		for step := range 300 {
			id, delta := fmt.Sprint(rng.IntN(12)), int64(rng.IntN(6)-1)
			if err := store.Incr(id, delta); err != nil {
				t.Fatal(err)
			}
			model.incr(id, delta)
			if got, want := store.TopN(100), model.top(); !slices.Equal(got, want) {
				t.Fatalf("limit %d, step %d, %s%+d: got %v, want %v", limit, step, id, delta, got, want)
			}
		}
	}
}

func TestMwStoreBounds(t *testing.T) {
	if _, err := organism.NewMwStore(0); err == nil {
		t.Error("a store for nothing was made")
	}
	m, err := organism.NewMwStore(organism.MwStoreItems)
	if err != nil {
		t.Fatal(err)
	}
	for i := range organism.MwStoreItems + 50 {
		if err := m.Incr(fmt.Sprint(i), 1); err != nil {
			t.Fatal(err)
		}
	}
	top := m.TopN(math.MaxInt64)
	if len(top) != 10_000 || top[0].ID != "50" {
		t.Errorf("it holds %d, the first is %v", len(top), top[0])
	}
	for _, delta := range []int64{math.MaxInt64, math.MinInt64} {
		id := fmt.Sprint("far", delta)
		if err := m.Incr(id, delta); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Incr("far9223372036854775807", 1); err == nil || !strings.Contains(err.Error(), "64 bits") {
		t.Errorf("an overflow: %v", err)
	}
	if got := m.TopN(1); !slices.Equal(got, counts("far9223372036854775807", math.MaxInt64)) {
		t.Errorf("after the overflow: %v", got)
	}
}

func TestSharedCache(t *testing.T) {
	c := organism.NewSharedCache()
	if got := c.Get("none"); got != nil {
		t.Errorf("an absent key has %v", got)
	}
	values := map[string]any{
		"nil": nil, "false": false, "zero": int64(0), "empty": "", "big": uint64(math.MaxUint64), "pi": 3.14,
		"bytes": []byte("x"), "list": []any{int64(1), []any{}, map[string]any{"a": []byte{1}}}, "": map[string]any{},
	}
	for key, value := range values {
		if err := c.Set(key, value); err != nil {
			t.Errorf("%q: %v", key, err)
		}
		if got := c.Get(key); !reflect.DeepEqual(got, value) {
			t.Errorf("%q: got %v, want %v", key, got, value)
		}
	}
	all := c.GetAll()
	if !reflect.DeepEqual(all, values) {
		t.Errorf("got %v, want %v", all, values)
	}
	delete(all, "pi")
	if c.Get("pi") != 3.14 {
		t.Error("get_all handed out the map itself")
	}
	if err := c.Set("pi", "new"); err != nil || c.Get("pi") != "new" {
		t.Errorf("it was not overwritten: %v, %v", c.Get("pi"), err)
	}
}

func TestSharedCacheCopiesWhatItStores(t *testing.T) {
	c := organism.NewSharedCache()
	buffer := []byte("abc")
	nested := map[string]any{"list": []any{buffer}}
	if err := c.Set("k", nested); err != nil {
		t.Fatal(err)
	}
	buffer[0] = 'x'
	nested["more"] = 1
	if got := c.Get("k"); !reflect.DeepEqual(got, map[string]any{"list": []any{[]byte("abc")}}) {
		t.Errorf("got %v", got)
	}
}

func TestSharedCacheRefusesWhatItCannotHandOut(t *testing.T) {
	c := organism.NewSharedCache()
	deep := any("x")
	for range 200 {
		deep = []any{deep}
	}
	for says, value := range map[string]any{
		`key "a": item 1: a struct {}`: map[string]any{"a": []any{1, struct{}{}}},
		"map[interface {}]":            map[any]any{1: 2},
		"nested deeper":                deep,
	} {
		if err := c.Set("k", value); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
	if len(c.GetAll()) != 0 {
		t.Errorf("it stored %v", c.GetAll())
	}
}
