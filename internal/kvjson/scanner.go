package kvjson

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// scanner reads the tokens of a JSON text (RFC 8259), strictly. After a fault pos is where the fault is.
type scanner struct {
	data []byte
	pos  int
	// bad is the offset of the first byte that is not valid UTF-8, or the length of data.
	bad int
}

func newScanner(data []byte) scanner {
	s := scanner{data: data, bad: len(data)}
	if !utf8.Valid(data) {
		s.bad = firstInvalid(data)
	}
	return s
}

// firstInvalid gives the offset of the first byte of b that is not part of valid UTF-8.
func firstInvalid(b []byte) int {
	i := 0
	for i < len(b) {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		i += size
	}
	return i
}

// next skips white space and gives the next byte without taking it, or 0 at the end.
func (s *scanner) next() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// unexpected is the fault of a byte that cannot stand here.
func (s *scanner) unexpected(f fault) fault {
	if s.pos >= len(s.data) {
		return faultEnd
	}
	return f
}

// text reads the string whose opening quote is at pos and gives what is between the quotes; escaped tells whether that
// has escapes, which are then valid.
func (s *scanner) text() (raw []byte, escaped bool, f fault) {
	start := s.pos + 1
	s.pos = start
	for {
		s.pos += plainRun(s.data[s.pos:])
		if s.bad < s.pos {
			s.pos = s.bad
			return nil, false, faultUTF8
		}
		if s.pos >= len(s.data) {
			return nil, false, faultEnd
		}
		switch s.data[s.pos] {
		case '"':
			raw = s.data[start:s.pos]
			s.pos++
			return raw, escaped, 0
		case '\\':
			escaped = true
			if f := s.escape(); f != 0 {
				return nil, false, f
			}
		default:
			return nil, false, faultControl
		}
	}
}

// plainRun counts the bytes before the first quote, backslash or control character.
func plainRun(b []byte) int {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		if flags := special(binary.LittleEndian.Uint64(b[i:])); flags != 0 {
			return i + bits.TrailingZeros64(flags)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < ' ' || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// escape checks the escape at pos and steps over it.
func (s *scanner) escape() fault {
	if s.pos+1 >= len(s.data) {
		s.pos = len(s.data)
		return faultEnd
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return 0
	case 'u':
	default:
		return faultEscape
	}
	unit, ok := hex4(s.data[s.pos+2:])
	switch {
	case !ok:
		return faultEscape
	case unit < 0xd800 || unit > 0xdfff:
		s.pos += 6
		return 0
	case unit >= 0xdc00:
		return faultSurrogate
	}
	rest := s.data[s.pos+6:]
	if len(rest) < 2 || rest[0] != '\\' || rest[1] != 'u' {
		return faultSurrogate
	}
	if low, ok := hex4(rest[2:]); !ok || low < 0xdc00 || low > 0xdfff {
		return faultSurrogate
	}
	s.pos += 12
	return 0
}

func hex4(b []byte) (unit rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		digit, ok := hexValue(c)
		if !ok {
			return 0, false
		}
		unit = unit<<4 | rune(digit)
	}
	return unit, true
}

// unescape appends what raw, the valid inside of a JSON string, stands for.
func unescape(dst, raw []byte) []byte {
	for {
		n := plainRun(raw)
		dst = append(dst, raw[:n]...)
		if n == len(raw) {
			return dst
		}
		c := raw[n+1]
		raw = raw[n+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw)
			raw = raw[4:]
			if r >= 0xd800 && r <= 0xdfff {
				low, _ := hex4(raw[2:])
				r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
				raw = raw[6:]
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

// number reads the number at pos; whole tells whether it has neither fraction nor exponent.
func (s *scanner) number() (raw []byte, whole bool, f fault) {
	start := s.pos
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if f := s.digits(); f != 0 {
		return nil, false, f
	}
	whole = true
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		whole = false
		s.pos++
		if f := s.digits(); f != 0 {
			return nil, false, f
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		whole = false
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		if f := s.digits(); f != 0 {
			return nil, false, f
		}
	}
	if s.pos < len(s.data) && inWord(s.data[s.pos]) {
		return nil, false, faultNumber
	}
	return s.data[start:s.pos], whole, 0
}

// digits reads one digit or more.
func (s *scanner) digits() fault {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	if s.pos == start {
		return s.unexpected(faultNumber)
	}
	return 0
}

// inWord tells whether c directly after a number or a word means that the author meant something else by it.
func inWord(c byte) bool {
	return c == '.' || c == '+' || c == '-' || c == '_' || c-'0' <= 9 || c|0x20-'a' <= 'z'-'a'
}

// word reads true, false or null at pos.
func (s *scanner) word() (w string, f fault) {
	switch s.data[s.pos] {
	case 't':
		w = "true"
	case 'f':
		w = "false"
	default:
		w = "null"
	}
	for i := range len(w) {
		if s.pos+i >= len(s.data) {
			s.pos = len(s.data)
			return "", faultEnd
		}
		if s.data[s.pos+i] != w[i] {
			return "", faultWord
		}
	}
	if end := s.pos + len(w); end < len(s.data) && inWord(s.data[end]) {
		return "", faultWord
	}
	s.pos += len(w)
	return w, 0
}
