package kvjson

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// MaxDocumentDepth is how deeply arrays and objects may be nested in a JSON document that is a value.
const MaxDocumentDepth = 512

// CompactJSON appends value without its insignificant white space when it is one JSON document: valid UTF-8, no lone
// surrogates, no duplicate members, nested no deeper than MaxDocumentDepth. The spelling of numbers and strings and the
// order of members are kept. When it is not, dst is given back as it was and ok is false.
func CompactJSON(dst, value []byte) (_ []byte, ok bool) {
	if !utf8.Valid(value) {
		return dst, false
	}
	start := len(dst)
	s := scanner{data: value, bad: len(value)}
	dst, f := document(dst, &s)
	if f != 0 || s.next() != 0 || s.pos < len(s.data) {
		return dst[:start], false
	}
	return dst, true
}

// compactor copies one document from its scanner to dst, in runs that white space separates.
type compactor struct {
	scanner
	dst []byte
	// from is where the run starts that is not copied yet.
	from  int
	depth int
	// decoded holds the names that had escapes.
	decoded []byte
}

// document appends the document that starts at s.pos, after white space, and leaves s.pos behind its end.
func document(dst []byte, s *scanner) ([]byte, fault) {
	s.next()
	c := compactor{scanner: *s, dst: dst, from: s.pos}
	f := c.value()
	s.pos = c.pos
	return append(c.dst, s.data[c.from:s.pos]...), f
}

// peek skips white space, which ends the run, and gives the next byte.
func (c *compactor) peek() byte {
	if c.pos < len(c.data) && c.data[c.pos] > ' ' {
		return c.data[c.pos]
	}
	c.dst = append(c.dst, c.data[c.from:c.pos]...)
	next := c.next()
	c.from = c.pos
	return next
}

func (c *compactor) value() (f fault) {
	switch first := c.peek(); first {
	case '{', '[':
		if c.depth == MaxDocumentDepth {
			return faultDepth
		}
		c.depth++
		c.pos++
		if first == '{' {
			f = c.object()
		} else {
			f = c.array()
		}
		c.depth--
	case '"':
		_, _, f = c.text()
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		_, _, f = c.number()
	case 't', 'f', 'n':
		_, f = c.word()
	default:
		f = c.unexpected(startOf(first, false))
	}
	return f
}

func (c *compactor) array() fault {
	if c.peek() == ']' {
		c.pos++
		return 0
	}
	for {
		if f := c.value(); f != 0 {
			return f
		}
		switch c.peek() {
		case ',':
			c.pos++
			if c.peek() == ']' {
				return faultTrailingComma
			}
		case ']':
			c.pos++
			return 0
		default:
			return c.unexpected(faultComma)
		}
	}
}

func (c *compactor) object() fault {
	var store [16]span
	names := store[:0]
	if c.peek() == '}' {
		c.pos++
		return 0
	}
	for {
		name, f := c.member()
		if f != 0 {
			return f
		}
		names = append(names, name)
		switch c.peek() {
		case ',':
			c.pos++
			if c.peek() == '}' {
				return faultTrailingComma
			}
		case '}':
			if c.duplicates(names) {
				return faultDuplicate
			}
			c.pos++
			return 0
		default:
			return c.unexpected(faultComma)
		}
	}
}

func (c *compactor) member() (name span, f fault) {
	if first := c.peek(); first != '"' {
		return name, c.unexpected(startOf(first, true))
	}
	raw, escaped, f := c.text()
	if f != 0 {
		return name, f
	}
	name = span{start: c.pos - 1 - len(raw), end: c.pos - 1}
	if escaped {
		name = span{start: len(c.decoded), decoded: true}
		c.decoded = unescape(c.decoded, raw)
		name.end = len(c.decoded)
	}
	if c.peek() != ':' {
		return name, c.unexpected(faultColon)
	}
	c.pos++
	return name, c.value()
}

// span is where a member's name is.
type span struct {
	start, end int
	decoded    bool
}

func (c *compactor) name(s span) []byte {
	if s.decoded {
		return c.decoded[s.start:s.end]
	}
	return c.data[s.start:s.end]
}

// duplicates tells whether two of the names are equal; it may put them in another order.
func (c *compactor) duplicates(names []span) bool {
	if len(names) > 16 { // pairs would be quadratic in what a caller sends
		slices.SortFunc(names, func(a, b span) int { return bytes.Compare(c.name(a), c.name(b)) })
		for i := 1; i < len(names); i++ {
			if bytes.Equal(c.name(names[i-1]), c.name(names[i])) {
				return true
			}
		}
		return false
	}
	for i, a := range names {
		for _, b := range names[:i] {
			if a.end-a.start == b.end-b.start && bytes.Equal(c.name(a), c.name(b)) {
				return true
			}
		}
	}
	return false
}
