package attack_test

import (
	"encoding/base64"
	"fmt"
	"testing"
)

// TestEtcdsOwnAPIStaysInTheNamespace is F1, F3 and F5 to F7 over /v3, whose messages name keys as bytes and ranges by their ends.
func TestEtcdsOwnAPIStaysInTheNamespace(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, look := furnish(t, s)
	lease, _ := bobs.do(t, "POST", "/v3/lease/grant", `{"TTL":600}`).want(t, "bob's lease", 200).json(t)["ID"].(string)
	before := look()
	answered := 0
	do := func(path, body string) {
		t.Helper()
		if a := alices.do(t, "POST", path, body); a.status == 200 {
			answered++
		} else if a.status >= 500 {
			t.Errorf("%s %s: got %d %s", path, body, a.status, a.body)
		}
	}
	ends := []string{"", "\x00", "\x01", "\xff", "\xff\xff\xff\xff", "/", "..", "../bob/", zone + "/bob/", zone + "/bob0", zone + "/", "~", secretKey, "a"}
	for _, from := range ends {
		for _, to := range ends {
			key, end := base64.StdEncoding.EncodeToString([]byte(from)), base64.StdEncoding.EncodeToString([]byte(to))
			interval := fmt.Sprintf(`"key":%q,"range_end":%q`, key, end)
			for _, body := range []string{interval, interval + `,"count_only":true`, interval + `,"keys_only":true,"sort_order":"DESCEND","sort_target":"MOD"`} {
				do("/v3/kv/range", "{"+body+"}")
			}
			for _, inner := range []string{`{"request_range":{` + interval + `}}`, `{"request_delete_range":{` + interval + `,"prev_kv":true}}`} {
				do("/v3/kv/txn", `{"success":[`+inner+`],"failure":[`+inner+`]}`)
				do("/v3/kv/txn", `{"compare":[{"target":"VERSION","result":"GREATER","version":"0","key":"`+key+`","range_end":"`+end+`"}],"failure":[{"request_txn":{"success":[{"request_txn":{"failure":[`+inner+`],"success":[`+inner+`]}}]}}]}`)
			}
			do("/v3/kv/deleterange", "{"+interval+`,"prev_kv":true}`)
		}
	}
	for path, body := range map[string]string{
		"/v3/lease/revoke": `{"ID":"` + lease + `"}`, "/v3/kv/lease/revoke": `{"ID":"` + lease + `"}`, "/v3/kv/put": `{"key":"eA==","lease":"` + lease + `"}`,
		"/v3/lock/lock": `{"name":"eA==","lease":"` + lease + `"}`, "/v3/election/campaign": `{"name":"eA==","lease":"` + lease + `"}`,
		"/v3/cluster/member/list": `{}`, "/v3/maintenance/status": `{}`, "/v3/kv/compaction": `{"revision":"1"}`, "/v3/maintenance/alarm": `{}`,
	} {
		if a := alices.do(t, "POST", path, body); a.status == 200 {
			t.Errorf("%s %s: got %s; want a refusal", path, body, a.body)
		}
	}
	for _, key := range ends { // what she puts is hers, whatever she calls it
		put := `{"key":"` + base64.StdEncoding.EncodeToString([]byte(key)) + `","value":"MQ==","prev_kv":true}`
		do("/v3/kv/put", put)
		do("/v3/kv/txn", `{"success":[{"request_txn":{"success":[{"request_put":`+put+`}]}}]}`)
	}
	if answered < 500 {
		t.Errorf("%d were answered; most of them are good requests", answered)
	}
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	bobs.do(t, "POST", "/v3/lease/timetolive", `{"ID":"`+lease+`"}`).want(t, "bob's lease", 200)
}
