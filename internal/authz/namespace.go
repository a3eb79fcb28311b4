package authz

import (
	"errors"
	"fmt"
	"strings"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// template makes a namespace of a caller: literal text, with {name} and {claims.X} for what is known of the caller. What
// stands for a placeholder is escaped, and behind each placeholder comes a slash: so no two callers get namespaces of which
// one lies in the other, unless the same text stands for both.
type template struct {
	// literals are one more than fields; literals[i] comes before fields[i].
	literals []string
	// fields name the placeholders: "name", or "claims." and a claim.
	fields []string
}

const (
	claimsDot = "claims."
	// mostPart bounds what stands for a placeholder, in bytes.
	mostPart = 128
)

func parseTemplate(text string) (t template, err error) {
	if strings.HasPrefix(text, "\x00") {
		return t, errors.New("a namespace cannot begin with NUL: those keys hold the gateway's own state")
	}
	for {
		literal, rest, found := strings.Cut(text, "{")
		if strings.Contains(literal, "}") {
			return t, errors.New("a } stands without its {; placeholders are {name} and {claims.NAME}")
		}
		t.literals = append(t.literals, literal)
		if !found {
			return t, nil
		}
		field, rest, closed := strings.Cut(rest, "}")
		if !closed {
			return t, errors.New("a { is not closed; placeholders are {name} and {claims.NAME}")
		}
		if field != "name" && (!strings.HasPrefix(field, claimsDot) || field == claimsDot) {
			return t, fmt.Errorf("{%s}: the placeholders are {name} and {claims.NAME}", field)
		}
		if !strings.HasPrefix(rest, "/") {
			return t, fmt.Errorf("a slash must follow {%s}, or the namespaces of two callers could lie in each other", field)
		}
		t.fields, text = append(t.fields, field), rest
	}
}

// fill makes the namespace of a caller.
func (t *template) fill(p *authn.Principal) ([]byte, error) {
	out := []byte(t.literals[0])
	for i, field := range t.fields {
		part := p.Name
		if claim, ok := strings.CutPrefix(field, claimsDot); ok {
			if part, ok = p.Claims[claim].(string); !ok {
				return nil, fmt.Errorf("the namespace needs the claim %s to be a text", claim)
			}
		}
		if part == "" || len(part) > mostPart {
			return nil, fmt.Errorf("the namespace needs %s of 1 to %d bytes", field, mostPart)
		}
		out = append(appendEscaped(out, part), t.literals[i+1]...)
	}
	return out, nil
}

// appendEscaped appends the text with everything but letters, digits and a few marks as %XX, so that it has no slash, no
// control byte, and no second spelling.
func appendEscaped(dst []byte, text string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(text) {
		b := text[i]
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~@:+=", b) >= 0:
			dst = append(dst, b)
		default:
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return dst
}
