package kvjson

// fault is what is wrong with a JSON text, apart from where; 0 is nothing. It is a number so that trying a value that is
// not JSON costs no error object.
type fault uint8

const (
	faultEnd fault = iota + 1
	faultValue
	faultName
	faultColon
	faultComma
	faultTrailing
	faultTrailingComma
	faultEscape
	faultSurrogate
	faultControl
	faultUTF8
	faultNumber
	faultWord
	faultQuote
	faultComment
	faultDepth
	faultDuplicate
	faultMark
)

// String says what is wrong and what would be right.
func (f fault) String() string {
	switch f {
	case faultEnd:
		return "the JSON ends before it is complete"
	case faultValue:
		return "a JSON value is expected here"
	case faultName:
		return "a member name in double quotes is expected here"
	case faultColon:
		return "a colon is expected between a member's name and its value"
	case faultComma:
		return "a comma or the closing bracket is expected here"
	case faultTrailing:
		return "there is data after the end of the JSON document; send one document"
	case faultTrailingComma:
		return "JSON has no comma after the last element"
	case faultEscape:
		return `after a backslash JSON allows only one of "\/bfnrt, or u and four hexadecimal digits`
	case faultSurrogate:
		return `the \u escape is one half of a surrogate pair; both halves are needed, high before low`
	case faultControl:
		return `a control character in a string must be escaped, such as \n or \u0000`
	case faultUTF8:
		return "the string is not valid UTF-8; bytes that are not text go into the _base64 form of a member"
	case faultNumber:
		return "this is not a JSON number; one is written as 0, -12 or 2.5e3, with no leading zero and no plus sign"
	case faultWord:
		return "the only bare words of JSON are true, false and null, in lower case"
	case faultQuote:
		return "JSON strings and names are written in double quotes"
	case faultComment:
		return "JSON has no comments"
	case faultDepth:
		return "the JSON is nested too deeply"
	case faultDuplicate:
		return "a member is given twice in one object"
	case faultMark:
		return "the body begins with a byte order mark; send UTF-8 without one"
	default:
		return "the JSON is not valid"
	}
}

// startOf says what is wrong with c where a value, or a name when name is set, should start.
func startOf(c byte, name bool) fault {
	switch {
	case c == '\'' || c == '`':
		return faultQuote
	case c == '/' || c == '#':
		return faultComment
	case name:
		return faultName
	case c == '+' || c == '.':
		return faultNumber
	case c|0x20-'a' <= 'z'-'a':
		return faultWord
	default:
		return faultValue
	}
}
