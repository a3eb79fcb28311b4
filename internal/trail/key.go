package trail

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// mostPrefix is how many bytes of a key a log may show.
const mostPrefix = 32

// KeyPrefix gives the first part of a key, up to and with its slash, in a form that is safe to print: enough to see what a
// request was about. Of a long part it is the first 32 bytes; of a key that has no parts it is empty, since that would be
// the whole key. A slash at the beginning is no part.
func KeyPrefix(key []byte) string {
	skip := 0
	if len(key) > 0 && key[0] == '/' {
		skip = 1
	}
	n := bytes.IndexByte(key[skip:], '/')
	if n < 0 {
		return ""
	}
	part := key[:skip+n+1]
	if len(part) <= mostPrefix {
		return Printable(string(part), 4*mostPrefix)
	}
	return Printable(string(part[:mostPrefix]), 4*mostPrefix) + "…"
}

// Printable gives s with everything escaped that a terminal or a log's reader could take for something else, cut to about
// most bytes.
func Printable(s string, most int) string {
	cut := len(s) > most
	if cut {
		s = s[:most]
	}
	if !plain(s) {
		b := make([]byte, 0, len(s)+16)
		for i := 0; i < len(s); {
			r, size := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, '\\', 'x', hex[s[i]>>4], hex[s[i]&15])
			case strconv.IsPrint(r):
				b = append(b, s[i:i+size]...)
			default:
				quoted := strconv.AppendQuoteRune(nil, r)
				b = append(b, quoted[1:len(quoted)-1]...)
			}
			i += size
		}
		s = string(b)
	}
	if cut {
		s += "…"
	}
	return s
}

const hex = "0123456789abcdef"

// plain tells whether s is nothing but printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
