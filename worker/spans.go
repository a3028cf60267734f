package worker

import "slices"

// spans is a sorted set of sequence numbers, kept as closed ranges that neither overlap nor touch: what is skipped is
// nearly always contiguous.
type spans []span

type span struct{ lo, hi int64 }

// locate returns the index of the first range that ends at n or later.
func (s spans) locate(n int64) int {
	i, _ := slices.BinarySearchFunc(s, n, func(r span, n int64) int {
		if r.hi < n {
			return -1
		}
		return 1
	})
	return i
}

func (s spans) contains(n int64) bool {
	i := s.locate(n)
	return i < len(s) && s[i].lo <= n
}

func (s *spans) add(n int64) {
	if s.contains(n) {
		return
	}
	i := s.locate(n)
	before := i > 0 && (*s)[i-1].hi == n-1
	after := i < len(*s) && (*s)[i].lo == n+1
	switch {
	case before && after:
		(*s)[i-1].hi = (*s)[i].hi
		*s = slices.Delete(*s, i, i+1)
	case before:
		(*s)[i-1].hi = n
	case after:
		(*s)[i].lo = n
	default:
		*s = slices.Insert(*s, i, span{n, n})
	}
}

// pass removes everything below next, and returns the first number at or above next that is not in the set, which it
// leaves with numbers above that one only.
func (s *spans) pass(next int64) int64 {
	*s = slices.Delete(*s, 0, s.locate(next))
	if len(*s) > 0 && (*s)[0].lo <= next {
		next = (*s)[0].hi + 1
		*s = slices.Delete(*s, 0, 1)
	}
	return next
}
