package kvjson

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// AppendString appends s, which must be valid UTF-8, as a JSON string with its quotes. Escaped are only `"`, `\` and the
// control characters below U+0020, in their short forms where JSON has one. Everything else stays as it is, DEL, `<`,
// U+2028 and U+2029 included: JSON (RFC 8259) allows them raw, and the answers are never spliced into HTML or scripts.
func AppendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	dst, _ = appendEscaped(dst, s, 0)
	return append(dst, '"')
}

const (
	ones = 0x0101010101010101
	high = 0x8080808080808080
)

// special flags, by its high bit, each of the eight bytes that ends a run of plain characters: a quote, a backslash, a
// control character. Above the lowest flag there can be false ones, from the borrow of a subtraction.
func special(w uint64) uint64 {
	return ((w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones)) &^ w & high
}

// slack is what is kept free in the buffer beyond the rest of the string: eight escapes, and what is written behind them.
const slack = 64

// appendEscaped appends s without quotes. With check set to high, s need not be valid UTF-8: the result is then not ok
// when it is not, and what was appended is to be cut off. The check rides on the search for escapes, so that ASCII, which
// most keys and values are, is looked at once. Whole words are written before it is known how much of them counts, which
// saves a branch a byte.
func appendEscaped(dst, s []byte, check uint64) (_ []byte, ok bool) {
	n := len(dst)
	dst = slices.Grow(dst, len(s)+slack)
	dst = dst[:cap(dst)]
	for len(s) >= 8 {
		plain := copyPlain(dst[n:], s, check)
		s, n = s[plain:], n+plain
		// Escapes come in flocks: after one, words are cheaper than blocks until four words are free of them.
		for calm := 0; len(s) >= 8 && calm < 4; {
			w := binary.LittleEndian.Uint64(s)
			if w&check != 0 {
				if !utf8.Valid(s) {
					return dst[:n], false
				}
				check = 0
			}
			s = s[8:]
			if special(w) == 0 {
				binary.LittleEndian.PutUint64(dst[n:], w)
				n += 8
				calm++
				continue
			}
			calm = 0
			n += putWord(dst[n:], w)
			if len(dst)-n < len(s)+slack {
				dst = slices.Grow(dst[:n], len(s)+slack)
				dst = dst[:cap(dst)]
			}
		}
	}
	if len(s) == 0 {
		return dst[:n], true
	}
	w := loadShort(s)
	if w&check != 0 && !utf8.Valid(s) {
		return dst[:n], false
	}
	return dst[:n+putWord(dst[n:], w)-(8-len(s))], true
}

// copyPlain copies blocks of 32 bytes up to the first that holds an escape, or a bit of check, and gives their length.
func copyPlain(dst, s []byte, check uint64) (n int) {
	for len(s)-n >= 32 {
		in, out := s[n:][:32], dst[n:][:32]
		w0 := binary.LittleEndian.Uint64(in)
		w1 := binary.LittleEndian.Uint64(in[8:])
		w2 := binary.LittleEndian.Uint64(in[16:])
		w3 := binary.LittleEndian.Uint64(in[24:])
		binary.LittleEndian.PutUint64(out, w0)
		binary.LittleEndian.PutUint64(out[8:], w1)
		binary.LittleEndian.PutUint64(out[16:], w2)
		binary.LittleEndian.PutUint64(out[24:], w3)
		if special(w0)|special(w1)|special(w2)|special(w3)|(w0|w1|w2|w3)&check != 0 {
			break
		}
		n += 32
	}
	return n
}

// loadShort reads the one to seven bytes of s and fills the word up with spaces.
func loadShort(s []byte) uint64 {
	n := len(s)
	w := uint64(' '*ones) << (8 * n)
	switch {
	case n >= 4: // two reads that overlap
		w |= uint64(binary.LittleEndian.Uint32(s)) | uint64(binary.LittleEndian.Uint32(s[n-4:]))<<(8*(n-4))
	case n >= 2:
		w |= uint64(binary.LittleEndian.Uint16(s)) | uint64(binary.LittleEndian.Uint16(s[n-2:]))<<(8*(n-2))
	default:
		w |= uint64(s[0])
	}
	return w
}

// escapes has, for each byte, what it is written as, and in the top byte how long that is.
var escapes = makeEscapes()

const hexDigits = "0123456789abcdef"

func makeEscapes() (table [256]uint64) {
	short := map[byte]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
	for i := range table {
		c := byte(i)
		word := [8]byte{c, 7: 1}
		if letter, ok := short[c]; ok {
			word = [8]byte{'\\', letter, 7: 2}
		} else if c < ' ' {
			word = [8]byte{'\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15], 7: 6}
		}
		table[i] = binary.LittleEndian.Uint64(word[:])
	}
	return table
}

// putWord writes the eight bytes of w, escaped, and gives the length. It writes without branches and beyond that length,
// at most slack bytes. Unrolled, it takes a third of the time off values that are JSON.
func putWord(dst []byte, w uint64) int {
	dst = dst[:slack]
	e := escapes[byte(w)]
	binary.LittleEndian.PutUint64(dst, e)
	n := e >> 56
	e = escapes[byte(w>>8)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>16)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>24)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>32)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>40)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>48)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	n += e >> 56
	e = escapes[byte(w>>56)]
	binary.LittleEndian.PutUint64(dst[n:], e)
	return int(n + e>>56)
}
