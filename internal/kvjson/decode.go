package kvjson

import (
	"slices"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// MaxDepth is how deeply arrays and objects of a body may be nested. A document that is a value counts for itself, up to
// MaxDocumentDepth.
const MaxDepth = 256

// Decode reads body, which must be one JSON object of the given fields. It refuses, with a *problem.Error that says where
// and what would be right: text that is not JSON (RFC 8259), a byte order mark, invalid UTF-8 and lone surrogates, data
// after the end, nesting beyond MaxDepth, members that are duplicate or unknown (naming the nearest known one), values of
// a wrong type, whole numbers beyond 64 bits or with fraction or exponent, two forms of one field, and required fields
// that are absent. A member that is null counts as absent. Codes: invalid_json, unknown_field, invalid_argument.
//
// What the fields were set to may alias body, which must stay as it is as long as they are used; after an error they
// are undefined. Fields are not changed, so a table can be shared.
func Decode(body []byte, fields ...Field) error {
	d := Decoder{scan: newScanner(body)}
	if err := d.begin(); err != nil {
		return err
	}
	if err := d.Object(fields...); err != nil {
		return err
	}
	return d.end()
}

// DecodeFunc reads body, one JSON value of any type, by read, which calls exactly one of the decoder's methods of reading.
// It refuses what Decode refuses.
func DecodeFunc(body []byte, read func(*Decoder) error) error {
	d := Decoder{scan: newScanner(body)}
	if err := d.begin(); err != nil {
		return err
	}
	if err := read(&d); err != nil {
		return err
	}
	return d.end()
}

// Decoder is a place in a body that is being read. It is handed to the functions that read nested values and must not be
// kept by them.
type Decoder struct {
	scan scanner
	// path leads to the value being read.
	path []step
	// depth counts the arrays and objects that are open.
	depth int
}

// step is a member's name, or an element's index when the name is empty.
type step struct {
	name  string
	index int
}

func (d *Decoder) begin() error {
	body := d.scan.data
	if len(body) >= 3 && string(body[:3]) == "\xef\xbb\xbf" {
		return d.fail(faultMark)
	}
	if d.scan.next() == 0 && d.scan.pos == len(body) {
		return problem.New(problem.InvalidJSON, "the body is empty; this call takes a JSON document").AtPointer("")
	}
	return nil
}

func (d *Decoder) end() error {
	if d.scan.next() == 0 && d.scan.pos == len(d.scan.data) {
		return nil
	}
	return d.fail(faultTrailing)
}

// Object reads the object at this place, which must hold the given fields, as Decode does.
func (d *Decoder) Object(fields ...Field) error {
	if err := d.open('{', "an object"); err != nil {
		return err
	}
	var store [24]uint8
	seen := store[:0]
	for range fields {
		seen = append(seen, 0)
	}
	if d.scan.next() == '}' {
		d.scan.pos++
	} else if err := d.members(fields, seen); err != nil {
		return err
	}
	d.depth--
	return d.close(fields, seen)
}

// members reads the members up to the closing brace. Each of seen has the forms of its field that were there, and,
// shifted by four, the one that was not null.
func (d *Decoder) members(fields []Field, seen []uint8) error {
	for {
		if err := d.member(fields, seen); err != nil {
			return err
		}
		switch d.scan.next() {
		case ',':
			d.scan.pos++
			if d.scan.next() == '}' {
				return d.fail(faultTrailingComma)
			}
		case '}':
			d.scan.pos++
			return nil
		default:
			return d.fail(d.scan.unexpected(faultComma))
		}
	}
}

func (d *Decoder) member(fields []Field, seen []uint8) error {
	if first := d.scan.next(); first != '"' {
		return d.fail(d.scan.unexpected(startOf(first, true)))
	}
	at := d.scan.pos
	name, escaped, f := d.scan.text()
	if f != 0 {
		return d.fail(f)
	}
	if escaped {
		name = unescape(nil, name)
	}
	if d.scan.next() != ':' {
		return d.fail(d.scan.unexpected(faultColon))
	}
	d.scan.pos++
	for i := range fields {
		spelled, ok := fields[i].form(name)
		if !ok {
			continue
		}
		if seen[i]&uint8(spelled) != 0 {
			return d.wrong(problem.InvalidJSON, fields[i].member(spelled), at, "%q is given twice", fields[i].member(spelled))
		}
		seen[i] |= uint8(spelled)
		return d.value(&fields[i], spelled, &seen[i], at)
	}
	return d.unknown(string(name), at, fields)
}

// value reads the value of one form of a field.
func (d *Decoder) value(f *Field, form form, seen *uint8, at int) error {
	if d.scan.next() == 'n' {
		if _, fault := d.scan.word(); fault != 0 {
			return d.failAt(f.member(form), fault)
		}
		return nil
	}
	if *seen>>4 != 0 {
		return d.wrong(problem.InvalidArgument, f.member(form), at, "%s are two forms of one thing; give one of them", quoted(f.members(), "and"))
	}
	*seen |= uint8(form) << 4
	return d.set(f, form)
}

// close looks at what was absent.
func (d *Decoder) close(fields []Field, seen []uint8) error {
	for i := range fields {
		f := &fields[i]
		if f.kind == kindValue && seen[i] == uint8(inJSON) { // null, and no other form
			*f.bytes = []byte("null")
			seen[i] |= uint8(inJSON) << 4
		}
		if given := seen[i]>>4 != 0; given && f.given != nil {
			*f.given = true
		} else if !given && f.required {
			return d.missing(f)
		}
	}
	return nil
}

// Array reads the array at this place and calls read once for each element, as the field Array does.
func (d *Decoder) Array(read func(*Decoder) error) error {
	if err := d.open('[', "an array"); err != nil {
		return err
	}
	if d.scan.next() == ']' {
		d.scan.pos++
		d.depth--
		return nil
	}
	for i := 0; ; i++ {
		d.path = append(d.path, step{index: i})
		if err := read(d); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		switch d.scan.next() {
		case ',':
			d.scan.pos++
			if d.scan.next() == ']' {
				return d.fail(faultTrailingComma)
			}
		case ']':
			d.scan.pos++
			d.depth--
			return nil
		default:
			return d.fail(d.scan.unexpected(faultComma))
		}
	}
}

// open steps into an array or object.
func (d *Decoder) open(bracket byte, want string) error {
	if err := d.expect("", bracket, want); err != nil {
		return err
	}
	if d.depth == MaxDepth {
		return d.wrong(problem.InvalidJSON, "", d.scan.pos, "the body is nested deeper than %d levels", MaxDepth)
	}
	d.depth++
	d.scan.pos++
	return nil
}

// Text reads a string.
func (d *Decoder) Text() (string, error) {
	var s string
	f := Text("", &s)
	err := d.set(&f, plain)
	return s, err
}

// Int reads a whole number, as the field Int does.
func (d *Decoder) Int() (int64, error) {
	var n int64
	f := Int("", &n)
	err := d.set(&f, plain)
	return n, err
}

// ID reads a 64-bit id of hexadecimal digits, as the field ID does.
func (d *Decoder) ID() (int64, error) {
	var n int64
	f := ID("", &n)
	err := d.set(&f, plain)
	return n, err
}

// Document reads any JSON document, as the field Document does.
func (d *Decoder) Document() ([]byte, error) {
	var b []byte
	f := Document("", &b)
	err := d.set(&f, plain)
	return b, err
}

// Index is the position of the element being read, in the innermost array; -1 outside of arrays.
func (d *Decoder) Index() int {
	for _, s := range slices.Backward(d.path) {
		if s.name == "" {
			return s.index
		}
	}
	return -1
}

// Pointer is the JSON Pointer (RFC 6901) of the value being read, or of its member of that name when it is not empty.
func (d *Decoder) Pointer(member string) string {
	var b []byte
	for _, s := range d.path {
		if s.name == "" {
			b = strconv.AppendInt(append(b, '/'), int64(s.index), 10)
		} else {
			b = appendToken(b, s.name)
		}
	}
	if member != "" {
		b = appendToken(b, member)
	}
	return string(b)
}

// Invalid makes the error of a value that is JSON but cannot be used: invalid_argument at the value being read, or at its
// member of that name. It is for what a table of fields cannot say.
func (d *Decoder) Invalid(member, format string, args ...any) *problem.Error {
	return problem.New(problem.InvalidArgument, format, args...).AtPointer(d.Pointer(member))
}
