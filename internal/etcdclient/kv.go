package etcdclient

import (
	"context"
	"errors"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Range reads a key or a range of keys. Unless r is serializable the answer is linearizable. The answer aliases a pooled
// buffer: call its Free when done with it, or leave it to the collector.
func (c *Client) Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	return c.rangeIn(ctx, r, nil)
}

// Put writes a key. It is sent at most once unless it provably did not leave.
func (c *Client) Put(ctx context.Context, r *wire.PutRequest) (*wire.PutResponse, error) {
	return c.putIn(ctx, r, nil)
}

// DeleteRange deletes a key or a range of keys. It is sent at most once unless it provably did not leave.
func (c *Client) DeleteRange(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error) {
	return c.deleteIn(ctx, r, nil)
}

// Txn runs a transaction. One that only reads is repeated like a read, any other is treated like a put.
func (c *Client) Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error) {
	return c.txnIn(ctx, r, nil)
}

// The In forms take the prefix that the answer's keys must have and are given without.

func (c *Client) rangeIn(ctx context.Context, r *wire.RangeRequest, prefix []byte) (*wire.RangeResponse, error) {
	if bringsToken(ctx) {
		return c.rangeAlone(ctx, r, prefix)
	}
	if l := c.lane(r); l != nil {
		return l.do(ctx, r, prefix)
	}
	if c.ranges != nil && c.fits == nil && len(r.End) > 0 {
		return c.ranges.do(ctx, r, prefix)
	}
	return c.rangeAlone(ctx, r, prefix)
}

func (c *Client) rangeAlone(ctx context.Context, r *wire.RangeRequest, prefix []byte) (*wire.RangeResponse, error) {
	m := rangeMethod(r)
	answer, err := c.exchange(ctx, m, r, rangeSize(r))
	if err != nil {
		return nil, err
	}
	response, parseErr := wire.ParseRange(answer.buffer.ReadOnlyData(), prefix)
	if parseErr != nil {
		return nil, unreadable(m, answer, parseErr)
	}
	response.Own(answer.buffer)
	answer.from.note(response.Header)
	return &response, nil
}

func (c *Client) putIn(ctx context.Context, r *wire.PutRequest, prefix []byte) (*wire.PutResponse, error) {
	return audited(ctx, c, methodPut, r, func() (*wire.PutResponse, error) { return c.putAlone(ctx, r, prefix) })
}

func (c *Client) putAlone(ctx context.Context, r *wire.PutRequest, prefix []byte) (*wire.PutResponse, error) {
	answer, err := c.exchange(ctx, methodPut, r, putSize(r))
	if err != nil {
		return nil, err
	}
	response, parseErr := wire.ParsePut(answer.buffer.ReadOnlyData(), prefix)
	if parseErr != nil {
		return nil, unreadable(methodPut, answer, parseErr)
	}
	response.Own(answer.buffer)
	answer.from.note(response.Header)
	return &response, nil
}

func (c *Client) deleteIn(ctx context.Context, r *wire.DeleteRequest, prefix []byte) (*wire.DeleteResponse, error) {
	return audited(ctx, c, methodDelete, r, func() (*wire.DeleteResponse, error) { return c.deleteAlone(ctx, r, prefix) })
}

func (c *Client) deleteAlone(ctx context.Context, r *wire.DeleteRequest, prefix []byte) (*wire.DeleteResponse, error) {
	answer, err := c.exchange(ctx, methodDelete, r, room+len(r.Key)+len(r.End))
	if err != nil {
		return nil, err
	}
	response, parseErr := wire.ParseDelete(answer.buffer.ReadOnlyData(), prefix)
	if parseErr != nil {
		return nil, unreadable(methodDelete, answer, parseErr)
	}
	response.Own(answer.buffer)
	answer.from.note(response.Header)
	return &response, nil
}

func (c *Client) txnIn(ctx context.Context, r *wire.TxnRequest, prefix []byte) (*wire.TxnResponse, error) {
	m := methodTxn
	if readOnly(r) {
		m = methodTxnRead
	} else if c.looks(ctx) {
		if with := looking(r); with != r {
			return c.txnLooking(ctx, r, with, prefix)
		}
	}
	return audited(ctx, c, m, r, func() (*wire.TxnResponse, error) { return c.txnAlone(ctx, m, r, prefix) })
}

func (c *Client) txnAlone(ctx context.Context, m *method, r *wire.TxnRequest, prefix []byte) (*wire.TxnResponse, error) {
	answer, err := c.exchange(ctx, m, r, txnSize(r))
	if err != nil {
		return nil, err
	}
	response, parseErr := wire.ParseTxn(answer.buffer.ReadOnlyData(), prefix)
	if parseErr != nil {
		return nil, unreadable(m, answer, parseErr)
	}
	response.Own(answer.buffer)
	answer.from.note(response.Header)
	return &response, nil
}

// exchange sends the request's bytes and gives the answer's, which the caller owns.
func (c *Client) exchange(ctx context.Context, m *method, r wire.Request, size int) (*frame, error) {
	request := encode(r, size)
	defer request.free()
	answer := new(frame)
	if err := c.unary(ctx, m, &request, answer, request.len(), nil); err != nil {
		answer.free()
		return nil, err
	}
	return answer, nil
}

// unreadable gives an answer's memory back and says why it cannot be used.
func unreadable(m *method, answer *frame, err error) error {
	answer.free()
	if errors.Is(err, wire.ErrOutsideNamespace) {
		return errOutside(m)
	}
	return errCorrupt(m, err)
}

// rangeMethod chooses the connections for a range: large ones have their own, and the leader has no advantage in a read
// that asks no quorum.
func rangeMethod(r *wire.RangeRequest) *method {
	switch {
	case bulky(r.End, r.Limit, r.CountOnly):
		return methodRangeBulk
	case r.Serializable:
		return methodRangeLocal
	default:
		return methodRange
	}
}

// readOnly says that the transaction writes nothing, whichever branch is taken.
func readOnly(t *wire.TxnRequest) bool {
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for _, op := range branch {
			if op.Put != nil || op.Delete != nil || op.Txn != nil && !readOnly(op.Txn) {
				return false
			}
		}
	}
	return true
}

// room is what the fields of a message with no bytes in them take at most, roughly.
const room = 64

func rangeSize(r *wire.RangeRequest) int { return 2*room + len(r.Key) + len(r.End) }
func putSize(r *wire.PutRequest) int     { return room + len(r.Key) + len(r.Value) }

func txnSize(t *wire.TxnRequest) int {
	size := room
	for i := range t.If {
		size += room + len(t.If[i].Key) + len(t.If[i].End) + len(t.If[i].Value)
	}
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for _, op := range branch {
			switch {
			case op.Range != nil:
				size += rangeSize(op.Range)
			case op.Put != nil:
				size += putSize(op.Put)
			case op.Delete != nil:
				size += room + len(op.Delete.Key) + len(op.Delete.End)
			case op.Txn != nil:
				size += txnSize(op.Txn)
			}
			size += 8
		}
	}
	return size
}
