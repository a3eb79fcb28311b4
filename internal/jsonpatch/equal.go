package jsonpatch

import (
	"bytes"
	"strconv"
	"strings"
)

// equal compares as RFC 6902 (section 4.6) says: strings by their characters, numbers by their value, arrays in order,
// objects by their members whatever the order.
func equal(a, b *node) bool {
	if a.open == nil && b.open == nil && bytes.Equal(a.raw, b.raw) {
		return true
	}
	ca, cb := a.inside(), b.inside()
	if (ca == nil) != (cb == nil) {
		return false
	}
	if ca == nil {
		return equalScalars(a.raw, b.raw)
	}
	if ca.object != cb.object || ca.live() != cb.live() {
		return false
	}
	if !ca.object {
		for i := range ca.kids {
			if !equal(&ca.kids[i], &cb.kids[i]) {
				return false
			}
		}
		return true
	}
	for name, i := range ca.index {
		other := cb.member(name)
		if other == nil || !equal(&ca.kids[i], other) {
			return false
		}
	}
	return true
}

func equalScalars(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	if a[0] == '"' || b[0] == '"' {
		return a[0] == b[0] && unquote(a) == unquote(b)
	}
	if !isNumber(a) || !isNumber(b) {
		return false
	}
	x, okX := parseDecimal(string(a))
	y, okY := parseDecimal(string(b))
	return okX && okY && x == y
}

func isNumber(raw []byte) bool { return raw[0] == '-' || (raw[0] >= '0' && raw[0] <= '9') }

// decimal is a number's value: digits without zeros at either end, times ten to the exponent. Zero is all zero.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

// parseDecimal reads a JSON number without rounding; ok is false when its exponent is beyond all reason.
func parseDecimal(s string) (d decimal, ok bool) {
	s, d.negative = strings.TrimPrefix(s, "-"), strings.HasPrefix(s, "-")
	mantissa := s
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
		n, err := strconv.ParseInt(s[i+1:], 10, 32)
		if err != nil {
			return d, false
		}
		d.exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	d.exponent -= int64(len(fraction))
	d.digits = strings.TrimLeft(whole+fraction, "0")
	trimmed := strings.TrimRight(d.digits, "0")
	d.exponent += int64(len(d.digits) - len(trimmed))
	d.digits = trimmed
	if trimmed == "" {
		return decimal{}, true
	}
	return d, true
}
