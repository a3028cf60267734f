package pickle_test

import (
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/pickle"
)

// A call that Python makes when it reads the pickle, and what comes back as data.
func Example() {
	data, err := pickle.Marshal(pickle.Call{
		Func: pickle.Global{Module: "datetime", Name: "date"},
		Args: pickle.Tuple{2026, 11, 24},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := pickle.Unmarshal(data, pickle.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	date := v.(*pickle.Object)
	fmt.Println(date.Class, date.Args)
	// Output: datetime.date [2026 11 24]
}

// A persistent id travels as an id; the reader decides what it means.
func ExampleUnmarshal_persistent() {
	data, _ := pickle.Marshal(pickle.Tuple{"ref", pickle.Persistent{ID: "obj-7"}})
	v, err := pickle.Unmarshal(data, pickle.Options{
		Persistent: func(id any) (any, error) { return fmt.Sprintf("<object %v>", id), nil },
	})
	fmt.Println(v, err)
	// Output: [ref <object obj-7>] <nil>
}
