package kvjson

import (
	"bytes"
	"encoding/base64"
)

var (
	strictStd = base64.RawStdEncoding.Strict()
	strictURL = base64.RawURLEncoding.Strict()
)

// DecodeBase64 reads base64 in the standard or the URL-safe alphabet, with padding or without. It is strict: no line
// breaks or other stray characters, no mix of the alphabets, whole padding or none, and no bits left over, so that no two
// texts of one spelling mean the same bytes.
func DecodeBase64(s []byte) (b []byte, ok bool) {
	if len(s)%4 == 0 {
		for range 2 {
			s = bytes.TrimSuffix(s, []byte{'='})
		}
	}
	if bytes.IndexByte(s, '\n') >= 0 || bytes.IndexByte(s, '\r') >= 0 { // the standard decoder skips them
		return nil, false
	}
	alphabet := strictStd
	if bytes.IndexByte(s, '-') >= 0 || bytes.IndexByte(s, '_') >= 0 {
		alphabet = strictURL
	}
	b = make([]byte, alphabet.DecodedLen(len(s)))
	n, err := alphabet.Decode(b, s)
	if err != nil {
		return nil, false
	}
	return b[:n], true
}
