package wire_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// nestedAnswer is an answer to a transaction that holds one that holds one, and so on. It is built from the inside, back
// to front, so that it takes no more time than it has bytes.
func nestedAnswer(levels int) []byte {
	var reversed, header []byte
	prepend := func(num protowire.Number) {
		header = protowire.AppendTag(header[:0], num, protowire.BytesType)
		header = protowire.AppendVarint(header, uint64(len(reversed)))
		slices.Reverse(header)
		reversed = append(reversed, header...)
	}
	for range levels {
		prepend(4) // ResponseOp.response_txn
		prepend(3) // TxnResponse.responses
	}
	slices.Reverse(reversed)
	return reversed
}

// The parser recurses, and a stack that overflows cannot be recovered from: it would end the process.
func TestTransactionsNestedWithoutEndAreAnErrorNotAnOverflow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		levels int
		ok     bool
	}{{1, true}, {1000, true}, {4096, true}, {4097, false}, {2_000_000, false}} {
		r, err := wire.ParseTxn(nestedAnswer(tt.levels), nil)
		if (err == nil) != tt.ok {
			t.Errorf("%d levels: got %v, want success: %v", tt.levels, err, tt.ok)
		}
		if !tt.ok {
			continue
		}
		levels := 0
		for txn := &r; len(txn.Results) == 1; txn = txn.Results[0].Txn {
			levels++
		}
		if levels != tt.levels {
			t.Errorf("got %d levels, want %d", levels, tt.levels)
		}
	}
}
