package pyvalue

import (
	"math/big"
	"time"

	"github.com/seedcore/seedcore/internal/wire/pickle"
	"github.com/seedcore/seedcore/ray/python"
)

// classes are those with a Go form, by the name that a pickle calls. Each returns false where the arguments are not what
// the class itself would write, or have no exact form in Go: the object then keeps its parts.
var classes = map[pickle.Global]func(o *pickle.Object) (any, bool){
	datetimeName("datetime"):                                 datetimeOf,
	datetimeName("date"):                                     dateOf,
	datetimeName("time"):                                     timeOf,
	datetimeName("timedelta"):                                func(o *pickle.Object) (any, bool) { return durationOf(o) },
	{Module: "decimal", Name: "Decimal"}:                     decimalOf,
	{Module: "uuid", Name: "UUID"}:                           uuidOf,
	builtin("complex"):                                       complexOf,
	builtin("bytes"):                                         func(o *pickle.Object) (any, bool) { return bytesOf(o) },
	builtin("bytearray"):                                     byteArrayOf,
	{Module: "_codecs", Name: "encode"}:                      func(o *pickle.Object) (any, bool) { return bytesOf(o) },
	{Module: "numpy.core.numeric", Name: "_frombuffer"}:      arrayOfBuffer,
	{Module: "numpy._core.numeric", Name: "_frombuffer"}:     arrayOfBuffer,
	{Module: "numpy.core.multiarray", Name: "_reconstruct"}:  arrayOfState,
	{Module: "numpy._core.multiarray", Name: "_reconstruct"}: arrayOfState,
	{Module: "numpy.core.multiarray", Name: "scalar"}:        scalarOf,
	{Module: "numpy._core.multiarray", Name: "scalar"}:       scalarOf,
}

// bytesOf reads bytes, also in the form of protocol 2: _codecs.encode(text, "latin1") and bytes().
func bytesOf(v any) ([]byte, bool) {
	switch x := v.(type) {
	case []byte:
		return x, true
	case *pickle.ByteArray:
		return x.Data, true
	case *pickle.Object:
		class, _ := x.Class.(pickle.Global)
		if canonical(class) == builtin("bytes") && len(x.Args) == 0 && bare(x) {
			return []byte{}, true
		}
		if class != (pickle.Global{Module: "_codecs", Name: "encode"}) || len(x.Args) != 2 || x.Args[1] != "latin1" || !bare(x) {
			return nil, false
		}
		text, ok := x.Args[0].(string)
		return latin1(text, ok)
	}
	return nil, false
}

func latin1(text string, ok bool) ([]byte, bool) {
	if !ok {
		return nil, false
	}
	b := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

func byteArrayOf(o *pickle.Object) (any, bool) {
	switch {
	case !bare(o):
		return nil, false
	case len(o.Args) == 0:
		return []byte{}, true
	case len(o.Args) == 1:
		return bytesOf(o.Args[0])
	case len(o.Args) == 2 && o.Args[1] == "latin-1":
		text, ok := o.Args[0].(string)
		return latin1(text, ok)
	}
	return nil, false
}

func complexOf(o *pickle.Object) (any, bool) {
	if len(o.Args) != 2 || !bare(o) {
		return nil, false
	}
	re, ok1 := o.Args[0].(float64)
	im, ok2 := o.Args[1].(float64)
	return complex(re, im), ok1 && ok2
}

func decimalOf(o *pickle.Object) (any, bool) {
	if len(o.Args) != 1 || !bare(o) {
		return nil, false
	}
	text, ok := o.Args[0].(string)
	return python.Decimal(text), ok && python.Decimal(text).Check() == nil
}

// uuidOf reads the state {"int": n} of an object made by __new__, or the call with the hexadecimal form.
func uuidOf(o *pickle.Object) (any, bool) {
	var u python.UUID
	if len(o.Args) == 1 && bare(o) {
		text, ok := o.Args[0].(string)
		return u, ok && u.UnmarshalText([]byte(text)) == nil
	}
	state, ok := o.State.(*pickle.Dict)
	if !ok || len(o.Args) != 0 {
		return nil, false
	}
	v, _ := state.Get("int")
	n, ok := v.(*big.Int)
	if small, isSmall := v.(int64); isSmall {
		n, ok = big.NewInt(small), true
	}
	if !ok || n.Sign() < 0 || n.BitLen() > 128 {
		return nil, false
	}
	n.FillBytes(u[:])
	return u, true
}

// durationOf reads timedelta(days, seconds, microseconds).
func durationOf(v any) (time.Duration, bool) {
	o, ok := v.(*pickle.Object)
	if !ok || o.Class != datetimeName("timedelta") || len(o.Args) != 3 || !bare(o) {
		return 0, false
	}
	days, ok1 := o.Args[0].(int64)
	seconds, ok2 := o.Args[1].(int64)
	micros, ok3 := o.Args[2].(int64)
	const most = int64(1<<63-1) / int64(24*time.Hour)
	if !ok1 || !ok2 || !ok3 || days <= -most || days >= most || seconds < 0 || seconds >= 86400 || micros < 0 || micros >= 1_000_000 {
		return 0, false
	}
	return time.Duration(days)*24*time.Hour + time.Duration(seconds)*time.Second + time.Duration(micros)*time.Microsecond, true
}

func dateOf(o *pickle.Object) (any, bool) {
	if len(o.Args) != 1 || !bare(o) {
		return nil, false
	}
	b, ok := bytesOf(o.Args[0])
	if !ok || len(b) != 4 {
		return nil, false
	}
	d := python.Date{Year: int(b[0])<<8 | int(b[1]), Month: time.Month(b[2]), Day: int(b[3])}
	return d, d.Check() == nil
}

// clock reads hour, minute, second and three bytes of microseconds.
func clock(b []byte) (python.Time, bool) {
	t := python.Time{Hour: int(b[0]), Minute: int(b[1]), Second: int(b[2]), Microsecond: int(b[3])<<16 | int(b[4])<<8 | int(b[5])}
	return t, t.Check() == nil
}

// timeOf reads a time of day. One with a time zone, or in the second of two equal hours, has no Go form.
func timeOf(o *pickle.Object) (any, bool) {
	if len(o.Args) != 1 || !bare(o) {
		return nil, false
	}
	b, ok := bytesOf(o.Args[0])
	if !ok || len(b) != 6 {
		return nil, false
	}
	return clock(b)
}

func datetimeOf(o *pickle.Object) (any, bool) {
	if len(o.Args) == 0 || len(o.Args) > 2 || !bare(o) {
		return nil, false
	}
	b, ok := bytesOf(o.Args[0])
	if !ok || len(b) != 10 {
		return nil, false
	}
	// The second of two equal hours is marked in the month.
	second := b[2]&0x80 != 0
	d := python.DateTime{Date: python.Date{Year: int(b[0])<<8 | int(b[1]), Month: time.Month(b[2] & 0x7f), Day: int(b[3])}}
	if d.Time, ok = clock(b[4:]); !ok || d.Check() != nil {
		return nil, false
	}
	if len(o.Args) == 1 {
		return d, !second
	}
	loc, fixed, ok := zoneOf(o.Args[1])
	if !ok {
		return nil, false
	}
	if fixed {
		return d.In(loc), true
	}
	return instantIn(d, loc, second)
}

// zoneOf reads datetime.timezone(offset[, name]) and zoneinfo.ZoneInfo; fixed tells that the offset never changes.
func zoneOf(v any) (loc *time.Location, fixed, ok bool) {
	o, ok := v.(*pickle.Object)
	if !ok || len(o.Args) == 0 || len(o.Args) > 2 || !bare(o) {
		return nil, false, false
	}
	switch ClassName(o.Class) {
	case "datetime.timezone":
		offset, ok := durationOf(o.Args[0])
		if !ok || offset%time.Second != 0 || offset <= -24*time.Hour || offset >= 24*time.Hour {
			return nil, false, false
		}
		if len(o.Args) == 1 {
			if offset == 0 {
				return time.UTC, true, true
			}
			return time.FixedZone("", int(offset/time.Second)), true, true
		}
		name, ok := o.Args[1].(string)
		return time.FixedZone(name, int(offset/time.Second)), true, ok
	case "zoneinfo.ZoneInfo._unpickle":
		name, ok := o.Args[0].(string)
		if !ok || name == "" || name == "Local" {
			return nil, false, false
		}
		loc, err := time.LoadLocation(name)
		return loc, false, err == nil
	}
	return nil, false, false
}

// instantIn returns the instant at which clocks in loc show d. Where they show it twice, second says which one is meant;
// where they never do, there is none.
func instantIn(d python.DateTime, loc *time.Location, second bool) (any, bool) {
	wall := d.In(time.UTC)
	var found []time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(loc).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second).In(loc)
		if _, now := at.Zone(); now == offset {
			found = append(found, at)
		}
	}
	switch {
	case len(found) == 0:
		return nil, false
	case second:
		return found[len(found)-1], true
	}
	return found[0], true
}
