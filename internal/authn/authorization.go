package authn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCredential is the longest Authorization value that is looked at, in bytes. Tokens of identity providers have 1 to 4 KiB.
const maxCredential = 8 << 10

// scheme takes an Authorization value apart: a scheme (RFC 9110, in any case) in lower case and what follows it. A value
// without a space has no scheme.
func scheme(authorization string) (name, rest string) {
	name, rest, found := strings.Cut(authorization, " ")
	if !found {
		if strings.EqualFold(name, "bearer") || strings.EqualFold(name, "basic") {
			return strings.ToLower(name), ""
		}
		return "", authorization
	}
	return strings.ToLower(name), strings.TrimLeft(rest, " ")
}

// bearer is the token of a Bearer value; false for all others. It allocates nothing.
func bearer(authorization string) (token string, ok bool) {
	const word = "bearer "
	if len(authorization) < len(word) || !strings.EqualFold(authorization[:len(word)], word) {
		return "", false
	}
	return strings.TrimLeft(authorization[len(word):], " "), true
}

// maxName is the longest name of a principal, in bytes.
const maxName = 512

// nameFault says why a text cannot be the name of a principal; empty when it can. Names are shown in logs and compared by
// policies, so there is nothing invisible in them.
func nameFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxName:
		return "is longer than 512 bytes"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	}
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return "holds a control character or an invisible one"
		}
	}
	return ""
}
