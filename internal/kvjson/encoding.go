// Package kvjson is the one encoder and the one decoder between etcd's keys, values and events, which are bytes, and
// JSON, which is text.
//
// Out: a key is the member `key` when it is valid UTF-8, else `key_base64`; a value is exactly one of `value`,
// `value_base64` and, when asked for, `value_json`. Every Append function extends dst by JSON that a strict reader turns
// back into the same bytes, and allocates nothing but the room that dst lacks; they can run concurrently on different
// buffers. In: Decode takes a table of fields and refuses what it cannot take literally; see Decode.
package kvjson

// Encoding is the form that keys and values take in an answer. The zero value is Auto.
type Encoding uint8

// The encodings of the parameter `encoding`.
const (
	// Auto gives text as text, and base64 where the bytes are not valid UTF-8.
	Auto Encoding = iota
	// Base64 gives the `_base64` forms always, keys too: the stable form for typed clients.
	Base64
	// JSON gives `value_json` where the value is one JSON document (see CompactJSON), and everything else as Auto does.
	JSON
)

// ParseEncoding reads the parameter `encoding`: auto (or text, or nothing), base64, json.
func ParseEncoding(s string) (e Encoding, ok bool) {
	switch s {
	case "", "auto", "text":
		return Auto, true
	case "base64":
		return Base64, true
	case "json":
		return JSON, true
	default:
		return Auto, false
	}
}

// String gives the name that ParseEncoding reads.
func (e Encoding) String() string {
	switch e {
	case Base64:
		return "base64"
	case JSON:
		return "json"
	default:
		return "auto"
	}
}

// Options say how key-values are written. The zero value gives text where the bytes are text, with values.
type Options struct {
	Encoding Encoding
	// KeysOnly leaves the values out.
	KeysOnly bool
}
