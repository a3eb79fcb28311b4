package authn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// jwk is what counts of one key in a JWK Set (RFC 7517).
type jwk struct {
	kty, use, alg, kid, crv string
	n, e, x, y, d           string
	keyOps                  []any // nil: for everything
}

// readJWK takes the members of a key that count, each of its type.
func readJWK(members map[string]any) (k jwk, err error) {
	for name, to := range map[string]*string{
		"kty": &k.kty, "use": &k.use, "alg": &k.alg, "kid": &k.kid, "crv": &k.crv,
		"n": &k.n, "e": &k.e, "x": &k.x, "y": &k.y, "d": &k.d,
	} {
		value, is := members[name]
		if text, ok := value.(string); ok {
			*to = text
		} else if is {
			return k, fmt.Errorf("%s is not a string", name)
		}
	}
	operations, is := members["key_ops"]
	if list, ok := operations.([]any); ok {
		k.keyOps = list
	} else if is {
		return k, errors.New("key_ops is not an array")
	}
	return k, nil
}

// parseJWKS reads a JWK Set and gives the keys that sign with one of the algorithms. What is for another use or of another
// type is left out; skipped says why, key by key. A set that holds a secret is an error as a whole.
func parseJWKS(text []byte, algorithmNames []string) (keys []*Key, skipped []string, err error) {
	set, err := strictObject(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the JWK Set cannot be read: %w", err)
	}
	all, ok := set["keys"].([]any)
	if !ok {
		return nil, nil, errors.New("the JWK Set has no array `keys`")
	}
	for i, item := range all {
		members, _ := item.(map[string]any)
		k, err := readJWK(members)
		if err == nil && k.kty == "oct" {
			return nil, nil, errors.New("the JWK Set holds a secret (kty oct), which everybody knows who can read the set")
		}
		var key *Key
		if err == nil {
			key, err = k.key(algorithmNames)
		}
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("key %d (kid %q): %v", i, k.kid, err))
			continue
		}
		keys = append(keys, key)
	}
	return keys, skipped, nil
}

// key makes a key of the JWK, with the one algorithm that it is for: its alg, else the first of the given ones that fits it.
func (k *jwk) key(algorithmNames []string) (*Key, error) {
	switch {
	case k.d != "":
		return nil, errors.New("it is a private key, which everybody knows who can read the set")
	case k.use != "" && k.use != "sig":
		return nil, fmt.Errorf("its use is %q", k.use)
	case k.keyOps != nil && !slices.Contains(k.keyOps, any("verify")):
		return nil, errors.New("its key_ops do not have verify")
	}
	name := k.alg
	if name == "" {
		name = k.firstFitting(algorithmNames)
	}
	if !slices.Contains(algorithmNames, name) {
		return nil, fmt.Errorf("its alg %q, kty %q, crv %q are not among the configured algorithms", k.alg, k.kty, k.crv)
	}
	a, err := algorithmNamed(name)
	if err != nil {
		return nil, err
	}
	if k.kty != a.kty || (a.crv != "" && k.crv != a.crv) {
		return nil, fmt.Errorf("kty %q and crv %q do not go with alg %s", k.kty, k.crv, name)
	}
	material, err := k.material()
	if err != nil {
		return nil, err
	}
	return newKey(k.kid, name, material)
}

func (k *jwk) firstFitting(algorithmNames []string) string {
	for _, name := range algorithmNames {
		if a, err := algorithmNamed(name); err == nil && a.kty == k.kty && (a.crv == "" || a.crv == k.crv) {
			return name
		}
	}
	return ""
}

func (k *jwk) material() (crypto.PublicKey, error) {
	switch k.kty {
	case "RSA":
		n, errN := segment(k.n)
		e, errE := segment(k.e)
		if errN != nil || errE != nil || len(e) > 4 {
			return nil, errors.New("n or e is not a number in base64url, or e has more than 32 bits")
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		if exponent > 1<<31-1 {
			return nil, errors.New("e has more than 31 bits")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}, nil
	case "EC":
		return k.point()
	case "OKP":
		x, err := segment(k.x)
		if err != nil {
			return nil, fmt.Errorf("x: %w", err)
		}
		return ed25519.PublicKey(x), nil
	default:
		return nil, fmt.Errorf("kty %q is unknown", k.kty)
	}
}

// point reads the point of an EC key, which must be on its curve.
func (k *jwk) point() (crypto.PublicKey, error) {
	curve := curves()[k.crv]
	if curve == nil {
		return nil, fmt.Errorf("crv %q is unknown", k.crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	x, errX := segment(k.x)
	y, errY := segment(k.y)
	if errX != nil || errY != nil || len(x) != size || len(y) != size {
		return nil, fmt.Errorf("x or y is not %d bytes in base64url", size)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("x and y are no point of the curve")
	}
	return key, nil
}
