package wire

import (
	"bytes"
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// Buffer is the memory that an answer's views alias (grpc's mem.Buffer satisfies it).
type Buffer interface{ Free() }

// owner lets an answer give its memory back early. Never calling Free is safe, since the collector then has it.
type owner struct{ buffer Buffer }

// Own hands the memory under the answer to it.
func (o *owner) Own(b Buffer) { o.buffer = b }

// Free gives the answer's memory back for reuse. Nothing that aliases the answer may be used afterwards. Calling it
// twice, or never, is harmless.
func (o *owner) Free() {
	if o.buffer != nil {
		o.buffer.Free()
		o.buffer = nil
	}
}

// RangeResponse is etcd's answer to a range.
type RangeResponse struct {
	owner
	Header Header
	KVs    KeyValues
	// More says that the limit cut the range short.
	More bool
	// Count is the number of keys in the whole range at the revision read, whatever the limit.
	Count int64
}

// ParseRange reads a RangeResponse; keys are given without prefix.
func ParseRange(b, prefix []byte) (r RangeResponse, err error) {
	r.KVs = KeyValues{message: b, prefix: prefix, num: 2}
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return r, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			r.Header, err = ParseHeader(f.b)
		case f.is(2, protowire.BytesType):
			err = r.KVs.add(f.b)
		case f.is(3, protowire.VarintType):
			r.More = f.n != 0
		case f.is(4, protowire.VarintType):
			r.Count = int64(f.n)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// Inside makes an answer that was read without a namespace one of the namespace: every key must begin with prefix and is
// given without it from now on.
func (r *RangeResponse) Inside(prefix []byte) error {
	if len(prefix) == 0 {
		return nil
	}
	for kv := range r.KVs.All() {
		if !bytes.HasPrefix(kv.Key, prefix) {
			return ErrOutsideNamespace
		}
	}
	r.KVs.prefix = prefix
	return nil
}

// PutResponse is etcd's answer to a put.
type PutResponse struct {
	owner
	Header Header
	// PrevKV is the key-value before the put, when asked for; Existed tells whether there was one.
	PrevKV  KeyValue
	Existed bool
}

// ParsePut reads a PutResponse; keys are given without prefix.
func ParsePut(b, prefix []byte) (r PutResponse, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return r, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			r.Header, err = ParseHeader(f.b)
		case f.is(2, protowire.BytesType):
			r.PrevKV, err = ParseKeyValue(f.b, prefix)
			r.Existed = true
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// DeleteResponse is etcd's answer to a delete.
type DeleteResponse struct {
	owner
	Header Header
	// Deleted is the number of keys deleted.
	Deleted int64
	// PrevKVs are the key-values deleted, when asked for.
	PrevKVs KeyValues
}

// ParseDelete reads a DeleteRangeResponse; keys are given without prefix.
func ParseDelete(b, prefix []byte) (r DeleteResponse, err error) {
	r.PrevKVs = KeyValues{message: b, prefix: prefix, num: 3}
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return r, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			r.Header, err = ParseHeader(f.b)
		case f.is(2, protowire.VarintType):
			r.Deleted = int64(f.n)
		case f.is(3, protowire.BytesType):
			err = r.PrevKVs.add(f.b)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// TxnResponse is etcd's answer to a transaction.
type TxnResponse struct {
	owner
	Header    Header
	Succeeded bool
	// Results are the answers to the operations of the branch that ran, in their order.
	Results []OpResponse
}

// OpResponse is the answer to one operation of a transaction; exactly one member is set.
type OpResponse struct {
	Range  *RangeResponse
	Put    *PutResponse
	Delete *DeleteResponse
	Txn    *TxnResponse
}

// maxTxnDepth is how deeply transactions may be nested in an answer: what protobuf's own limit of 10,000 messages lets
// through, about. A stack that overflows could not be recovered from.
const maxTxnDepth = 4096

// ParseTxn reads a TxnResponse; keys are given without prefix, however deep they are nested.
func ParseTxn(b, prefix []byte) (TxnResponse, error) { return parseTxn(b, prefix, maxTxnDepth) }

// parseTxn reads a TxnResponse that may hold depth levels of further ones.
func parseTxn(b, prefix []byte, depth int) (r TxnResponse, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return r, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			r.Header, err = ParseHeader(f.b)
		case f.is(2, protowire.VarintType):
			r.Succeeded = f.n != 0
		case f.is(3, protowire.BytesType):
			var op OpResponse
			if op, err = parseOp(f.b, prefix, depth); err == nil {
				r.Results = append(r.Results, op)
			}
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// parseOp reads a ResponseOp.
func parseOp(b, prefix []byte, depth int) (op OpResponse, err error) {
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return op, err
		}
		if f.kind != protowire.BytesType {
			continue
		}
		switch f.num {
		case 1:
			var r RangeResponse
			r, err = ParseRange(f.b, prefix)
			op = OpResponse{Range: &r}
		case 2:
			var r PutResponse
			r, err = ParsePut(f.b, prefix)
			op = OpResponse{Put: &r}
		case 3:
			var r DeleteResponse
			r, err = ParseDelete(f.b, prefix)
			op = OpResponse{Delete: &r}
		case 4:
			if depth == 0 {
				return op, errors.New("transactions are nested too deeply")
			}
			var r TxnResponse
			r, err = parseTxn(f.b, prefix, depth-1)
			op = OpResponse{Txn: &r}
		}
		if err != nil {
			return op, err
		}
	}
	if op == (OpResponse{}) {
		return op, errors.New("an operation's answer is of no known kind")
	}
	return op, nil
}
