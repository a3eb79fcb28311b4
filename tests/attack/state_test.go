package attack_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

// TestTheGatewaysStateIsNobodys: the gateway's own keys have no namespace, so each place where a caller can name a key is one where a
// tenant could reach for them: to read the secret that leases are told apart by, to open another's ticket, or to write a record
// that answers another's request.
func TestTheGatewaysStateIsNobodys(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, _ := furnish(t, s)
	operator := s.as(op)
	bobs.do(t, "POST", "/v1/leases", `{"ttl":600}`, "Idempotency-Key: bobs").want(t, "a record", 201)
	bobs.do(t, "POST", "/v1/auth/tickets", `{"path":"/v1/kv/k"}`).want(t, "a ticket", 201)
	bobs.do(t, "GET", "/v1/kv?limit=1", "").want(t, "a cursor, which holds the epoch", 200)
	state := func() map[string]string {
		kept := map[string]string{}
		list, _ := operator.do(t, "GET", "/v1/kv?state=true&encoding=base64&prefix=%00etcdrest/", "").want(t, "the state", 200).json(t)["kvs"].([]any)
		for _, one := range list {
			kv, _ := one.(map[string]any)
			key, _ := base64.StdEncoding.DecodeString(fmt.Sprint(kv["key_base64"]))
			kept[string(key)] = fmt.Sprint(kv["value_base64"])
		}
		return kept
	}
	before := state()
	if len(before) < 4 { // epoch, leases, a record, a ticket
		t.Fatalf("the gateway keeps %v; want four kinds", before)
	}
	for key, value := range before {
		if !strings.Contains(key, "epoch") { // which is told to everybody
			alices.hidden = append(alices.hidden, value)
		}
	}
	tries := 0
	for key := range before {
		for _, who := range []*principal{alices, operator} {
			tries += reachFor(t, who, key)
		}
	}
	for name := range map[string]bool{"\x00": true, "\x00etcdrest": true, "\x00etcdrest/": true, "\x00etcdrest/i": true, "\x00etcdrest/new": true} {
		tries += reachFor(t, alices, name)
	}
	t.Logf("%d tries", tries)
	after := state()
	for key, value := range before {
		if after[key] != value {
			t.Errorf("%q is another than before", key)
		}
	}
	for key := range after {
		if _, was := before[key]; !was {
			t.Errorf("%q is new", key)
		}
	}
}

// reachFor names the key wherever there is place for one.
func reachFor(t *testing.T, who *principal, key string) (tries int) {
	t.Helper()
	escaped, plain := url.PathEscape(key), url.QueryEscape(key)
	encoded, base64url := base64.StdEncoding.EncodeToString([]byte(key)), raw64(key)
	quoted := toJSON(key)
	do := func(method, target, body string, headers ...string) {
		t.Helper()
		tries++
		a := who.do(t, method, target, body, headers...)
		if a.status >= 500 {
			t.Errorf("%s %s %s: got %d %s", method, target, body, a.status, a.body)
		}
	}
	for _, at := range []string{escaped + "?", base64url + "?key_encoding=base64url&"} {
		for _, place := range []string{"/v1/kv/", "/v1/raw/"} {
			do("GET", place+at, "")
			do("HEAD", place+at, "")
			do("PUT", place+at, `{"value":"x"}`)
			do("DELETE", place+at, "")
			do("DELETE", place+at+"prev_kv=true", "")
		}
		do("PATCH", "/v1/kv/"+at, `{"a":1}`, "Content-Type: application/merge-patch+json")
		do("GET", "/v1/kv/"+at+"wait=0&after=1", "")
		do("GET", "/v1/history/"+at, "")
		for _, place := range []string{"/v1/locks/", "/v1/elections/"} {
			do("POST", place+at, `{"ttl":60,"value":"x"}`)
			do("GET", place+at, "")
			do("PUT", place+at, `{"value":"x","lease":"1"}`)
			do("DELETE", place+at+"lease=1", "")
		}
	}
	for _, q := range []string{"key=" + plain, "key=" + plain + "&key=a", "prefix=" + plain, "from=" + plain, "from=" + plain + "&to=" + plain + "x"} {
		do("GET", "/v1/kv?"+q, "")
		do("GET", "/v1/kv?order_by=value&"+q, "")
		do("DELETE", "/v1/kv?all=true&"+q, "")
		do("GET", "/v1/export?"+q, "")
		do("GET", "/v1/search?contains=e&"+q, "")
		do("GET", "/v1/watch/poll?wait=0&start_revision=1&"+q, "")
		if strings.HasSuffix(key, "leases") { // each takes its second
			do("GET", "/v1/watch?timeout=1&snapshot=true&stream=ndjson&"+q, "")
		}
	}
	do("GET", "/v1/watch/poll?wait=0&election="+plain, "")
	do("PUT", "/v1/kv/mine?if_lock="+plain+"&fencing_token=1", `{"value":"x"}`)
	for _, spelt := range []string{`"key":` + quoted, `"key_base64":"` + encoded + `"`} {
		for _, operation := range []string{`{"get":{` + spelt + `}}`, `{"put":{` + spelt + `,"value":"x"}}`, `{"delete":{` + spelt + `,"prev_kv":true}}`} {
			do("POST", "/v1/txn", `{"then":[`+operation+`]}`)
			do("POST", "/v1/txn", `{"else":[{"txn":{"then":[{"txn":{"then":[`+operation+`]}}]}}],"if":[{"key":"absent","exists":true}]}`)
		}
		for _, compare := range []string{`"exists":true`, `"op":"gt","value":"A"`, `"op":"gt","version":0`} {
			do("POST", "/v1/txn", `{"if":[{`+spelt+`,`+compare+`}],"then":[]}`)
		}
		do("POST", "/v1/import?mode=overwrite", `{"type":"kv",`+spelt+`,"value":"x"}`+"\n"+`{"type":"end","count":1,"revision":1}`+"\n", "Content-Type: application/x-ndjson")
	}
	return tries
}
