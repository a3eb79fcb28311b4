package authn

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// token is a JWT in compact form, taken apart and not verified.
type token struct {
	kid, algorithm string
	signed         string // what the signature is over
	payload        []byte
	signature      []byte
}

// parseToken reads the compact form (RFC 7515, section 7.1) and the header, by the letter: golang-jwt, like encoding/base64,
// overlooks line breaks and spare bits, and takes a token whose header demands what it does not understand. An error tells
// nothing of what the token holds.
func parseToken(text string) (*token, error) {
	if len(text) > maxCredential {
		return nil, fmt.Errorf("it has %d bytes; %d are read", len(text), maxCredential)
	}
	first := strings.IndexByte(text, '.')
	last := strings.LastIndexByte(text, '.')
	if first < 0 || first == last || strings.IndexByte(text[first+1:], '.') != last-first-1 {
		return nil, errors.New("it does not have three parts")
	}
	header, err := segment(text[:first])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	t := &token{signed: text[:last]}
	if t.payload, err = segment(text[first+1 : last]); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	if t.signature, err = segment(text[last+1:]); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if err := t.readHeader(header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return t, nil
}

// segment decodes base64url without padding, in its one canonical spelling.
func segment(text string) ([]byte, error) {
	if text == "" {
		return nil, errors.New("it is empty")
	}
	if strings.ContainsAny(text, "\r\n") { // which the decoder skips
		return nil, errors.New("it holds a line break")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// readHeader takes alg and kid. What else a header may hold is either refused, because ignoring it would change what the
// token means, or ignored: jku, jwk, x5u, x5c and x5t name keys of the token's own choosing, and are never looked at.
func (t *token) readHeader(text []byte) error {
	header, err := strictObject(text)
	if err != nil {
		return err
	}
	for _, name := range []string{"crit", "b64", "zip", "enc"} {
		if _, is := header[name]; is {
			return fmt.Errorf("it has %q, which is not supported", name)
		}
	}
	if err := headerTypes(header); err != nil {
		return err
	}
	var ok bool
	if t.algorithm, ok = header["alg"].(string); !ok {
		return errors.New("alg is not a string")
	}
	if kid, is := header["kid"]; is {
		if t.kid, ok = kid.(string); !ok {
			return errors.New("kid is not a string")
		}
		if fault := kidFault(t.kid); fault != "" {
			return errors.New("kid " + fault)
		}
	}
	return nil
}

// headerTypes refuses other kinds of tokens (RFC 8725, section 3.11): an ID token's typ is JWT or absent, an access token's
// may be at+jwt (RFC 9068), and a logout or event token has another one. A nested token has cty.
func headerTypes(header map[string]any) error {
	if typ, is := header["typ"]; is {
		name, ok := typ.(string)
		if !ok {
			return errors.New("typ is not a string")
		}
		name = strings.ToLower(name)
		if kind := strings.TrimPrefix(name, "application/"); kind != "jwt" && kind != "at+jwt" {
			return errors.New("typ says that it is another kind of token")
		}
	}
	if _, is := header["cty"]; is {
		return errors.New("cty says that there is another token inside")
	}
	return nil
}
