package jsonpatch

import (
	"bytes"
	"encoding/json"
)

// node is a JSON value. It is text until somebody looks inside; then it is a container, whose elements are text in turn.
// So a patch costs what it touches, and a document of a million elements is not a million objects.
type node struct {
	raw  []byte
	open *container
	// gone marks a member that was removed; its place is kept so that the others' places hold.
	gone bool
}

// container is an array or object that was looked into.
type container struct {
	object bool
	kids   []node
	// names are the members' names with their quotes, as written; index finds a member by its decoded name.
	names [][]byte
	index map[string]int
}

// inside opens the node; nil when it is a scalar.
func (n *node) inside() *container {
	if n.open == nil && len(n.raw) > 1 {
		switch n.raw[0] {
		case '{':
			n.open = splitObject(n.raw)
		case '[':
			n.open = &container{kids: splitArray(n.raw)}
		}
	}
	return n.open
}

// object opens the node when it is an object; nil otherwise.
func (n *node) object() *container {
	if c := n.inside(); c != nil && c.object {
		return c
	}
	return nil
}

// text gives the node as JSON text.
func (n *node) text() []byte {
	if n.open == nil {
		return n.raw
	}
	return n.appendTo(make([]byte, 0, len(n.raw)+64))
}

// size is about how much there is to look at.
func (n *node) size() int {
	if n.open == nil {
		return len(n.raw)
	}
	total := 2
	for i := range n.open.kids {
		total += 8 + n.open.kids[i].size()
	}
	return total
}

func (n *node) appendTo(dst []byte) []byte {
	c := n.open
	if c == nil {
		return append(dst, n.raw...)
	}
	begin, end := byte('['), byte(']')
	if c.object {
		begin, end = '{', '}'
	}
	dst = append(dst, begin)
	first := true
	for i := range c.kids {
		if c.kids[i].gone {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if c.object {
			dst = append(append(dst, c.names[i]...), ':')
		}
		dst = c.kids[i].appendTo(dst)
	}
	return append(dst, end)
}

// member gives the object's member of that name, nil when there is none.
func (c *container) member(name string) *node {
	if i, ok := c.index[name]; ok {
		return &c.kids[i]
	}
	return nil
}

// set replaces the member in its place, or adds it at the end; written is the name with quotes, as it is to be written.
func (c *container) set(name string, written []byte, value node) {
	if i, ok := c.index[name]; ok {
		c.kids[i] = value
		return
	}
	c.index[name] = len(c.kids)
	c.kids = append(c.kids, value)
	c.names = append(c.names, written)
}

// remove takes the member out.
func (c *container) remove(name string) {
	c.kids[c.index[name]] = node{gone: true}
	delete(c.index, name)
}

func (c *container) insert(i int, value node) {
	c.kids = append(c.kids, node{})
	copy(c.kids[i+1:], c.kids[i:])
	c.kids[i] = value
}

func (c *container) cut(i int) {
	c.kids = append(c.kids[:i], c.kids[i+1:]...)
}

// live is the number of elements or members.
func (c *container) live() int {
	if c.object {
		return len(c.index)
	}
	return len(c.kids)
}

func splitArray(raw []byte) (kids []node) {
	for at := 1; at < len(raw) && raw[at] != ']'; at++ { // the step skips the comma
		end := valueEnd(raw, at)
		kids = append(kids, node{raw: raw[at:end:end]})
		at = end
		if at < len(raw) && raw[at] == ']' {
			break
		}
	}
	return kids
}

func splitObject(raw []byte) *container {
	c := &container{object: true, index: make(map[string]int)}
	for at := 1; at < len(raw) && raw[at] != '}'; at++ {
		nameEnd := valueEnd(raw, at)
		if nameEnd >= len(raw) {
			break
		}
		end := valueEnd(raw, nameEnd+1)
		written := raw[at:nameEnd:nameEnd]
		c.set(unquote(written), written, node{raw: raw[nameEnd+1 : end : end]})
		at = end
		if at < len(raw) && raw[at] == '}' {
			break
		}
	}
	return c
}

// valueEnd gives the offset behind the value that begins at the offset at.
func valueEnd(raw []byte, at int) int {
	depth := 0
	for at < len(raw) {
		switch raw[at] {
		case '"':
			at = stringEnd(raw, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth <= 1 {
				return at + depth // a scalar ends before the bracket, a container behind it
			}
			depth--
		case ',', ':':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return len(raw)
}

// stringEnd gives the offset behind the string that begins at the offset at.
func stringEnd(raw []byte, at int) int {
	for at++; at < len(raw); at++ {
		next := bytes.IndexAny(raw[at:], `"\`)
		if next < 0 {
			break
		}
		at += next
		if raw[at] == '"' {
			return at + 1
		}
		at++ // what is escaped
	}
	return len(raw)
}

// quote writes a name as a JSON string.
func quote(name string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(name) //nolint:errchkjson // any string can be written
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// unquote decodes a string as written.
func unquote(written []byte) string {
	if len(written) < 2 {
		return string(written)
	}
	inside := written[1 : len(written)-1]
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	var s string
	if json.Unmarshal(written, &s) != nil {
		return string(inside)
	}
	return s
}
