package authz

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// leaseTag is the upper 40 bits of the ids of a namespace's leases. etcd's leases have no namespace, so the id itself tells
// whose a lease is: everybody else is told that there is none. The lower 23 bits are random; the sign bit stays clear.
type leaseTag int64

const (
	tagBits    = 40
	randomBits = 23
)

// tagOf makes the tag of an owner, which nobody can foretell who does not know the secret.
func tagOf(secret []byte, owner string) leaseTag {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte(owner)) // never fails (package hash)
	return leaseTag(binary.BigEndian.Uint64(mac.Sum(nil)) >> (64 - tagBits))
}

// owns tells whether a lease has the tag.
func (t leaseTag) owns(id int64) bool { return id>>randomBits == int64(t) }

// newID chooses the id of a new lease.
func (t leaseTag) newID() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return int64(t)<<randomBits | int64(binary.BigEndian.Uint64(b[:])&(1<<randomBits-1))
}
