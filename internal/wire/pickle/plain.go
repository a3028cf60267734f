package pickle

// Plain replaces the decoded forms that have a natural Go form, at every level: *List by []any, *Dict whose keys are
// all strings by map[string]any, *ByteArray by []byte. A *Dict with other keys stays a *Dict, a Tuple stays a Tuple;
// their values are made plain, keys are not touched. *Set, *Object, Global and all else stay as they are, with what is
// in them.
//
// v itself is not changed. The result has no cycles and shares no container: what occurs twice in v is copied. Errors
// wrap ErrLimit: a container holds itself, containers nest deeper than 200, or the copy would have more than maxItems
// values, in which each place that names a part counts. They come before anything is allocated. A small pickle can describe
// a huge value by repeating references, so let maxItems follow from the length of the pickle.
func Plain(v any, maxItems int) (any, error) {
	c := counter{left: maxItems, limit: maxItems}
	if err := c.count(v, 0); err != nil {
		return nil, err
	}
	return plain(v), nil
}

// counter bounds what plain will make.
type counter struct{ left, limit int }

func (c *counter) count(v any, depth int) error {
	if c.left--; c.left < 0 {
		return tooMany(c.limit)
	}
	var parts []any
	switch x := v.(type) {
	case Tuple:
		parts = x
	case *List:
		if x != nil {
			parts = x.Items
		}
	case *Dict:
		if depth >= defaultMaxDepth {
			return tooDeep(defaultMaxDepth)
		}
		if x == nil {
			return nil
		}
		for i := range x.Items {
			if err := c.count(x.Items[i].Value, depth+1); err != nil {
				return err
			}
		}
		return nil
	default:
		return nil
	}
	if depth >= defaultMaxDepth {
		return tooDeep(defaultMaxDepth)
	}
	for _, part := range parts {
		if err := c.count(part, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func plain(v any) any {
	switch x := v.(type) {
	case Tuple:
		return Tuple(plainAll(x))
	case *List:
		if x == nil {
			return nil
		}
		return plainAll(x.Items)
	case *Dict:
		if x == nil {
			return nil
		}
		return plainDict(x)
	case *ByteArray:
		if x == nil {
			return nil
		}
		return x.Data
	}
	return v
}

func plainAll(parts []any) []any {
	out := make([]any, len(parts))
	for i, part := range parts {
		out[i] = plain(part)
	}
	return out
}

func plainDict(d *Dict) any {
	for i := range d.Items {
		if _, ok := d.Items[i].Key.(string); !ok {
			out := &Dict{Items: make([]Item, len(d.Items))}
			for j, item := range d.Items {
				out.Items[j] = Item{Key: item.Key, Value: plain(item.Value)}
			}
			return out
		}
	}
	out := make(map[string]any, len(d.Items))
	for _, item := range d.Items {
		out[item.Key.(string)] = plain(item.Value)
	}
	return out
}
