package kvjson

import "math"

// Field is one member that an object may have: its name, where its value goes, and what is demanded of it. Make one with
// Bytes, Value, Text, Int, Bool, ID, Document, Object or Array; the methods refine it.
type Field struct {
	name     string
	kind     kind
	required bool
	given    *bool

	bytes  *[]byte
	text   *string
	number *int64
	flag   *bool
	read   func(*Decoder) error

	min, max int64
	oneOf    []string
}

type kind uint8

const (
	kindBytes kind = iota
	kindValue
	kindText
	kindInt
	kindBool
	kindID
	kindDocument
	kindObject
	kindArray
)

// Bytes takes a key: the member name as text or name_base64. What it sets may alias the body.
func Bytes(name string, to *[]byte) Field { return Field{name: name, kind: kindBytes, bytes: to} }

// Value takes a value: the member name as text, name_base64, or name_json, whose document is stored compacted, its
// numbers spelled and its members ordered as given. A name_json that is null is the document null when no other form is
// named, and absent otherwise, as a client that writes every member means it. What it sets may alias the body.
func Value(name string, to *[]byte) Field { return Field{name: name, kind: kindValue, bytes: to} }

// Text takes a string that is text by nature (a user's name, say), so that there is no base64 form.
func Text(name string, to *string) Field { return Field{name: name, kind: kindText, text: to} }

// Int takes a whole number of 64 bits, written without fraction or exponent.
func Int(name string, to *int64) Field {
	return Field{name: name, kind: kindInt, number: to, min: math.MinInt64, max: math.MaxInt64}
}

// Bool takes true or false.
func Bool(name string, to *bool) Field { return Field{name: name, kind: kindBool, flag: to} }

// ID takes a 64-bit id as a string of 1 to 16 hexadecimal digits.
func ID(name string, to *int64) Field { return Field{name: name, kind: kindID, number: to} }

// Document takes any JSON document, compacted as CompactJSON does. What it sets may alias the body.
func Document(name string, to *[]byte) Field { return Field{name: name, kind: kindDocument, bytes: to} }

// Object takes an object that read reads, by calling the decoder's Object exactly once.
func Object(name string, read func(*Decoder) error) Field {
	return Field{name: name, kind: kindObject, read: read}
}

// Array takes an array and calls read once for each element, which read must read by calling exactly one of the
// decoder's methods of reading.
func Array(name string, read func(*Decoder) error) Field {
	return Field{name: name, kind: kindArray, read: read}
}

// Required refuses an object without the member (or with null).
func (f Field) Required() Field {
	f.required = true
	return f
}

// Given sets *given to true when the member is there and not null.
func (f Field) Given(given *bool) Field {
	f.given = given
	return f
}

// Between refuses an Int below least or above most.
func (f Field) Between(least, most int64) Field {
	f.min, f.max = least, most
	return f
}

// OneOf refuses a Text that is none of the words.
func (f Field) OneOf(words ...string) Field {
	f.oneOf = words
	return f
}

// form is one of the spellings of a field, as a bit.
type form uint8

const (
	plain form = 1 << iota
	inBase64
	inJSON
)

const (
	suffixBase64 = "_base64"
	suffixJSON   = "_json"
)

// form gives the form of the field that the member's name says; ok is false when it is another field's.
func (f *Field) form(member []byte) (_ form, ok bool) {
	if len(member) < len(f.name) || string(member[:len(f.name)]) != f.name {
		return 0, false
	}
	switch suffix := member[len(f.name):]; {
	case len(suffix) == 0:
		return plain, true
	case string(suffix) == suffixBase64:
		return inBase64, f.kind <= kindValue
	case string(suffix) == suffixJSON:
		return inJSON, f.kind == kindValue
	default:
		return 0, false
	}
}

// member is the name of the field's form.
func (f *Field) member(form form) string {
	switch form {
	case inBase64:
		return f.name + suffixBase64
	case inJSON:
		return f.name + suffixJSON
	default:
		return f.name
	}
}

// members are the names of all forms.
func (f *Field) members() []string {
	switch f.kind {
	case kindBytes:
		return []string{f.name, f.name + suffixBase64}
	case kindValue:
		return []string{f.name, f.name + suffixBase64, f.name + suffixJSON}
	default:
		return []string{f.name}
	}
}
