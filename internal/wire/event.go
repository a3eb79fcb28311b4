package wire

import "google.golang.org/protobuf/encoding/protowire"

// Event is one change of one key.
type Event struct {
	// Delete says that the key was deleted; KV then has only its key and the revision of the deletion.
	Delete bool
	KV     KeyValue
	// PrevKV is the key-value before the change; nil when it was not asked for or there was none.
	PrevKV *KeyValue
}

// ParseEvent reads an mvccpb.Event, whose keys must begin with prefix and are given without it.
func ParseEvent(b, prefix []byte) (e Event, err error) {
	var kv []byte
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return e, err
		}
		switch {
		case f.is(1, protowire.VarintType):
			e.Delete = f.n == 1
		case f.is(2, protowire.BytesType):
			kv = f.b
		case f.is(3, protowire.BytesType):
			var prev KeyValue
			if prev, err = ParseKeyValue(f.b, prefix); err != nil {
				return e, err
			}
			e.PrevKV = &prev
		}
	}
	e.KV, err = ParseKeyValue(kv, prefix)
	return e, err
}
