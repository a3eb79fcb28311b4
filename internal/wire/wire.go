// Package wire reads and writes etcd's key-value messages straight from and to their protobuf bytes.
//
// Requests are plain structs that append themselves to a buffer; answers are views whose byte slices alias the bytes
// they were parsed from. There is no reflection and no object per key, which is what makes a list cheap. The package
// knows the messages of etcdserverpb's KV and Watch services only; everything else goes through the generated types.
//
// Parsing validates the whole message, so walking a parsed answer cannot fail. With a namespace prefix, every key is
// checked to begin with it and is given without it: a key outside the namespace is an error and never a slice of one. Only
// the gateway's own state (StatePrefix) has no namespace.
//
// Field numbers: api/v3/etcdserverpb/rpc.proto and api/v3/mvccpb/kv.proto of etcd 3.7.
package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrOutsideNamespace means that etcd answered with a key that does not begin with the namespace asked for.
var ErrOutsideNamespace = errors.New("a key outside the namespace")

// StatePrefix is what the keys of the gateway's own state begin with. They belong to no namespace: a write within one can
// carry a record of its outcome.
const StatePrefix = "\x00etcdrest/"

// IsState tells whether a key holds the gateway's own state.
func IsState(key []byte) bool {
	return len(key) > 0 && key[0] == 0 && len(key) >= len(StatePrefix) && string(key[:len(StatePrefix)]) == StatePrefix
}

// Header is etcd's ResponseHeader: who answered, and the store revision it answered from. The headers inside a
// transaction's results carry only the revision.
type Header struct {
	ClusterID, MemberID uint64
	Revision            int64
	RaftTerm            uint64
}

// KeyValue is one key with its metadata. Key and Value alias the bytes they were parsed from.
type KeyValue struct {
	Key, Value     []byte
	CreateRevision int64
	ModRevision    int64
	Version        int64
	// Lease is the id of the lease the key is attached to, 0 for none.
	Lease int64
}

// Clone copies Key and Value, so that the result outlives the answer it was parsed from.
func (kv KeyValue) Clone() KeyValue {
	kv.Key = append(make([]byte, 0, len(kv.Key)), kv.Key...)
	kv.Value = append(make([]byte, 0, len(kv.Value)), kv.Value...)
	return kv
}

// field is one field of a message: its number, its varint (wire type 0) or its bytes (wire type 2).
type field struct {
	num  protowire.Number
	kind protowire.Type
	n    uint64
	b    []byte
}

// next cuts the first field off b. Wire types that etcd's messages do not use are skipped with an empty field.
func next(b []byte) (f field, rest []byte, err error) {
	if len(b) > 0 && b[0] >= 1<<3 && b[0] < 0x80 && b[0]&7 == byte(protowire.BytesType) { // what most of an answer is made of
		f.num, f.kind = protowire.Number(b[0]>>3), protowire.BytesType
		if f.b, rest, err = cutBytes(b[1:]); err != nil {
			return f, nil, fmt.Errorf("field %d: %w", f.num, err)
		}
		return f, rest, nil
	}
	num, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, fmt.Errorf("field tag: %w", protowire.ParseError(n))
	}
	b = b[n:]
	f = field{num: num, kind: kind}
	switch kind {
	case protowire.VarintType:
		f.n, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.b, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(num, kind, b)
	}
	if n < 0 {
		return f, nil, fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
	}
	return f, b[n:], nil
}

// is tells whether the field has that number and wire type; a known number in another wire type is an unknown field, as
// in protobuf itself.
func (f *field) is(num protowire.Number, kind protowire.Type) bool {
	return f.num == num && f.kind == kind
}

// ParseHeader reads a ResponseHeader.
func ParseHeader(b []byte) (h Header, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return h, err
		}
		if f.kind != protowire.VarintType {
			continue
		}
		switch f.num {
		case 1:
			h.ClusterID = f.n
		case 2:
			h.MemberID = f.n
		case 3:
			h.Revision = int64(f.n)
		case 4:
			h.RaftTerm = f.n
		}
	}
	return h, nil
}

// ParseKeyValue reads an mvccpb.KeyValue, whose key must begin with prefix and is given without it.
func ParseKeyValue(b, prefix []byte) (kv KeyValue, err error) {
	for len(b) > 0 {
		switch b[0] { // the tags that etcd writes, each one byte
		case 1<<3 | 2:
			kv.Key, b, err = cutBytes(b[1:])
		case 2 << 3:
			kv.CreateRevision, b, err = cutInt(b[1:])
		case 3 << 3:
			kv.ModRevision, b, err = cutInt(b[1:])
		case 4 << 3:
			kv.Version, b, err = cutInt(b[1:])
		case 5<<3 | 2:
			kv.Value, b, err = cutBytes(b[1:])
		case 6 << 3:
			kv.Lease, b, err = cutInt(b[1:])
		default:
			b, err = kv.other(b)
		}
		if err != nil {
			return kv, err
		}
	}
	if len(prefix) > 0 && !IsState(kv.Key) {
		if len(kv.Key) < len(prefix) || string(kv.Key[:len(prefix)]) != string(prefix) {
			return kv, ErrOutsideNamespace
		}
		kv.Key = kv.Key[len(prefix):]
	}
	return kv, nil
}

// KeyValues is a run of key-values inside one answer, validated when the answer was parsed.
type KeyValues struct {
	message []byte // the enclosing message
	prefix  []byte
	num     protowire.Number // the field that repeats
	n       int
}

// Len is the number of key-values.
func (k *KeyValues) Len() int { return k.n }

// Size is the number of bytes that they take in the answer, roughly: what to expect of a copy in another form.
func (k *KeyValues) Size() int { return len(k.message) }

// All walks the key-values in etcd's order. What it yields aliases the answer.
func (k *KeyValues) All() func(yield func(KeyValue) bool) {
	return func(yield func(KeyValue) bool) {
		if k.n == 0 {
			return
		}
		for b := k.message; len(b) > 0; {
			f, rest, err := next(b)
			if err != nil {
				return // cannot happen: add has seen every field
			}
			b = rest
			if !f.is(k.num, protowire.BytesType) {
				continue
			}
			kv, err := ParseKeyValue(f.b, k.prefix)
			if err != nil || !yield(kv) {
				return
			}
		}
	}
}

// First gives the first key-value; ok is false when there is none.
func (k *KeyValues) First() (kv KeyValue, ok bool) {
	for kv := range k.All() {
		return kv, true
	}
	return kv, false
}

// Last gives the last key-value; ok is false when there is none. It walks the whole run.
func (k *KeyValues) Last() (kv KeyValue, ok bool) {
	for kv = range k.All() {
		ok = true
	}
	return kv, ok
}

// add validates one more key-value of the run.
func (k *KeyValues) add(b []byte) error {
	if _, err := ParseKeyValue(b, k.prefix); err != nil {
		return fmt.Errorf("key-value %d: %w", k.n, err)
	}
	k.n++
	return nil
}

// cutBytes and cutInt cut one value off b; most lengths fit one byte or two, which is worth a path of its own.
func cutBytes(b []byte) (v, rest []byte, err error) {
	if len(b) > 1 {
		n, from := int(b[0]), 1
		if n >= 0x80 {
			n, from = n&0x7f|int(b[1])<<7, 2
		}
		if end := from + n; b[from-1] < 0x80 && end <= len(b) {
			return b[from:end], b[end:], nil
		}
	}
	return cutBytesSlow(b)
}

func cutBytesSlow(b []byte) (v, rest []byte, err error) {
	v, n := protowire.ConsumeBytes(b)
	if n < 0 {
		return nil, nil, protowire.ParseError(n)
	}
	return v, b[n:], nil
}

func cutInt(b []byte) (v int64, rest []byte, err error) {
	var n uint64
	for i := range min(len(b), 9) {
		c := b[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return int64(n), b[i+1:], nil
		}
	}
	n, size := protowire.ConsumeVarint(b)
	if size < 0 {
		return 0, nil, protowire.ParseError(size)
	}
	return int64(n), b[size:], nil
}

// other reads a field whose tag is none of the usual ones: an unknown field, or a known one with a tag that is spelled
// with more bytes than it needs.
func (kv *KeyValue) other(b []byte) (rest []byte, err error) {
	f, rest, err := next(b)
	if err != nil {
		return nil, err
	}
	switch {
	case f.is(1, protowire.BytesType):
		kv.Key = f.b
	case f.is(2, protowire.VarintType):
		kv.CreateRevision = int64(f.n)
	case f.is(3, protowire.VarintType):
		kv.ModRevision = int64(f.n)
	case f.is(4, protowire.VarintType):
		kv.Version = int64(f.n)
	case f.is(5, protowire.BytesType):
		kv.Value = f.b
	case f.is(6, protowire.VarintType):
		kv.Lease = int64(f.n)
	}
	return rest, nil
}
