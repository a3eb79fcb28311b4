package jsonpatch

import (
	"encoding/json"
	"fmt"
)

// MaxOperations is how many operations a JSON patch may have.
const MaxOperations = 1000

// Patch is a JSON patch (RFC 6902) that was read. It can be applied any number of times, concurrently.
type Patch struct{ operations []operation }

type operation struct {
	op         string
	path, from pointer
	value      []byte
}

// Parse reads a JSON patch. Its errors are *OperationError of the kind ErrInvalid, or ErrInvalid itself when the patch is not an
// array of objects. Members that RFC 6902 does not define are ignored, as it demands.
func Parse(patch []byte) (*Patch, error) {
	root := node{raw: patch}
	list := root.inside()
	if list == nil || list.object {
		return nil, fmt.Errorf("%w: it must be an array of operations", ErrInvalid)
	}
	if len(list.kids) > MaxOperations {
		return nil, fmt.Errorf("%w: it may have at most %d operations", ErrInvalid, MaxOperations)
	}
	p := &Patch{operations: make([]operation, 0, len(list.kids))}
	for i := range list.kids {
		o, member, detail := parseOperation(list.kids[i].object())
		if detail != "" {
			return nil, &OperationError{Index: i, Member: member, Detail: detail, kind: ErrInvalid}
		}
		p.operations = append(p.operations, o)
	}
	return p, nil
}

func parseOperation(c *container) (o operation, member, detail string) {
	if c == nil {
		return o, "op", "each operation must be an object"
	}
	var ok bool
	if o.op, ok = textMember(c, "op"); !ok {
		return o, "op", "each operation needs op, a string"
	}
	if o.path, ok = pointerMember(c, "path"); !ok {
		return o, "path", "each operation needs path, a JSON Pointer such as /a/0 (RFC 6901)"
	}
	switch o.op {
	case "remove":
	case "move", "copy":
		if o.from, ok = pointerMember(c, "from"); !ok {
			return o, "from", o.op + " needs from, a JSON Pointer"
		}
	case "add", "replace", "test":
		value := c.member("value")
		if value == nil {
			return o, "value", o.op + " needs value"
		}
		o.value = value.raw
	default:
		return o, "op", "op must be one of add, remove, replace, move, copy and test"
	}
	return o, "", ""
}

func textMember(c *container, name string) (s string, ok bool) {
	m := c.member(name)
	if m == nil || len(m.raw) == 0 || m.raw[0] != '"' || json.Unmarshal(m.raw, &s) != nil {
		return "", false
	}
	return s, true
}

func pointerMember(c *container, name string) (p pointer, ok bool) {
	s, ok := textMember(c, name)
	if !ok {
		return nil, false
	}
	return parsePointer(s)
}

// maxWork bounds what one patch may copy, compare and move, in bytes: a few operations could otherwise double a document
// again and again, or compare it with itself a thousand times.
const maxWork = 256 << 20

// Apply gives the document after the patch, all of it or an error: a *OperationError of the kind ErrFailed or ErrTooLarge.
func (p *Patch) Apply(document []byte) ([]byte, error) {
	a := applier{root: node{raw: document}}
	for i := range p.operations {
		if member, err := a.apply(&p.operations[i]); err != nil {
			return nil, &OperationError{Index: i, Member: member, Detail: err.detail, kind: err.kind}
		}
	}
	return a.root.text(), nil
}

// applier is a document on its way through a patch.
type applier struct {
	root node
	work int
}

type failure struct {
	kind   error
	detail string
}

func failed(detail string) *failure { return &failure{kind: ErrFailed, detail: detail} }

const absent = "the document has nothing at this place"

// apply runs one operation; after a failure, member is the operation's member that could not be met.
func (a *applier) apply(o *operation) (member string, _ *failure) {
	switch o.op {
	case "add":
		return "path", a.add(o.path, node{raw: o.value})
	case "remove":
		return "path", a.remove(o.path)
	case "replace":
		at := o.path.find(&a.root)
		if at == nil {
			return "path", failed(absent)
		}
		*at = node{raw: o.value}
	case "move":
		return a.move(o)
	case "copy":
		from := o.from.find(&a.root)
		if from == nil {
			return "from", failed(absent)
		}
		text := from.text()
		if f := a.charge(len(text)); f != nil {
			return "from", f
		}
		return "path", a.add(o.path, node{raw: text})
	case "test":
		at := o.path.find(&a.root)
		if at == nil {
			return "path", failed(absent)
		}
		if f := a.charge(at.size()); f != nil {
			return "path", f
		}
		if !equal(at, &node{raw: o.value}) {
			return "value", failed("the document has another value at this place")
		}
	}
	return "", nil
}

func (a *applier) charge(n int) *failure {
	if a.work += n; a.work > maxWork {
		return &failure{kind: ErrTooLarge, detail: "the patch copies, compares or moves too much"}
	}
	return nil
}

// add puts the value at the place: a member is set, an element inserted.
func (a *applier) add(path pointer, value node) *failure {
	if len(path) == 0 {
		a.root = value
		return nil
	}
	last := path[len(path)-1]
	parent := path[:len(path)-1].find(&a.root)
	if parent == nil {
		return failed("the document has nothing that this place could be in")
	}
	c := parent.inside()
	switch {
	case c == nil:
		return failed("the place would be inside of a value that is neither an object nor an array")
	case c.object:
		c.set(last, quote(last), value)
		return nil
	}
	i, ok := len(c.kids), true
	if last != "-" {
		i, ok = arrayIndex(last, len(c.kids))
	}
	if !ok {
		return failed("the array has no such index; - is the one behind the last")
	}
	if f := a.charge(nodeBytes * (len(c.kids) - i)); f != nil {
		return f
	}
	c.insert(i, value)
	return nil
}

// nodeBytes is about what moving one element costs.
const nodeBytes = 40

func (a *applier) remove(path pointer) *failure {
	if path.find(&a.root) == nil {
		return failed(absent)
	}
	if len(path) == 0 {
		return failed("the whole document cannot be removed; delete the key instead")
	}
	last := path[len(path)-1]
	c := path[:len(path)-1].find(&a.root).inside()
	if c.object {
		c.remove(last)
		return nil
	}
	i, _ := arrayIndex(last, len(c.kids)-1)
	if f := a.charge(nodeBytes * (len(c.kids) - i)); f != nil {
		return f
	}
	c.cut(i)
	return nil
}

func (a *applier) move(o *operation) (member string, _ *failure) {
	from := o.from.find(&a.root)
	if from == nil {
		return "from", failed(absent)
	}
	if o.path.within(o.from) {
		return "path", failed("a value cannot be moved into itself")
	}
	if len(o.from) == 0 {
		return "", nil // the whole document to its own place
	}
	value := *from
	if f := a.remove(o.from); f != nil {
		return "from", f
	}
	return "path", a.add(o.path, value)
}
