package main

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// credential is the token, or one like it whose header names a key of that name: nobody has signed that.
func (h *hammer) credential(kid string) string {
	if !h.forged {
		return h.token
	}
	_, rest, _ := strings.Cut(h.token, ".")
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"ES256","kid":%q}`, kid)) + "." + rest
}
