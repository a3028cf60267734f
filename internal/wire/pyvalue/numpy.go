package pyvalue

import (
	"fmt"
	"strings"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray/python"
)

// arrayOfBuffer reads _frombuffer(buffer, dtype, shape, order), which protocol 5 writes for contiguous arrays.
func arrayOfBuffer(o *pickle.Object) (any, bool) {
	if len(o.Args) != 4 || !bare(o) {
		return nil, false
	}
	data, ok1 := bytesOf(o.Args[0])
	kind, ok2 := dtypeOf(o.Args[1])
	shape, ok3 := shapeOf(o.Args[2])
	a := &python.Array{DType: kind, Shape: shape, Fortran: o.Args[3] == "F", Data: data}
	return a, ok1 && ok2 && ok3 && (a.Fortran || o.Args[3] == "C") && a.Check() == nil
}

// arrayOfState reads _reconstruct(ndarray, (0,), b"b") with the state (version, shape, dtype, fortran, data).
func arrayOfState(o *pickle.Object) (any, bool) {
	state, ok := o.State.(pickle.Tuple)
	if !ok || len(state) != 5 || len(o.Args) != 3 || o.Args[0] != NumPyArray || len(o.Items)+len(o.Entries) > 0 {
		return nil, false
	}
	shape, ok1 := shapeOf(state[1])
	kind, ok2 := dtypeOf(state[2])
	fortran, ok3 := state[3].(bool)
	data, ok4 := bytesOf(state[4])
	a := &python.Array{DType: kind, Shape: shape, Fortran: fortran, Data: data}
	return a, ok1 && ok2 && ok3 && ok4 && a.Check() == nil
}

// scalarOf reads scalar(dtype, data): a plain Go value, or an array without dimensions for one that has a unit.
func scalarOf(o *pickle.Object) (any, bool) {
	if len(o.Args) != 2 || !bare(o) {
		return nil, false
	}
	kind, ok1 := dtypeOf(o.Args[0])
	data, ok2 := bytesOf(o.Args[1])
	a := &python.Array{DType: kind, Shape: []int{}, Data: data}
	if !ok1 || !ok2 || a.Check() != nil {
		return nil, false
	}
	if strings.ContainsRune("Mm", rune(kind[1])) {
		return a, true
	}
	return a.Item()
}

func shapeOf(v any) ([]int, bool) {
	tuple, ok := v.(pickle.Tuple)
	shape := make([]int, len(tuple))
	for i, n := range tuple {
		length, isInt := n.(int64)
		if !isInt || length < 0 || int64(int(length)) != length {
			return nil, false
		}
		shape[i] = int(length)
	}
	return shape, ok
}

// dtypeOf reads numpy.dtype(name, align, copy) with the state (version, byte order, subarray, names, fields, size,
// alignment, flags[, (metadata, (unit, count, ...))]). Records and arrays in elements have no form.
func dtypeOf(v any) (string, bool) {
	o, ok := v.(*pickle.Object)
	if !ok || o.Class != (pickle.Global{Module: "numpy", Name: "dtype"}) || len(o.Args) == 0 {
		return "", false
	}
	name, ok := o.Args[0].(string)
	state, isTuple := o.State.(pickle.Tuple)
	if !ok || !isTuple || len(state) < 8 || state[2] != nil || state[3] != nil || state[4] != nil || name == "" {
		return "", false
	}
	order, ok := state[1].(string)
	if !ok {
		return "", false
	}
	unit := ""
	if name[0] == 'M' || name[0] == 'm' {
		if unit, ok = unitOf(state); !ok {
			return "", false
		}
	}
	return order + name + unit, true
}

// unitOf reads the unit of a datetime64 or timedelta64, as in "[ns]" or "[25s]".
func unitOf(state pickle.Tuple) (string, bool) {
	if len(state) < 9 {
		return "", false
	}
	meta, ok := state[8].(pickle.Tuple)
	if !ok || len(meta) != 2 {
		return "", false
	}
	parts, ok := meta[1].(pickle.Tuple)
	if !ok || len(parts) < 2 {
		return "", false
	}
	unit, ok := bytesOf(parts[0])
	if text, isText := parts[0].(string); isText {
		unit, ok = []byte(text), true
	}
	count, isInt := parts[1].(int64)
	switch {
	case !ok || !isInt || count < 1 || len(unit) == 0:
		return "", false
	case string(unit) == "generic":
		return "", true
	case count == 1:
		return "[" + string(unit) + "]", true
	}
	return fmt.Sprintf("[%d%s]", count, unit), true
}
