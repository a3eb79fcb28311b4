package wire

import "google.golang.org/protobuf/encoding/protowire"

// Order is the direction of a sorted range.
type Order int32

// The orders of RangeRequest.SortOrder.
const (
	Unsorted   Order = 0
	Ascending  Order = 1
	Descending Order = 2
)

// SortBy is what a sorted range is sorted by.
type SortBy int32

// The targets of RangeRequest.SortBy.
const (
	ByKey            SortBy = 0
	ByVersion        SortBy = 1
	ByCreateRevision SortBy = 2
	ByModRevision    SortBy = 3
	ByValue          SortBy = 4
)

// Request is a message that appends its protobuf bytes.
type Request interface {
	// AppendTo appends the request's protobuf bytes to dst and gives the extended slice.
	AppendTo(dst []byte) []byte
}

// RangeRequest reads keys. Key alone is one key; End is exclusive; End of one NUL byte is every key from Key on.
type RangeRequest struct {
	Key, End []byte
	// Limit is the most keys to answer, 0 for no limit.
	Limit int64
	// Revision of the past to read, 0 for the present.
	Revision int64
	Order    Order
	SortBy   SortBy
	// Serializable reads what one member has, without asking for a quorum: it can be stale.
	Serializable bool
	KeysOnly     bool
	CountOnly    bool

	MinModRevision, MaxModRevision       int64
	MinCreateRevision, MaxCreateRevision int64
}

// AppendTo appends the RangeRequest.
func (r *RangeRequest) AppendTo(dst []byte) []byte {
	dst = appendBytes(dst, 1, r.Key)
	dst = appendBytes(dst, 2, r.End)
	dst = appendInt(dst, 3, r.Limit)
	dst = appendInt(dst, 4, r.Revision)
	dst = appendInt(dst, 5, int64(r.Order))
	dst = appendInt(dst, 6, int64(r.SortBy))
	dst = appendBool(dst, 7, r.Serializable)
	dst = appendBool(dst, 8, r.KeysOnly)
	dst = appendBool(dst, 9, r.CountOnly)
	dst = appendInt(dst, 10, r.MinModRevision)
	dst = appendInt(dst, 11, r.MaxModRevision)
	dst = appendInt(dst, 12, r.MinCreateRevision)
	return appendInt(dst, 13, r.MaxCreateRevision)
}

// PutRequest writes one key. Without Lease, a former lease is detached (etcd's rule) unless IgnoreLease is set.
type PutRequest struct {
	Key, Value []byte
	Lease      int64
	PrevKV     bool
	// IgnoreValue keeps the present value, IgnoreLease the present lease; both demand that the key exists.
	IgnoreValue, IgnoreLease bool
}

// AppendTo appends the PutRequest.
func (r *PutRequest) AppendTo(dst []byte) []byte {
	dst = appendBytes(dst, 1, r.Key)
	dst = appendBytes(dst, 2, r.Value)
	dst = appendInt(dst, 3, r.Lease)
	dst = appendBool(dst, 4, r.PrevKV)
	dst = appendBool(dst, 5, r.IgnoreValue)
	return appendBool(dst, 6, r.IgnoreLease)
}

// DeleteRequest deletes the range [Key, End); Key alone is one key.
type DeleteRequest struct {
	Key, End []byte
	PrevKV   bool
}

// AppendTo appends the DeleteRangeRequest.
func (r *DeleteRequest) AppendTo(dst []byte) []byte {
	dst = appendBytes(dst, 1, r.Key)
	dst = appendBytes(dst, 2, r.End)
	return appendBool(dst, 3, r.PrevKV)
}

// CompareOp is the relation of a compare.
type CompareOp int32

// The relations of Compare.Op.
const (
	Equal    CompareOp = 0
	Greater  CompareOp = 1
	Less     CompareOp = 2
	NotEqual CompareOp = 3
)

// CompareTarget is what a compare looks at.
type CompareTarget int32

// The targets of Compare.Target. An absent key has version, revisions and lease 0; a value compare with it is false.
const (
	TargetVersion        CompareTarget = 0
	TargetCreateRevision CompareTarget = 1
	TargetModRevision    CompareTarget = 2
	TargetValue          CompareTarget = 3
	TargetLease          CompareTarget = 4
)

// Compare is one condition of a transaction. With End it must hold for every key of the range.
type Compare struct {
	Key, End []byte
	Op       CompareOp
	Target   CompareTarget
	// Number is what version, revisions and lease are compared with; Value is what a value is compared with.
	Number int64
	Value  []byte
}

// AppendTo appends the Compare.
func (c *Compare) AppendTo(dst []byte) []byte {
	dst = appendInt(dst, 1, int64(c.Op))
	dst = appendInt(dst, 2, int64(c.Target))
	dst = appendBytes(dst, 3, c.Key)
	// The operand is a member of a oneof: it is written even when it is zero.
	switch c.Target {
	case TargetVersion:
		dst = appendOperand(dst, 4, c.Number)
	case TargetCreateRevision:
		dst = appendOperand(dst, 5, c.Number)
	case TargetModRevision:
		dst = appendOperand(dst, 6, c.Number)
	case TargetValue:
		dst = protowire.AppendTag(dst, 7, protowire.BytesType)
		dst = protowire.AppendBytes(dst, c.Value)
	case TargetLease:
		dst = appendOperand(dst, 8, c.Number)
	}
	return appendBytes(dst, 64, c.End)
}

// Op is one operation of a transaction; exactly one member is set.
type Op struct {
	Range  *RangeRequest
	Put    *PutRequest
	Delete *DeleteRequest
	Txn    *TxnRequest
}

// AppendTo appends the RequestOp. An Op with no member set appends nothing, which etcd refuses.
func (o *Op) AppendTo(dst []byte) []byte {
	switch {
	case o.Range != nil:
		return appendMessage(dst, 1, o.Range)
	case o.Put != nil:
		return appendMessage(dst, 2, o.Put)
	case o.Delete != nil:
		return appendMessage(dst, 3, o.Delete)
	case o.Txn != nil:
		return appendMessage(dst, 4, o.Txn)
	}
	return dst
}

// TxnRequest runs Then when every compare holds, else Else; atomically, in one revision.
type TxnRequest struct {
	If         []Compare
	Then, Else []Op
}

// AppendTo appends the TxnRequest.
func (t *TxnRequest) AppendTo(dst []byte) []byte {
	for i := range t.If {
		dst = appendMessage(dst, 1, &t.If[i])
	}
	for i := range t.Then {
		dst = appendMessage(dst, 2, &t.Then[i])
	}
	for i := range t.Else {
		dst = appendMessage(dst, 3, &t.Else[i])
	}
	return dst
}

// appendMessage appends r as a length-delimited field. The length is known only afterwards, so the body is moved up by
// the bytes that its length needs.
func appendMessage(dst []byte, num protowire.Number, r Request) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	start := len(dst)
	dst = r.AppendTo(dst)
	size := len(dst) - start
	var length [10]byte
	prefix := protowire.AppendVarint(length[:0], uint64(size))
	dst = append(dst, prefix...)
	copy(dst[start+len(prefix):], dst[start:start+size])
	copy(dst[start:], prefix)
	return dst
}

// The zero value of a proto3 field is not written.

func appendBytes(dst []byte, num protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), b)
}

func appendInt(dst []byte, num protowire.Number, n int64) []byte {
	if n == 0 {
		return dst
	}
	return appendOperand(dst, num, n)
}

func appendOperand(dst []byte, num protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), uint64(n))
}

func appendBool(dst []byte, num protowire.Number, v bool) []byte {
	if !v {
		return dst
	}
	return append(protowire.AppendTag(dst, num, protowire.VarintType), 1)
}
