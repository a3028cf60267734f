package pickle

import "fmt"

// What Options leaves at zero, and what holds for Marshal.
const (
	defaultMaxDepth = 200
	defaultMaxItems = 10_000_000
)

// highestMaxDepth keeps the stack of whoever walks a value far from its end, which no program survives.
const highestMaxDepth = 100_000

func tooDeep(limit int) error {
	return fmt.Errorf("%w: nested deeper than %d containers, or a container holds itself", ErrLimit, limit)
}

func tooMany(limit int) error {
	return fmt.Errorf("%w: more than %d values", ErrLimit, limit)
}

// walker measures how deeply containers nest. The decoder itself does not recurse, and appending to a container that
// already sits in another one deepens both, so that depth is known only when a value is complete.
type walker struct {
	maxDepth int
	// heights holds the containers seen so far, so that one which occurs many times is entered once and a cycle ends.
	// It stays nil for values in which nothing occurs twice.
	heights map[any]int
	// budget is how many values may still be looked at.
	budget int
}

// height returns how many containers nest in v, 0 for a scalar; depth is how many are around v. A container that holds
// itself counts once: whoever walks such a value needs a limit of its own.
func (w *walker) height(v any, depth int) (int, error) {
	if w.budget--; w.budget < 0 {
		return 0, fmt.Errorf("%w: too many values", ErrLimit)
	}
	key := v
	switch x := v.(type) {
	case Tuple:
		if len(x) == 0 {
			key = nil
		} else {
			key = &x[0]
		}
	case *List, *Dict, *Set, *Object:
		if isNilContainer(v) {
			return 0, nil
		}
	default:
		return 0, nil
	}
	if h, ok := w.heights[key]; ok && key != nil {
		if depth+h > w.maxDepth {
			return 0, tooDeep(w.maxDepth)
		}
		return h, nil
	}
	if depth >= w.maxDepth {
		return 0, tooDeep(w.maxDepth)
	}
	if w.heights != nil && key != nil {
		w.heights[key] = 0
	}
	h, err := w.inner(v, depth+1)
	if err != nil {
		return 0, err
	}
	if w.heights != nil && key != nil {
		w.heights[key] = h + 1
	}
	return h + 1, nil
}

// isNilContainer is true only for what a hook returned; the decoder makes no nil pointers.
func isNilContainer(v any) bool {
	switch x := v.(type) {
	case *List:
		return x == nil
	case *Dict:
		return x == nil
	case *Set:
		return x == nil
	case *Object:
		return x == nil
	}
	return false
}

// inner returns the height of the highest part of container v.
func (w *walker) inner(v any, depth int) (int, error) {
	switch x := v.(type) {
	case Tuple:
		return w.highest(x, depth)
	case *List:
		return w.highest(x.Items, depth)
	case *Set:
		return w.highest(x.Items, depth)
	case *Dict:
		return w.highestItem(x.Items, depth)
	case *Object:
		parts := []any{x.Class, x.Args, x.State}
		if x.Kwargs != nil {
			parts = append(parts, x.Kwargs)
		}
		a, err := w.highest(parts, depth)
		if err != nil {
			return 0, err
		}
		b, err := w.highest(x.Items, depth)
		if err != nil {
			return 0, err
		}
		c, err := w.highestItem(x.Entries, depth)
		return max(a, b, c), err
	}
	return 0, nil
}

func (w *walker) highest(parts []any, depth int) (int, error) {
	top := 0
	for _, part := range parts {
		h, err := w.height(part, depth)
		if err != nil {
			return 0, err
		}
		top = max(top, h)
	}
	return top, nil
}

func (w *walker) highestItem(items []Item, depth int) (int, error) {
	top := 0
	for i := range items {
		k, err := w.height(items[i].Key, depth)
		if err != nil {
			return 0, err
		}
		v, err := w.height(items[i].Value, depth)
		if err != nil {
			return 0, err
		}
		top = max(top, k, v)
	}
	return top, nil
}
