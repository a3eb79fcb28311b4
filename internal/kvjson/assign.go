package kvjson

import (
	"slices"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// set reads the value at this place into the field. The field's name is empty for an element of an array.
func (d *Decoder) set(f *Field, form form) (err error) {
	d.scan.next()
	switch {
	case form == inBase64:
		err = d.base64(f)
	case form == inJSON, f.kind == kindDocument:
		err = d.document(f, form)
	case f.kind <= kindValue:
		*f.bytes, err = d.string(f, form)
	case f.kind == kindText:
		err = d.text(f)
	case f.kind == kindInt:
		err = d.integer(f)
	case f.kind == kindBool:
		err = d.boolean(f)
	case f.kind == kindID:
		err = d.id(f)
	default:
		err = d.nested(f)
	}
	return err
}

// string reads a string as its bytes, which alias the body when it has no escapes.
func (d *Decoder) string(f *Field, form form) ([]byte, error) {
	if err := d.expect(f.member(form), '"', f.wantString(form)); err != nil {
		return nil, err
	}
	raw, escaped, fault := d.scan.text()
	if fault != 0 {
		return nil, d.failAt(f.member(form), fault)
	}
	if escaped {
		return unescape(make([]byte, 0, len(raw)), raw), nil
	}
	return slices.Clip(raw), nil
}

func (d *Decoder) base64(f *Field) error {
	at := d.scan.pos
	text, err := d.string(f, inBase64)
	if err != nil {
		return err
	}
	b, ok := DecodeBase64(text)
	if !ok {
		return d.wrong(problem.InvalidArgument, f.member(inBase64), at,
			"%q is not base64: the standard or the URL-safe alphabet, with or without padding, and nothing else", f.member(inBase64))
	}
	*f.bytes = b
	return nil
}

func (d *Decoder) document(f *Field, form form) error {
	b, fault := document(nil, &d.scan)
	if fault == faultDepth {
		return d.wrong(problem.InvalidJSON, f.member(form), d.scan.pos, "%s is nested deeper than %d levels", d.what(f.member(form)), MaxDocumentDepth)
	}
	if fault != 0 {
		return d.failAt(f.member(form), fault)
	}
	*f.bytes = b
	return nil
}

func (d *Decoder) text(f *Field) error {
	at := d.scan.pos
	b, err := d.string(f, plain)
	if err != nil {
		return err
	}
	*f.text = string(b)
	if f.oneOf != nil && !slices.Contains(f.oneOf, *f.text) {
		return d.wrong(problem.InvalidArgument, f.name, at, "%s must be one of %s", d.what(f.name), quoted(f.oneOf, "or"))
	}
	return nil
}

func (d *Decoder) integer(f *Field) error {
	const want = "a whole number"
	at := d.scan.pos
	if err := d.expect(f.name, '0', want); err != nil {
		return err
	}
	raw, whole, fault := d.scan.number()
	if fault != 0 {
		return d.failAt(f.name, fault)
	}
	if !whole {
		return d.wrong(problem.InvalidJSON, f.name, at, "%s must be %s, written with digits only: no fraction and no exponent", d.what(f.name), want)
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return d.wrong(problem.InvalidJSON, f.name, at, "%s must be %s of 64 bits, at most 9223372036854775807 either way", d.what(f.name), want)
	}
	if n < f.min || n > f.max {
		return d.wrong(problem.InvalidArgument, f.name, at, "%s must be %s from %d to %d", d.what(f.name), want, f.min, f.max)
	}
	*f.number = n
	return nil
}

func (d *Decoder) boolean(f *Field) error {
	if err := d.expect(f.name, 't', "true or false"); err != nil {
		return err
	}
	w, fault := d.scan.word()
	if fault != 0 {
		return d.failAt(f.name, fault)
	}
	*f.flag = w == "true"
	return nil
}

func (d *Decoder) id(f *Field) error {
	at := d.scan.pos
	text, err := d.string(f, plain)
	if err != nil {
		return err
	}
	*f.number, err = ParseID(string(text))
	if err != nil {
		return d.wrong(problem.InvalidArgument, f.name, at, "%s must be a string of 1 to 16 hexadecimal digits", d.what(f.name))
	}
	return nil
}

func (d *Decoder) nested(f *Field) (err error) {
	d.path = append(d.path, step{name: f.name})
	if f.kind == kindObject {
		err = f.read(d)
	} else {
		err = d.Array(f.read)
	}
	if err == nil { // after an error the path is where it happened
		d.path = d.path[:len(d.path)-1]
	}
	return err
}

// wantString says which string the field takes.
func (f *Field) wantString(form form) string {
	switch {
	case f.kind == kindID:
		return "a string of 1 to 16 hexadecimal digits"
	case f.kind == kindValue && form == plain:
		return "a string; other JSON goes into its _json form"
	default:
		return "a string"
	}
}
