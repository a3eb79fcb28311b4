package authn

import "math/big"

// rocaPrimes are those of the fingerprint in "The Return of Coppersmith's Attack" (Nemec and others, CCS 2017), section 2.
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149,
	151, 157, 163, 167,
}

// isROCA tells whether an RSA modulus bears the mark of the chips whose keys can be factored (CVE-2017-15361): their primes are
// powers of 65537 modulo many small primes, and so is the modulus. One of a good generator is so by chance once in 2^27 at most.
func isROCA(n *big.Int) bool {
	var remainder big.Int
	for _, p := range rocaPrimes {
		if !isPower(65537%p, remainder.Mod(n, big.NewInt(p)).Int64(), p) {
			return false
		}
	}
	return true
}

// isPower tells whether x is a power of the base modulo p.
func isPower(base, x, p int64) bool {
	for power, n := int64(1), int64(0); n < p; power, n = power*base%p, n+1 {
		if power == x {
			return true
		}
	}
	return false
}
