package kvjson

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// fail makes the error of a fault at the scanner's position, in the value being read.
func (d *Decoder) fail(f fault) error { return d.failAt("", f) }

// failAt makes the error of a fault at the scanner's position, in that member of the value being read.
func (d *Decoder) failAt(member string, f fault) error {
	return d.wrong(problem.InvalidJSON, member, d.scan.pos, "%s", f.String())
}

// wrong makes the error of what stands at the offset at, in that member of the value being read.
func (d *Decoder) wrong(code problem.Code, member string, at int, format string, args ...any) error {
	line, column := position(d.scan.data, at)
	detail := fmt.Sprintf(format, args...) + fmt.Sprintf(" (line %d, column %d)", line, column)
	return problem.New(code, "%s", detail).AtPointer(d.Pointer(member))
}

// position is the line and the column, in characters, of the offset; both count from 1.
func position(body []byte, at int) (line, column int) {
	before := body[:min(at, len(body))]
	line = 1 + bytes.Count(before, []byte{'\n'})
	before = before[bytes.LastIndexByte(before, '\n')+1:]
	return line, 1 + utf8.RuneCount(before)
}

// unknown refuses a member that no field has.
func (d *Decoder) unknown(name string, at int, fields []Field) error {
	var known []string
	for i := range fields {
		known = append(known, fields[i].members()...)
	}
	pointer := name
	if len(name) > maxEcho {
		pointer = "" // the place is then the object itself
	}
	if nearest := Nearest(name, known); nearest != "" {
		return d.wrong(problem.UnknownField, pointer, at, "%s is not a member that is known here; did you mean %q?", echo(name), nearest)
	}
	return d.wrong(problem.UnknownField, pointer, at, "%s is not a member that is known here; there are %s", echo(name), quoted(known, "and"))
}

// missing refuses the absence of a required field.
func (d *Decoder) missing(f *Field) error {
	what := "the object"
	if len(d.path) == 0 {
		what = "the body"
	}
	return d.Invalid(f.name, "%s lacks the member %s", what, quoted(f.members(), "or"))
}

// expect refuses a value that does not begin as one of the wanted type does: '"', '{', '[', '0' for a number and 't' for
// a boolean.
func (d *Decoder) expect(member string, begin byte, want string) error {
	first := d.scan.next()
	found, name := classify(first)
	if found == begin {
		return nil
	}
	if found == 0 {
		return d.failAt(member, d.scan.unexpected(startOf(first, false)))
	}
	return d.wrong(problem.InvalidJSON, member, d.scan.pos, "%s must be %s, not %s", d.what(member), want, name)
}

// classify tells the type of the value that begins with c, by its canonical first byte; 0 is none.
func classify(c byte) (begin byte, name string) {
	switch {
	case c == '"':
		return '"', "a string"
	case c == '{':
		return '{', "an object"
	case c == '[':
		return '[', "an array"
	case c == '-', c-'0' <= 9:
		return '0', "a number"
	case c == 't', c == 'f':
		return 't', "a boolean"
	case c == 'n':
		return 'n', "null"
	default:
		return 0, ""
	}
}

// what names the member, or the value being read when it is empty, for a sentence.
func (d *Decoder) what(member string) string {
	if member != "" {
		return strconv.Quote(member)
	}
	if len(d.path) == 0 {
		return "the body"
	}
	if last := d.path[len(d.path)-1]; last.name != "" {
		return strconv.Quote(last.name)
	}
	return "each element"
}

// appendToken appends a reference token of a JSON Pointer.
func appendToken(b []byte, name string) []byte {
	b = append(b, '/')
	for i := range len(name) {
		switch name[i] {
		case '~':
			b = append(b, "~0"...)
		case '/':
			b = append(b, "~1"...)
		default:
			b = append(b, name[i])
		}
	}
	return b
}

// maxEcho is how much of a caller's own name an error repeats.
const maxEcho = 64

// echo quotes a caller's name, cut to what is useful.
func echo(name string) string {
	if len(name) <= maxEcho {
		return strconv.Quote(name)
	}
	cut := maxEcho
	for !utf8.RuneStart(name[cut]) {
		cut--
	}
	return strconv.Quote(name[:cut]) + "…"
}

// quoted lists words in quotes: "a", "b" and "c".
func quoted(words []string, last string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" " + last + " ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(w))
	}
	return b.String()
}
