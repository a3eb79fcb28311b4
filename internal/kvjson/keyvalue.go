package kvjson

import (
	"encoding/base64"
	"strconv"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// AppendKey appends the member `"key":"…"` or `"key_base64":"…"`, without comma and braces.
func AppendKey(dst, key []byte, e Encoding) []byte {
	if e != Base64 {
		var ok bool
		if dst, ok = appendText(dst, `"key":"`, key); ok {
			return dst
		}
	}
	return appendBase64(dst, `"key_base64":"`, key)
}

// AppendName appends b as the member of that name, or of name_base64 when b is not valid UTF-8 or e is Base64; without
// comma and braces. The name is written as it is: it must need no escapes.
func AppendName(dst []byte, name string, b []byte, e Encoding) []byte {
	start := len(dst)
	dst = append(dst, '"')
	dst = append(dst, name...)
	if e != Base64 {
		var ok bool
		if dst, ok = appendText(dst, `":"`, b); ok {
			return dst
		}
	}
	return appendBase64(dst[:start+1+len(name)], `_base64":"`, b)
}

// appendText appends the string b, quoted, after opening, which includes the opening quote; when b is not valid UTF-8 it
// appends nothing that stays.
func appendText(dst []byte, opening string, b []byte) (_ []byte, ok bool) {
	text, ok := appendEscaped(append(dst, opening...), b, high)
	if !ok {
		return text[:len(dst)], false
	}
	return append(text, '"'), true
}

func appendBase64(dst []byte, opening string, b []byte) []byte {
	dst = append(dst, opening...)
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// AppendValue appends the member `"value":"…"`, `"value_base64":"…"` or `"value_json":…`, without comma and braces.
func AppendValue(dst, value []byte, e Encoding) []byte {
	if e == JSON {
		start := len(dst)
		dst = append(dst, `"value_json":`...)
		var ok bool
		if dst, ok = CompactJSON(dst, value); ok {
			return dst
		}
		dst = dst[:start]
	}
	if e != Base64 {
		var ok bool
		if dst, ok = appendText(dst, `"value":"`, value); ok {
			return dst
		}
	}
	return appendBase64(dst, `"value_base64":"`, value)
}

// AppendKeyValue appends the object of one key-value. The member `lease` is there when the key is attached to one.
func AppendKeyValue(dst []byte, kv wire.KeyValue, o Options) []byte {
	dst = append(dst, '{')
	dst = AppendKey(dst, kv.Key, o.Encoding)
	if !o.KeysOnly {
		dst = append(dst, ',')
		dst = AppendValue(dst, kv.Value, o.Encoding)
	}
	dst = append(dst, `,"create_revision":`...)
	dst = strconv.AppendInt(dst, kv.CreateRevision, 10)
	dst = append(dst, `,"mod_revision":`...)
	dst = strconv.AppendInt(dst, kv.ModRevision, 10)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, kv.Version, 10)
	if kv.Lease != 0 {
		dst = append(dst, `,"lease":`...)
		dst = AppendID(dst, kv.Lease)
	}
	return append(dst, '}')
}

// AppendKeyValues appends the array of the key-values, in etcd's order.
func AppendKeyValues(dst []byte, kvs *wire.KeyValues, o Options) []byte {
	dst = append(dst, '[')
	first := true
	for kv := range kvs.All() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = AppendKeyValue(dst, kv, o)
	}
	return append(dst, ']')
}

// AppendRange appends the members `"revision":…,"kvs":[…],"more":…` of an answered range, without braces, so that the
// caller can add a cursor or a count. The revision is the header's.
func AppendRange(dst []byte, r *wire.RangeResponse, o Options) []byte {
	dst = append(dst, `"revision":`...)
	dst = strconv.AppendInt(dst, r.Header.Revision, 10)
	dst = append(dst, `,"kvs":`...)
	dst = AppendKeyValues(dst, &r.KVs, o)
	dst = append(dst, `,"more":`...)
	return strconv.AppendBool(dst, r.More)
}
