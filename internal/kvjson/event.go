package kvjson

import (
	"strconv"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// AppendEvent appends the event: `{"type":"put","kv":{…},"prev_kv":{…}}`, or `{"type":"delete","kv":{key,
// mod_revision},"prev_kv":{…}}`.
func AppendEvent(dst []byte, e wire.Event, o Options) []byte {
	if e.Delete {
		dst = append(dst, `{"type":"delete","kv":{`...)
		dst = AppendKey(dst, e.KV.Key, o.Encoding)
		dst = append(dst, `,"mod_revision":`...)
		dst = strconv.AppendInt(dst, e.KV.ModRevision, 10)
		dst = append(dst, '}')
	} else {
		dst = append(dst, `{"type":"put","kv":`...)
		dst = AppendKeyValue(dst, e.KV, o)
	}
	if e.PrevKV != nil {
		dst = append(dst, `,"prev_kv":`...)
		dst = AppendKeyValue(dst, *e.PrevKV, o)
	}
	return append(dst, '}')
}
