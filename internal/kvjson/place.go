package kvjson

import (
	"bytes"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// AppendPlace appends who stands at a key of a queue (of a lock, or an election), as members without braces: owner_key, lease
// where the key tells it, and fencing_token. The prefix is the queue's name with the slash behind it.
func AppendPlace(dst []byte, kv wire.KeyValue, prefix []byte, e Encoding) []byte {
	dst = AppendName(dst, "owner_key", kv.Key, e)
	if lease := leaseAt(kv.Key, prefix); lease != 0 {
		dst = AppendID(append(dst, `,"lease":`...), lease)
	}
	return strconv.AppendInt(append(dst, `,"fencing_token":`...), kv.CreateRevision, 10)
}

// leaseAt is the lease that stands at a key, 0 when the key does not say. The package concurrency writes the id in
// hexadecimal, as short as it gets.
func leaseAt(key, prefix []byte) int64 {
	id, err := strconv.ParseInt(string(bytes.TrimPrefix(key, prefix)), 16, 64)
	if err != nil {
		return 0
	}
	return id
}

// AppendLeader appends the leader of an election: its place, and the value that it proclaims.
func AppendLeader(dst []byte, kv wire.KeyValue, prefix []byte, e Encoding) []byte {
	dst = AppendPlace(append(dst, '{'), kv, prefix, e)
	return append(AppendValue(append(dst, ','), kv.Value, e), '}')
}
