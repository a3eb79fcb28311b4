package handlers

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// cursor is where a list goes on. It travels as base64url, readable and unsigned, so it is never trusted: the range is
// computed from the request again and the key must lie in it, and whatever else it says only chooses among what the
// caller could ask for anyway. It holds no address, so any gateway takes it.
type cursor struct {
	// hash is that of the parameters that must stay the same.
	hash uint64
	// revision is the store revision that all pages are read at.
	revision int64
	// count is the number of keys of the whole range, -1 when it was not asked for.
	count int64
	// epoch is the store's history in which revision means something.
	epoch string
	// key is the last one read, relative to the namespace.
	key []byte
}

// cursorVersion changes with the layout: a cursor of another version is refused, not misread.
const cursorVersion = 1

// appendTo appends the cursor's text: version, hash, revision, count + 1, epoch with its length, and the key.
func (k *cursor) appendTo(dst []byte) []byte {
	b := make([]byte, 0, 64+len(k.epoch)+len(k.key))
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, k.hash)
	b = binary.AppendUvarint(b, uint64(k.revision)) //nolint:gosec // never negative
	b = binary.AppendUvarint(b, uint64(k.count+1))  //nolint:gosec // never negative
	b = binary.AppendUvarint(b, uint64(len(k.epoch)))
	b = append(b, k.epoch...)
	b = append(b, k.key...)
	return base64.RawURLEncoding.AppendEncode(dst, b)
}

// parseCursor reads a cursor's text; ok is false for anything that appendTo would not have written.
func parseCursor(text string) (k cursor, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 9 || b[0] != cursorVersion {
		return k, false
	}
	k.hash = binary.BigEndian.Uint64(b[1:9])
	var numbers [3]int64
	b = b[9:]
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > maxInt64 {
			return k, false
		}
		numbers[i], b = int64(v), b[n:]
	}
	k.revision, k.count = numbers[0], numbers[1]-1
	if k.revision == 0 || numbers[2] > int64(len(b)) {
		return k, false
	}
	k.epoch, k.key = string(b[:numbers[2]]), b[numbers[2]:]
	if len(k.key) == 0 || string(k.appendTo(nil)) != text {
		return k, false
	}
	return k, true
}

// resume reads the cursor parameter, which must belong to the parameters of that hash, to a key of r and to the present
// history of the store. It gives nil when there is none.
func (c *call) resume(text string, hash uint64, r *keyrange.Range) (*cursor, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no cursor is not a fault
	}
	k, ok := parseCursor(text)
	if !ok {
		return nil, problem.New(problem.InvalidCursor, "the cursor is not one that a list has given").AtParameter("cursor")
	}
	if k.hash != hash || !r.Contains(k.key) {
		return nil, problem.New(problem.InvalidCursor,
			"the cursor belongs to another list; only limit, encoding and keys_only may differ from the first page").AtParameter("cursor")
	}
	epoch, err := c.api.epoch.Current(c.ctx())
	if err != nil {
		return nil, err
	}
	if k.epoch != epoch {
		return nil, problem.New(problem.EpochChanged, "the cursor is of a history of the store that was replaced").
			WithHint("start the list again without the cursor").AtParameter("cursor")
	}
	return &k, nil
}

// parameterHash tells lists apart by their parameters. It guards against mistakes, not against forgery. Every part goes in
// with its length, so that no two sequences of parts run together.
type parameterHash struct{ buffer []byte }

func (h *parameterHash) bytes(b []byte) {
	h.buffer = binary.AppendUvarint(h.buffer, uint64(len(b)))
	h.buffer = append(h.buffer, b...)
}

func (h *parameterHash) number(n int64) { h.buffer = binary.AppendVarint(h.buffer, n) }

func (h *parameterHash) flag(f bool) {
	if f {
		h.number(1)
	} else {
		h.number(0)
	}
}

func (h *parameterHash) sum() uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(h.buffer) // never fails
	return sum.Sum64()
}
