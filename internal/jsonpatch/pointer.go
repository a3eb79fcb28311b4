package jsonpatch

import (
	"strings"
)

// pointer is a JSON Pointer (RFC 6901) as its reference tokens; none is the whole document.
type pointer []string

// parsePointer reads a pointer; ok is false when it is malformed.
func parsePointer(s string) (p pointer, ok bool) {
	if s == "" {
		return nil, true
	}
	if s[0] != '/' {
		return nil, false
	}
	for token := range strings.SplitSeq(s[1:], "/") {
		if strings.Contains(token, "~") {
			if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(token), "~") {
				return nil, false
			}
			token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		}
		p = append(p, token)
	}
	return p, true
}

// within tells whether p lies inside of, and not at, outer.
func (p pointer) within(outer pointer) bool {
	if len(p) <= len(outer) {
		return false
	}
	for i := range outer {
		if p[i] != outer[i] {
			return false
		}
	}
	return true
}

// find gives the node at the pointer, nil when there is none.
func (p pointer) find(root *node) *node {
	at := root
	for _, token := range p {
		c := at.inside()
		if c == nil {
			return nil
		}
		if c.object {
			if at = c.member(token); at == nil {
				return nil
			}
			continue
		}
		i, ok := arrayIndex(token, len(c.kids)-1)
		if !ok {
			return nil
		}
		at = &c.kids[i]
	}
	return at
}

// arrayIndex reads an index of at most last: digits without a leading zero, as RFC 6901 demands.
func arrayIndex(token string, last int) (i int, ok bool) {
	if token == "" || len(token) > 9 || (len(token) > 1 && token[0] == '0') {
		return 0, false
	}
	for _, c := range []byte(token) {
		if c < '0' || c > '9' {
			return 0, false
		}
		i = i*10 + int(c-'0')
	}
	return i, i <= last
}
