package telemetry

import (
	"strconv"
	"unicode/utf8"
)

// appendSafe appends a line of JSON with everything escaped that is not printable, which JSON itself allows in strings: a
// terminal or another reader of lines could take it for something else. The line means the same as before.
func appendSafe(dst, line []byte) []byte {
	for i := 0; i < len(line); {
		if c := line[i]; c >= ' ' && c <= '~' || c == '\n' {
			dst = append(dst, c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(line[i:])
		if strconv.IsPrint(r) {
			dst = append(dst, line[i:i+size]...)
		} else {
			dst = appendUnicode(dst, r)
		}
		i += size
	}
	return dst
}

// appendUnicode appends \uXXXX, two of them beyond the basic plane.
func appendUnicode(dst []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		return appendUnicode(appendUnicode(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

func isSafe(line []byte) bool {
	for _, c := range line {
		if (c < ' ' || c > '~') && c != '\n' {
			return false
		}
	}
	return true
}
