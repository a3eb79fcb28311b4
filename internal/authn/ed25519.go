package authn

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
)

// fitEd25519 refuses the points of small order: with such a key, signatures that nobody made can be found for any text.
// They are the eight points of the torsion subgroup in every encoding that crypto/ed25519 decodes, the sign bit aside.
func fitEd25519(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return errors.New("an Ed25519 key has 32 bytes")
	}
	y := [ed25519.PublicKeySize]byte(key)
	y[31] &= 0x7f
	switch hex.EncodeToString(y[:]) {
	case "0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, the same as 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f": // p + 1, the same as 1
		return errors.New("the Ed25519 key is a point of small order, which proves nothing")
	}
	return nil
}
