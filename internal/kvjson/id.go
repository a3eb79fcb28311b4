package kvjson

import (
	"fmt"
)

// AppendID appends a 64-bit id (lease, member, cluster) as a JSON string of 16 lower-case hex digits. Ids are random
// 64-bit numbers, which a JSON number would lose in most readers.
func AppendID(dst []byte, id int64) []byte {
	var text [18]byte
	text[0], text[17] = '"', '"'
	n := uint64(id)
	for i := 16; i > 0; i-- {
		text[i] = hexDigits[n&15]
		n >>= 4
	}
	return append(dst, text[:]...)
}

// ParseID reads an id of 1 to 16 hex digits, of either case.
func ParseID(s string) (int64, error) {
	if len(s) < 1 || len(s) > 16 {
		return 0, fmt.Errorf("an id has 1 to 16 hexadecimal digits, not %d characters", len(s))
	}
	var n uint64
	for i := range len(s) {
		digit, ok := hexValue(s[i])
		if !ok {
			return 0, fmt.Errorf("an id has 1 to 16 hexadecimal digits; character %d is none", i+1)
		}
		n = n<<4 | uint64(digit)
	}
	return int64(n), nil
}

func hexValue(c byte) (v uint8, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	default:
		return 0, false
	}
}
