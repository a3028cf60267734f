package pickle

import "fmt"

// build runs an opcode that makes or fills a value with parts.
func (d *decoder) build(op opcode) error {
	switch op {
	case opEmptyTuple:
		return d.push(Tuple{})
	case opEmptyList:
		return d.push(&List{})
	case opEmptyDict:
		return d.push(&Dict{})
	case opEmptySet:
		return d.push(&Set{})
	case opTuple1:
		return d.tuple(1)
	case opTuple2:
		return d.tuple(2)
	case opTuple3:
		return d.tuple(3)
	case opTuple, opList, opFrozenSet, opDict:
		return d.collect(op)
	case opAppend, opAppends, opAddItems:
		return d.extend(op)
	case opSetItem, opSetItems:
		return d.setItems(op)
	case opStackGlob:
		return d.stackGlobal()
	case opReduce, opNewObj, opNewObjEx:
		return d.reduce(op)
	case opInst, opObj:
		return d.instance(op)
	case opBuild:
		return d.state()
	case opPersID, opBinPersID:
		return d.resolve(op)
	}
	return fmt.Errorf("%w: unknown opcode", ErrSyntax)
}

// copied moves values off the stack into a slice of their own.
func copied(vs []any) []any {
	out := make([]any, len(vs))
	copy(out, vs)
	clear(vs)
	return out
}

func (d *decoder) tuple(n int) error {
	vs, err := d.popN(n)
	if err != nil {
		return err
	}
	return d.push(Tuple(copied(vs)))
}

// collect makes a container of all that is above the mark.
func (d *decoder) collect(op opcode) error {
	vs, err := d.popMark()
	if err != nil {
		return err
	}
	switch op {
	case opTuple:
		return d.push(Tuple(copied(vs)))
	case opList:
		return d.push(&List{Items: copied(vs)})
	case opFrozenSet:
		return d.push(&Set{Items: copied(vs), Frozen: true})
	default:
		items, err := appendItems(nil, vs)
		if err != nil {
			return err
		}
		return d.push(&Dict{Items: items})
	}
}

// added returns what an opcode adds to the value below it: the n topmost values, or all above the mark for n = 0. They
// alias the stack until the next push; whoever keeps them clears them.
func (d *decoder) added(n int) (vs []any, target any, err error) {
	if n > 0 {
		vs, err = d.popN(n)
	} else {
		vs, err = d.popMark()
	}
	if err != nil {
		return nil, nil, err
	}
	target, err = d.top()
	return vs, target, err
}

// extend adds one value, or all above the mark, to the list, set or object below.
func (d *decoder) extend(op opcode) error {
	n := 0
	if op == opAppend {
		n = 1
	}
	vs, target, err := d.added(n)
	if err != nil {
		return err
	}
	switch x := target.(type) {
	case *List:
		if op == opAddItems {
			return mismatch(target)
		}
		x.Items = append(x.Items, vs...)
	case *Set:
		if op != opAddItems || x.Frozen {
			return mismatch(target)
		}
		x.Items = append(x.Items, vs...)
	case *Object:
		x.Items = append(x.Items, vs...)
	default:
		return mismatch(target)
	}
	clear(vs)
	return nil
}

func mismatch(target any) error {
	return fmt.Errorf("%w: the value below is a %T", ErrSyntax, target)
}

// setItems adds one key and value, or all pairs above the mark, to the dict or object below.
func (d *decoder) setItems(op opcode) error {
	n := 0
	if op == opSetItem {
		n = 2
	}
	vs, target, err := d.added(n)
	if err != nil {
		return err
	}
	switch x := target.(type) {
	case *Dict:
		x.Items, err = appendItems(x.Items, vs)
	case *Object:
		x.Entries, err = appendItems(x.Entries, vs)
	default:
		return mismatch(target)
	}
	return err
}

func appendItems(items []Item, vs []any) ([]Item, error) {
	if len(vs)%2 != 0 {
		return items, fmt.Errorf("%w: %d keys and values do not pair up", ErrSyntax, len(vs))
	}
	if items == nil {
		items = make([]Item, 0, len(vs)/2)
	}
	for i := 0; i < len(vs); i += 2 {
		items = append(items, Item{Key: vs[i], Value: vs[i+1]})
	}
	clear(vs)
	return items, nil
}

func (d *decoder) stackGlobal() error {
	vs, err := d.popN(2)
	if err != nil {
		return err
	}
	module, ok1 := vs[0].(string)
	name, ok2 := vs[1].(string)
	if !ok1 || !ok2 {
		return fmt.Errorf("%w: module and name are a %T and a %T, not strings", ErrSyntax, vs[0], vs[1])
	}
	clear(vs)
	g, err := newGlobal(module, name)
	if err != nil {
		return err
	}
	return d.push(g)
}

// reduce makes an object of a class and its arguments.
func (d *decoder) reduce(op opcode) error {
	n := 2
	if op == opNewObjEx {
		n = 3
	}
	vs, err := d.popN(n)
	if err != nil {
		return err
	}
	args, ok := vs[1].(Tuple)
	if !ok {
		return fmt.Errorf("%w: the arguments are a %T, not a tuple", ErrSyntax, vs[1])
	}
	o := &Object{Class: vs[0], Args: args, New: op != opReduce}
	if n == 3 {
		if o.Kwargs, ok = vs[2].(*Dict); !ok || o.Kwargs == nil {
			return fmt.Errorf("%w: the keyword arguments are a %T, not a dict", ErrSyntax, vs[2])
		}
	}
	clear(vs)
	return d.push(o)
}

// instance makes an object of a class and what is above the mark: protocols 0 and 1.
func (d *decoder) instance(op opcode) error {
	var class any
	var err error
	if op == opInst {
		if class, err = d.global(); err != nil {
			return err
		}
	}
	vs, err := d.popMark()
	if err != nil {
		return err
	}
	args := copied(vs)
	if op == opObj {
		if len(args) == 0 {
			return fmt.Errorf("%w: no class above the mark", ErrSyntax)
		}
		class, args = args[0], args[1:]
	}
	return d.push(&Object{Class: class, Args: args})
}

// state attaches what BUILD would hand to the object.
func (d *decoder) state() error {
	v, err := d.pop()
	if err != nil {
		return err
	}
	target, err := d.top()
	if err != nil {
		return err
	}
	o, ok := target.(*Object)
	switch {
	case !ok || o == nil:
		return mismatch(target)
	case o.State != nil:
		return fmt.Errorf("%w: an object with two states", ErrUnsupported)
	}
	o.State = v
	return nil
}

// readOnly makes the buffer on the stack one that cannot be written to.
func (d *decoder) readOnly() error {
	v, err := d.top()
	if err != nil {
		return err
	}
	switch x := v.(type) {
	case []byte:
	case *ByteArray:
		d.stack[len(d.stack)-1] = x.Data
	default:
		return mismatch(v)
	}
	return nil
}

// resolve asks the hook for the value of a persistent id.
func (d *decoder) resolve(op opcode) error {
	var id any
	var err error
	if op == opPersID {
		id, err = d.textID()
	} else {
		id, err = d.pop()
	}
	if err != nil {
		return err
	}
	if d.persistent == nil {
		return fmt.Errorf("%w: persistent ids mean nothing here (Options.Persistent is nil)", ErrUnsupported)
	}
	// The hook may recurse into the id: it gets a tree.
	if _, err := d.ids.height(id, 0); err != nil {
		return err
	}
	v, err := d.persistent(id)
	if err != nil {
		return fmt.Errorf("persistent id: %w", err)
	}
	if isNilContainer(v) {
		return fmt.Errorf("%w: Options.Persistent returned a nil %T", ErrUnsupported, v)
	}
	return d.pushAgain(v)
}

// textID reads the id of PERSID.
func (d *decoder) textID() (string, error) {
	id, err := d.line()
	if err == nil && asciiEnd(id) < len(id) {
		err = fmt.Errorf("%w: an id in a line of text must be ASCII, and is %.40q", ErrSyntax, id)
	}
	return id, err
}
