package govalue

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// typeInfo is what is known of a type.
type typeInfo struct {
	// refusal says why values of the type have no plain form; empty if they have.
	refusal string
	fields  []field          // of a struct, in the order of its declaration
	byName  map[string]field // and by name
}

// field is a field of a struct, or one that an embedded struct lends to it.
type field struct {
	name      string
	index     []int
	omitEmpty bool
	omitZero  bool
	tagged    bool
}

var types sync.Map // of *typeInfo by reflect.Type; as many as the program has types

func infoOf(t reflect.Type) *typeInfo {
	if info, ok := types.Load(t); ok {
		return info.(*typeInfo)
	}
	info := &typeInfo{refusal: refusalOf(t)}
	if t.Kind() == reflect.Struct {
		info.fields = fieldsOf(t)
		info.byName = make(map[string]field, len(info.fields))
		for _, f := range info.fields {
			info.byName[f.name] = f
		}
		if len(info.fields) == 0 && t.NumField() > 0 && info.refusal == "" {
			info.refusal = "has no exported field to send"
		}
	}
	known, _ := types.LoadOrStore(t, info)
	return known.(*typeInfo)
}

// refusalOf looks at what a type says of itself. One that has a text or JSON form of its own does not mean its fields; to
// send them would be a guess.
func refusalOf(t reflect.Type) string {
	has := func(is reflect.Type) bool {
		return t.Implements(is) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(is)
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "is a Python object (timedelta) rather than a number; give Seconds() or Nanoseconds()"
	case t == reflect.TypeFor[time.Time]():
		return "is a Python object (datetime) rather than text; give UnixNano() or Format(time.RFC3339Nano)"
	case has(reflect.TypeFor[error]()):
		return "is an error; give its text"
	case has(reflect.TypeFor[json.Marshaler]()), has(reflect.TypeFor[encoding.TextMarshaler]()):
		return "has a text form of its own; give that, or its parts"
	}
	switch t.Kind() {
	case reflect.Complex64, reflect.Complex128, reflect.Chan, reflect.Func, reflect.Uintptr, reflect.UnsafePointer, reflect.Invalid:
		return "has no form outside of Go"
	default:
		return ""
	}
}

// fieldsOf lists the fields that encoding/json would write: a name at a lesser depth of embedding wins, then one that has
// a tag; names that still clash are left out.
func fieldsOf(t reflect.Type) []field {
	type embedded struct {
		t     reflect.Type
		index []int
	}
	var all []field
	taken := map[string]bool{}
	seen := map[reflect.Type]bool{t: true}
	for level := []embedded{{t: t}}; len(level) > 0; {
		var next []embedded
		var found []field
		for _, at := range level {
			for i := range at.t.NumField() {
				sf := at.t.Field(i)
				tag := sf.Tag.Get("json")
				if tag == "-" {
					continue
				}
				name, options, _ := strings.Cut(tag, ",")
				index := append(slices.Clone(at.index), i)
				inner := sf.Type
				if inner.Kind() == reflect.Pointer {
					inner = inner.Elem()
				}
				if sf.Anonymous && name == "" && inner.Kind() == reflect.Struct && refusalOf(inner) == "" {
					if !seen[inner] {
						seen[inner] = true
						next = append(next, embedded{inner, index})
					}
					continue
				}
				if !sf.IsExported() {
					continue
				}
				f := field{name: name, index: index, tagged: name != ""}
				if name == "" {
					f.name = sf.Name
				}
				for option := range strings.SplitSeq(options, ",") {
					f.omitEmpty = f.omitEmpty || option == "omitempty"
					f.omitZero = f.omitZero || option == "omitzero"
				}
				found = append(found, f)
			}
		}
		all = append(all, dominant(found, taken)...)
		level = next
	}
	slices.SortFunc(all, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return all
}

// dominant returns the fields of one depth that are not hidden, and marks their names as taken.
func dominant(found []field, taken map[string]bool) []field {
	byName := map[string][]field{}
	for _, f := range found {
		byName[f.name] = append(byName[f.name], f)
	}
	var out []field
	for _, f := range found {
		rivals := byName[f.name]
		if len(rivals) > 1 {
			rivals = slices.DeleteFunc(slices.Clone(rivals), func(r field) bool { return !r.tagged })
		}
		if !taken[f.name] && len(rivals) == 1 && slices.Equal(rivals[0].index, f.index) {
			out = append(out, f)
		}
	}
	for name := range byName {
		taken[name] = true
	}
	return out
}

// find returns the field of that name, else one whose name differs in case only, as encoding/json does.
func (info *typeInfo) find(name string) (field, bool) {
	if f, ok := info.byName[name]; ok {
		return f, true
	}
	for _, f := range info.fields {
		if strings.EqualFold(f.name, name) {
			return f, true
		}
	}
	return field{}, false
}

func unsupported(t reflect.Type, why string) error {
	return Unsupported("a %v %s", t, why)
}
