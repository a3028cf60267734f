package pickle

// memo is the table of values that later opcodes refer to by number. CPython numbers them from 0 without gaps; other
// numbers are legal, and an index must not decide how much memory is allocated.
type memo struct {
	dense  []any
	sparse map[uint64]any
}

func (m *memo) put(index uint64, v any) {
	switch n := uint64(len(m.dense)); {
	case index < n:
		m.dense[index] = v
	case index == n:
		m.dense = append(m.dense, v)
		delete(m.sparse, index)
	default:
		if m.sparse == nil {
			m.sparse = map[uint64]any{}
		}
		m.sparse[index] = v
	}
}

func (m *memo) get(index uint64) (any, bool) {
	if index < uint64(len(m.dense)) {
		return m.dense[index], true
	}
	v, ok := m.sparse[index]
	return v, ok
}

// next is the index that MEMOIZE gives: the number of entries.
func (m *memo) next() uint64 { return uint64(len(m.dense) + len(m.sparse)) }
