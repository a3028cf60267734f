package organism

import (
	"bytes"
	"fmt"
	"maps"
	"time"
)

// MwStoreItems is how many ids the working-memory store counts.
const MwStoreItems = 10_000

// maxStoredDepth bounds the nesting of a value in the shared cache.
const maxStoredDepth = 100

// MissTracker counts items that were looked for and not found. It runs as the actor [MissTrackerName]; like every actor
// here it relies on getting one call at a time, Ping apart. It keeps an entry for every id for as long as it lives, and loses them
// all when its process ends.
type MissTracker struct {
	misses tally
}

// NewMissTracker returns one that has counted nothing.
func NewMissTracker() *MissTracker { return &MissTracker{misses: newTally(0)} }

// Incr adds one to the count of an item.
func (m *MissTracker) Incr(itemID string) error {
	return m.misses.add(itemID, 1)
}

// TopN returns the n items with the highest counts, those with the same count in the order in which they were first
// seen. As in a Python slice, 0 means none and a negative n all but the last -n.
func (m *MissTracker) TopN(n int64) []Count { return m.misses.top(n) }

// SharedCache holds values for every organ. It runs as the actor [SharedCacheName] and relies on getting one call at a
// time, Ping apart. Nothing expires and there is no limit; it loses everything when its process ends.
type SharedCache struct {
	values map[string]any
}

// NewSharedCache returns an empty one.
func NewSharedCache() *SharedCache { return &SharedCache{values: map[string]any{}} }

// Get returns the value of a key, nil when there is none. The caller must not change what is inside it.
func (c *SharedCache) Get(key string) any { return c.values[key] }

// Set stores a copy of a value. It may be nil, a bool, a number, a string, bytes, a []any or a map[string]any, nested up
// to 100 deep; anything else is an error, since it could not be handed out again.
func (c *SharedCache) Set(key string, value any) error {
	value, err := storable(value, 0)
	if err != nil {
		return err
	}
	c.values[key] = value
	return nil
}

// GetAll returns a copy of the map. The caller must not change what is inside its values.
func (c *SharedCache) GetAll() map[string]any { return maps.Clone(c.values) }

// storable returns a copy that shares nothing with value: what arrives in a call may lie in the call's own buffer.
func storable(value any, depth int) (any, error) {
	if depth > maxStoredDepth {
		return nil, fmt.Errorf("it is nested deeper than %d", maxStoredDepth)
	}
	switch value := value.(type) {
	case nil, bool, int, int64, uint64, float64, string:
		return value, nil
	case []byte:
		return bytes.Clone(value), nil
	case []any:
		items := make([]any, len(value))
		for i, item := range value {
			stored, err := storable(item, depth+1)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			items[i] = stored
		}
		return items, nil
	case map[string]any:
		entries := make(map[string]any, len(value))
		for key, item := range value {
			stored, err := storable(item, depth+1)
			if err != nil {
				return nil, fmt.Errorf("key %.40q: %w", key, err)
			}
			entries[key] = stored
		}
		return entries, nil
	default:
		return nil, fmt.Errorf("a %T cannot be stored; give plain values: numbers, text, bytes, lists and maps with text keys", value)
	}
}

// MwStore counts the use of working-memory items; it does not hold the items. It runs as the actor [MwStoreName] and
// relies on getting one call at a time, Ping apart. It loses its counts when its process ends.
type MwStore struct {
	uses tally
}

// NewMwStore returns one that counts up to maxItems ids. A maxItems below 1 is an error.
func NewMwStore(maxItems int) (*MwStore, error) {
	if maxItems < 1 {
		return nil, fmt.Errorf("max_items is %d; it must be at least 1", maxItems)
	}
	return &MwStore{uses: newTally(maxItems)}, nil
}

// Incr adds delta to the count of an id. While there are more ids than the store holds, the one with the smallest count
// is dropped, of equals the one that came first.
func (m *MwStore) Incr(id string, delta int64) error {
	return m.uses.add(id, delta)
}

// TopN returns the n ids with the highest counts, those with the same count in the order in which they came. As in a
// Python slice, 0 means none and a negative n all but the last -n.
func (m *MwStore) TopN(n int64) []Count { return m.uses.top(n) }

// Ping returns the actor's name, time and process. It may run beside other calls.
func (m *MissTracker) Ping() Pong {
	return pong(MissTrackerName, MissTrackerClass, singletonSpec(MissTrackerClass), time.Now())
}

// Ping returns the actor's name, time and process. It may run beside other calls.
func (c *SharedCache) Ping() Pong {
	return pong(SharedCacheName, SharedCacheClass, singletonSpec(SharedCacheClass), time.Now())
}

// Ping returns the actor's name, time and process. It may run beside other calls.
func (m *MwStore) Ping() Pong {
	return pong(MwStoreName, MwStoreClass, singletonSpec(MwStoreClass), time.Now())
}
