package versions_test

import (
	"fmt"
	"strings"
)

// keys is the life of single keys, as JSON and as bytes.
func (s *site) keys() {
	s.call("a key is created", "PUT", "/v1/kv/app/name", `{"value":"shop"}`)
	s.call("a key is updated, and shows what it was", "PUT", "/v1/kv/app/name?prev_kv=true", `{"value":"store"}`)
	s.call("a key is read", "GET", "/v1/kv/app/name", "")
	s.call("a key is read in the past", "GET", "/v1/kv/app/name?revision=2", "")
	s.call("a key is read where a member is", "GET", "/v1/kv/app/name?consistency=serializable", "")
	s.call("a key that is not there", "GET", "/v1/kv/app/none", "")
	s.call("a revision that is not there yet", "GET", "/v1/kv/app/name?revision=1000", "")
	s.call("a key that has not changed", "GET", "/v1/kv/app/name", "", `If-None-Match: "3"`)
	s.call("bytes are stored", "PUT", "/v1/raw/bytes", "\xff\x00\x01")
	s.call("bytes are read", "GET", "/v1/raw/bytes", "")
	s.call("bytes are base64 in JSON", "GET", "/v1/kv/bytes", "")
	s.call("create only", "PUT", "/v1/kv/app/name", `{"value":"other"}`, "If-None-Match: *")
	s.call("change only what was seen", "PUT", "/v1/kv/app/name", `{"value":"other"}`, `If-Match: "3"`)
	s.call("change only what was seen, and it has changed", "PUT", "/v1/kv/app/name", `{"value":"other"}`, `If-Match: "3"`)
	s.call("keep the value", "PUT", "/v1/kv/app/name", `{"ignore_value":true}`)
	s.call("keep the value of an absent key", "PUT", "/v1/kv/app/none", `{"ignore_value":true}`)
	s.call("an unknown member is refused", "PUT", "/v1/kv/app/name", `{"valeu":"x"}`)
	s.call("a JSON value", "PUT", "/v1/kv/app/config", `{"value_json":{"port":80,"tls":false}}`)
	s.call("a merge patch", "PATCH", "/v1/kv/app/config", `{"tls":true}`, "Content-Type: application/merge-patch+json")
	s.call("a JSON patch", "PATCH", "/v1/kv/app/config", `[{"op":"test","path":"/port","value":81}]`, "Content-Type: application/json-patch+json")
	s.call("a JSON value is read", "GET", "/v1/kv/app/config?encoding=json", "")
	s.call("a write without effect", "PUT", "/v1/kv/app/name?dry_run=true", `{"value":"x"}`)
	s.call("a key is deleted", "DELETE", "/v1/kv/app/config?prev_kv=true", "")
	s.call("a key is deleted again", "DELETE", "/v1/kv/app/config", "")
	for _, time := range []string{"first", "second"} {
		s.call("a write that can be repeated, the "+time+" time", "PUT", "/v1/kv/orders/1", `{"value":"paid"}`, "Idempotency-Key: 8f2c")
	}
	s.call("another write under its key", "PUT", "/v1/kv/orders/1", `{"value":"unpaid"}`, "Idempotency-Key: 8f2c")
	s.call("a wait for a change that has been", "GET", "/v1/kv/app/name?wait=5&after=3", "")
	s.call("a wait for a change that does not come", "GET", "/v1/kv/app/name?wait=1", "")
	s.call("too large a value", "PUT", "/v1/raw/large", strings.Repeat("x", 1_600_000))
}

// lists is ranges of keys: pages, folders, orders, several keys, deletions.
func (s *site) lists() {
	for i := range 25 {
		s.quietly("PUT", fmt.Sprintf("/v1/kv/list/%c/%02d", 'a'+i%3, i), fmt.Sprintf(`{"value":"%d"}`, i%7)).ok(s.t)
	}
	page := s.call("a page", "GET", "/v1/kv?prefix=list/&limit=10&count=true", "")
	s.quietly("PUT", "/v1/kv/list/a/99", `{"value":"late"}`).ok(s.t)
	page = s.call("the next page, of the same revision", "GET", "/v1/kv?prefix=list/&limit=10&count=true&cursor="+page.text(s.t, "cursor"), "")
	s.call("the last page", "GET", "/v1/kv?prefix=list/&limit=10&count=true&cursor="+page.text(s.t, "cursor"), "")
	s.call("folders", "GET", "/v1/kv?prefix=list/&delimiter=/", "")
	s.call("folders, a page", "GET", "/v1/kv?prefix=list/&delimiter=/&limit=2", "")
	s.call("an order", "GET", "/v1/kv?prefix=list/&order_by=value&order=desc&limit=30", "")
	s.call("a filter", "GET", "/v1/kv?prefix=list/&min_mod_revision=20&max_mod_revision=25&keys_only=true", "")
	s.call("a count", "GET", "/v1/kv?prefix=list/&count_only=true", "")
	s.call("a range", "GET", "/v1/kv?from=list/a/1&to=list/b&keys_only=true", "")
	s.call("several keys", "GET", "/v1/kv?key=list/a/00&key=app/none&key=app/name", "")
	s.call("a count of what would be deleted", "DELETE", "/v1/kv?prefix=list/a/&dry_run=true", "")
	s.call("too many would be deleted", "DELETE", "/v1/kv?prefix=list/a/&max_deleted=2", "")
	s.call("a range is deleted", "DELETE", "/v1/kv?prefix=list/a/&max_deleted=20", "")
	s.call("several keys are deleted", "DELETE", "/v1/kv?key=list/b/01&key=list/b/04&key=app/none", "")
	s.call("what is left", "GET", "/v1/kv?prefix=list/&keys_only=true&count=true", "")
}

// history is what a key was.
func (s *site) history() {
	s.call("the history of a key", "GET", "/v1/history/app/name", "")
	s.call("the history of a key, a page", "GET", "/v1/history/app/name?limit=2", "")
	s.call("all lives of a key", "GET", "/v1/history/app/config?lives=all", "")
	s.call("all lives of a key that never was", "GET", "/v1/history/app/none?lives=all", "")
}

// transactions compare and change several keys.
func (s *site) transactions() {
	s.call("a transaction", "POST", "/v1/txn", `{"if":[{"key":"app/name","op":"ne","value":"x"}],"then":[{"put":{"key":"t/1","value":"a"}},{"get":{"prefix":"t/"}}]}`)
	s.call("its other branch", "POST", "/v1/txn", `{"if":[{"key":"t/1","version":7}],"then":[],"else":[{"get":{"key":"t/1"}},{"delete":{"prefix":"t/","prev_kv":true}}]}`)
	s.call("a comparison of a range", "POST", "/v1/txn", `{"if":[{"prefix":"list/","op":"gt","create_revision":0}],"then":[{"put":{"key":"t/2","value":"b"}}]}`)
	s.call("a comparison of a lease", "POST", "/v1/txn", `{"if":[{"key":"t/2","lease":"0"}],"then":[{"get":{"key":"t/2"}}]}`)
	s.call("a transaction in a transaction", "POST", "/v1/txn", `{"then":[{"txn":{"if":[{"key":"t/2","exists":true}],"then":[{"put":{"key":"t/3","value":"c"}}]}},{"get":{"prefix":"t/","order":"desc","limit":1}}]}`)
	s.call("only comparisons", "POST", "/v1/txn", `{"if":[{"key":"t/2","exists":true},{"key":"t/none","exists":false}]}`)
	s.call("one key written twice", "POST", "/v1/txn", `{"then":[{"put":{"key":"t/4","value":"1"}},{"put":{"key":"t/4","value":"2"}}]}`)
	many := strings.TrimSuffix(strings.Repeat(`{"get":{"key":"t/2"}},`, 129), ",")
	s.call("too many operations", "POST", "/v1/txn", `{"then":[`+many+`]}`)
	for _, time := range []string{"first", "second"} {
		s.call("a transaction that can be repeated, the "+time+" time", "POST", "/v1/txn", `{"then":[{"put":{"key":"t/5","value":"1"}}]}`, "Idempotency-Key: t5")
	}
}

// transfers move many keys.
func (s *site) transfers() {
	whole := s.call("an export", "GET", "/v1/export?prefix=list/", "")
	s.quietly("DELETE", "/v1/kv?prefix=list/", "").ok(s.t)
	s.call("an import", "POST", "/v1/import", string(whole.body), "Content-Type: application/x-ndjson")
	s.call("what was imported", "GET", "/v1/kv?prefix=list/&limit=3", "")
	s.call("an import of what is there", "POST", "/v1/import?dry_run=true", string(whole.body), "Content-Type: application/x-ndjson")
	s.call("a search", "GET", "/v1/search?prefix=list/&contains=3&in=value", "")
	s.call("a search in keys, a part of them", "GET", "/v1/search?prefix=list/&contains=b&in=key&budget=5", "")
}
