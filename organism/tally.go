package organism

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
)

// Count is one line of a list of the most counted.
type Count struct {
	ID    string
	Count int64
}

// tally counts ids. It remembers the order in which they came, and with a limit it drops the least counted.
type tally struct {
	entries map[string]*tallyEntry
	arrived uint64
	limit   int          // 0: none
	least   leastCounted // the entries again, kept only when there is a limit
}

type tallyEntry struct {
	id      string
	count   int64
	arrival uint64
	index   int // in least
}

func newTally(limit int) tally {
	return tally{entries: map[string]*tallyEntry{}, limit: limit}
}

// add fails, and changes nothing, when the sum is beyond an int64.
func (t *tally) add(id string, delta int64) error {
	entry, known := t.entries[id]
	if !known {
		entry = &tallyEntry{id: id, arrival: t.arrived}
	}
	sum := entry.count + delta
	if (sum > entry.count) != (delta > 0) {
		return fmt.Errorf("the count of %.40q is %d; adding %d is more than 64 bits hold", id, entry.count, delta)
	}
	entry.count = sum
	if !known {
		t.entries[id] = entry
		t.arrived++
	}
	if t.limit == 0 {
		return nil
	}
	if known {
		heap.Fix(&t.least, entry.index)
	} else {
		heap.Push(&t.least, entry)
	}
	for len(t.entries) > t.limit {
		dropped, _ := heap.Pop(&t.least).(*tallyEntry)
		delete(t.entries, dropped.id)
	}
	return nil
}

// top returns the n most counted, in the order of their arrival where counts are equal. A negative n leaves out as many
// from the end, as a Python slice does.
func (t *tally) top(n int64) []Count {
	entries := make([]*tallyEntry, 0, len(t.entries))
	for _, entry := range t.entries {
		entries = append(entries, entry)
	}
	slices.SortFunc(entries, func(a, b *tallyEntry) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.arrival, b.arrival))
	})
	size := int64(len(entries))
	if n < 0 {
		n = max(-size, n) + size
	}
	counts := make([]Count, 0, min(n, size))
	for _, entry := range entries[:min(n, size)] {
		counts = append(counts, Count{ID: entry.id, Count: entry.count})
	}
	return counts
}

// leastCounted is a heap with the entry to drop next at its root: the smallest count, the earliest arrival.
type leastCounted []*tallyEntry

func (h leastCounted) Len() int { return len(h) }

func (h leastCounted) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].count, h[j].count), cmp.Compare(h[i].arrival, h[j].arrival)) < 0
}

func (h leastCounted) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *leastCounted) Push(x any) {
	entry, _ := x.(*tallyEntry)
	entry.index = len(*h)
	*h = append(*h, entry)
}

func (h *leastCounted) Pop() any {
	last := len(*h) - 1
	entry := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return entry
}
