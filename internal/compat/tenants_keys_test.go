package compat_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Few keys, so that operations meet: awkward ones for the arithmetic of prefixes. Ends are of every kind.
var (
	tenantKeys = []string{"a", "a\xff", "b", "b/1", "b/2", "c\xff\xff", "\xff", "\xff\xff", "\x00", "\x00etcdrest/i/x", "t10/a", "/"}
	tenantEnds = slices.Concat(tenantKeys, []string{"", "", "", "", "\x00", "\x00", "c", "b0", "\xff\xff\xff"})
)

func (x *tenant) key() string { return b64(tenantKeys[x.r.IntN(len(tenantKeys))]) }

// anyKey can be empty, which is a fault.
func (x *tenant) anyKey() string {
	if x.r.IntN(30) == 0 {
		return ""
	}
	return x.key()
}

func (x *tenant) end() string           { return b64(tenantEnds[x.r.IntN(len(tenantEnds))]) }
func (x *tenant) flag() bool            { return x.r.IntN(3) == 0 }
func (x *tenant) rarely() bool          { return x.r.IntN(10) == 0 }
func (x *tenant) value() string         { return fmt.Sprint(x.mark, x.r.IntN(4)) }
func (x *tenant) of(s ...string) string { return s[x.r.IntN(len(s))] }

// moment is a revision at which there was an answer, or now.
func (x *tenant) moment() twin {
	if len(x.moments) == 0 || !x.flag() {
		return twin{"0", "0"}
	}
	return x.moments[x.r.IntN(len(x.moments))]
}

// template fills {R} with a moment, {L} and {H} with a lease's id, in each store its own.
func (x *tenant) template(body string) func(side int) string {
	at, with, hex := x.moment(), twin{"0", "0"}, twin{"0", "0"}
	if l := x.someLease(); l != nil {
		with, hex = l.decimal, l.hex
	}
	return func(side int) string {
		return strings.NewReplacer("{R}", at[side], "{L}", with[side], "{H}", hex[side]).Replace(body)
	}
}

func (x *tenant) put() {
	x.both(http.MethodPost, text("/v3/kv/put"), x.template(x.putRequest()))
}

func (x *tenant) putRequest() string {
	lease := "0"
	if x.flag() {
		lease = "{L}"
	}
	return fmt.Sprintf(`{"key":%q,"value":%q,"prev_kv":%t,"ignore_value":%t,"ignore_lease":%t,"lease":%q}`,
		x.anyKey(), b64(x.value()), x.flag(), x.rarely(), x.rarely(), lease)
}

func (x *tenant) readRange() {
	x.both(http.MethodPost, text("/v3/kv/range"), x.template(x.rangeRequest()))
}

func (x *tenant) rangeRequest() string {
	return fmt.Sprintf(`{"key":%q,"range_end":%q,"limit":"%d","count_only":%t,"keys_only":%t,"sort_order":%q,"sort_target":%q,"revision":"{R}","serializable":false}`,
		x.anyKey(), x.end(), x.r.IntN(4), x.flag(), x.flag(), x.of("NONE", "ASCEND", "DESCEND"), x.of("KEY", "VERSION", "CREATE", "MOD", "VALUE"))
}

func (x *tenant) deleteRange() { x.v3("/v3/kv/deleterange", x.deleteRequest()) }

func (x *tenant) deleteRequest() string {
	return fmt.Sprintf(`{"key":%q,"range_end":%q,"prev_kv":%t}`, x.anyKey(), x.end(), x.flag())
}

func (x *tenant) txn() {
	x.both(http.MethodPost, text("/v3/kv/txn"), x.template(x.txnRequest(0)))
}

func (x *tenant) txnRequest(depth int) string {
	compare := fmt.Sprintf(`{"key":%q,"range_end":%q,"target":"VERSION","result":%q,"version":"%d"},{"key":%q,"target":"VALUE","value":%q,"result":"NOT_EQUAL"}`,
		x.anyKey(), x.end(), x.of("EQUAL", "GREATER", "LESS"), x.r.IntN(3), x.key(), b64(x.value()))
	return fmt.Sprintf(`{"compare":[%s],"success":[%s],"failure":[%s]}`, compare, x.op(depth), x.op(depth))
}

func (x *tenant) op(depth int) string {
	switch x.r.IntN(4) {
	case 0:
		return `{"request_range":` + x.rangeRequest() + `}`
	case 1:
		return `{"request_delete_range":` + x.deleteRequest() + `}`
	case 2:
		if depth < 3 {
			return `{"request_txn":` + x.txnRequest(depth+1) + `}`
		}
	}
	return `{"request_put":` + x.putRequest() + `}`
}

// nativeKey is a key that callers of /v1 can name.
func (x *tenant) nativeKey() string {
	return x.of("a", "a\xff", "b", "b/1", "b/2", "\xff", "t10/a", "/")
}

func (x *tenant) keyPath() string { return "/v1/kv/" + url.PathEscape(x.nativeKey()) }

func (x *tenant) native(method, path string, body func(int) string) {
	x.both(method, text(path), body)
}

func (x *tenant) nativePut() {
	lease := ""
	if l := x.someLease(); l != nil && x.flag() {
		lease = `,"lease":"{H}"`
	}
	x.native(http.MethodPut, x.keyPath()+x.of("", "?prev_kv=true", "?dry_run=true"), x.template(fmt.Sprintf(`{"value":%q%s}`, x.value(), lease)))
}

func (x *tenant) nativeRead() {
	q := url.Values{}
	switch x.r.IntN(3) {
	case 0:
		q.Set("prefix", x.nativeKey())
	case 1:
		q.Set("from", x.nativeKey())
		q.Set("to", x.nativeKey())
	}
	path := ""
	switch x.r.IntN(5) { // nothing that writes the epoch, which a tenant's own store would show on /v3: no export, no cursor
	case 0:
		path = x.keyPath()
	case 1:
		path = "/v1/history/" + url.PathEscape(x.nativeKey())
	case 2:
		q.Set("contains", x.of("mark", x.value(), "nothing"))
		path = "/v1/search?" + q.Encode()
	default:
		if x.flag() {
			q.Set(x.of("keys_only", "count_only"), "true")
		} else {
			q.Set("order_by", x.of("key", "value", "create_revision", "mod_revision", "version"))
		}
		q.Set("limit", "1000")
		path = "/v1/kv?" + q.Encode()
	}
	x.native(http.MethodGet, path, text(""))
}

func (x *tenant) nativeDelete() {
	path := x.keyPath()
	if x.flag() {
		path = "/v1/kv?prefix=" + url.QueryEscape(x.nativeKey()) + x.of("", "&max_deleted=1", "&dry_run=true")
	}
	x.native(http.MethodDelete, path, text(""))
}

func (x *tenant) nativeTxn() {
	key := func() string { return fmt.Sprintf(`"key":%q`, x.of("a", "b", "b/1", "b/2", "t10/a", "/")) }
	put := fmt.Sprintf(`{"put":{%s,"value":%q,"prev_kv":%t}}`, key(), x.value(), x.flag())
	get := fmt.Sprintf(`{"get":{"prefix":%q,"limit":5}}`, x.of("", "b", "b/", "t"))
	del := fmt.Sprintf(`{"delete":{%s,"prev_kv":true}}`, key())
	deep := fmt.Sprintf(`{"txn":{"if":[{%s,"version":0}],"then":[%s],"else":[%s]}}`, key(), put, del)
	x.native(http.MethodPost, "/v1/txn", text(fmt.Sprintf(`{"if":[{%s,"value":%q}],"then":[%s,%s],"else":[%s]}`,
		key(), x.value(), x.of(put, get, deep), get, x.of(put, deep, del))))
}
