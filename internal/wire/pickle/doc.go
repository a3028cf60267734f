// Package pickle writes and reads Python's pickle format as data: it builds values and never runs, imports or looks up
// anything.
//
// [Marshal] writes protocol 5. [Unmarshal] reads protocols 0 to 5. What a pickle would call (REDUCE, NEWOBJ, BUILD and
// their kin) becomes an [Object] that names the class and holds the arguments and the state:
//
//	data, err := pickle.Marshal(pickle.Call{
//		Func: pickle.Global{Module: "datetime", Name: "date"},
//		Args: pickle.Tuple{2026, 11, 24},
//	})
//	...
//	v, err := pickle.Unmarshal(data, pickle.Options{})
//	...
//	date := v.(*pickle.Object) // Class: Global{"datetime", "date"}, Args: Tuple{int64(2026), int64(11), int64(24)}
//
// Input may come from anyone. Nesting and the number of values are bounded by [Options], memory by the length of the
// input. Not supported, and refused with [ErrUnsupported]: the extension registry of copyreg (EXT1, EXT2, EXT4), and text
// of Python 2 that is not ASCII.
//
// All functions are safe for concurrent use; values are not synchronized.
package pickle
