package authn

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// Key is one key that tokens are checked with, and the only algorithm that it may be used with (RFC 8725, section 3.1).
type Key struct {
	id        string // kid; may be empty
	algorithm algorithm
	material  crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or []byte for HMAC
	// fingerprint tells the key, its name and its algorithm from all others.
	fingerprint [sha256.Size]byte
}

// newKey makes a key of parts that fit each other.
func newKey(id, algorithmName string, material crypto.PublicKey) (*Key, error) {
	a, err := algorithmNamed(algorithmName)
	if err != nil {
		return nil, err
	}
	if fault := kidFault(id); id != "" && fault != "" {
		return nil, fmt.Errorf("kid %s", fault)
	}
	if err := a.fits(material); err != nil {
		return nil, err
	}
	encoded, ok := material.([]byte)
	if !ok {
		if encoded, err = x509.MarshalPKIXPublicKey(material); err != nil {
			return nil, err
		}
	}
	fingerprint := sha256.Sum256(fmt.Appendf(nil, "%s %q %x", a.name, id, encoded))
	return &Key{id, a, material, fingerprint}, nil
}

// kidFault says why a text cannot be the name of a key. It is only ever the key of a map.
func kidFault(id string) string { return nameFault(id) }

// KeySet is the keys of one issuer at one time. It is immutable: changed keys are another set, and what was verified with a
// set counts only as long as that very set does.
type KeySet struct {
	keys []*Key
	byID map[string]*Key
}

// maxKeys bounds a set; issuers have two to five keys.
const maxKeys = 64

// newKeySet makes a set. Two keys of one name would leave open what a token means.
func newKeySet(keys []*Key) (*KeySet, error) {
	s := &KeySet{keys: keys, byID: make(map[string]*Key, len(keys))}
	for _, k := range keys {
		if k.id == "" {
			continue
		}
		if s.byID[k.id] != nil {
			return nil, fmt.Errorf("two keys have the kid %q", k.id)
		}
		s.byID[k.id] = k
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("there is no key that can be used")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("there are %d keys; %d can be taken", len(keys), maxKeys)
	}
	return s, nil
}

// find gives the key for a token with that kid (empty: none) and algorithm. A key without a kid is for any token of its
// algorithm, provided that there is but one such. Not finding one is an error that says why, and whether a newer set may have it.
func (s *KeySet) find(kid, algorithmName string) (k *Key, newerMayHave bool, err error) {
	if k = s.byID[kid]; k != nil {
		if k.algorithm.name != algorithmName {
			return nil, false, fmt.Errorf("the key %q is for %s, the token says %q", kid, k.algorithm.name, algorithmName)
		}
		return k, false, nil
	}
	for _, candidate := range s.keys {
		if candidate.algorithm.name != algorithmName || (kid != "" && candidate.id != "") {
			continue
		}
		if k != nil {
			return nil, false, fmt.Errorf("the token has kid %q, and several keys are for %s", kid, algorithmName)
		}
		k = candidate
	}
	if k == nil {
		return nil, true, fmt.Errorf("no key has the kid %q and is for %q", kid, algorithmName)
	}
	return k, false, nil
}

// same tells whether both sets hold the same keys, so that nothing needs to be verified anew.
func (s *KeySet) same(other *KeySet) bool {
	return other != nil && slices.EqualFunc(s.keys, other.keys, (*Key).same)
}

func (k *Key) same(other *Key) bool { return k.fingerprint == other.fingerprint }

// has tells whether the key of that fingerprint is in the set.
func (s *KeySet) has(fingerprint []byte) bool {
	return slices.ContainsFunc(s.keys, func(k *Key) bool { return bytes.Equal(k.fingerprint[:], fingerprint) })
}

// kids names the keys, for the log.
func (s *KeySet) kids() []string {
	var ids []string
	for _, k := range s.keys {
		ids = append(ids, k.id)
	}
	return ids
}

// verify checks a signature over the signed part of a token.
func (k *Key) verify(signed string, signature []byte) error {
	return k.algorithm.method.Verify(signed, signature, k.material)
}
