package xlang_test

import (
	"fmt"

	"github.com/seedcore/seedcore/internal/wire/xlang"
)

func Example() {
	data, metadata, err := xlang.Encode(map[string]any{"type": "general", "n": 3})
	if err != nil {
		panic(err)
	}
	v, err := xlang.Decode(data, metadata)
	fmt.Println(string(metadata), v, err)
	// Output: XLANG map[n:3 type:general] <nil>
}
