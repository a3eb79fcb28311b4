package versions_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// v3 is etcd's own JSON gateway, as the gateway serves it. "Zm9v" is foo, "YmFy" is bar.
func (s *site) v3() {
	s.call("/v3: put", "POST", "/v3/kv/put", `{"key":"Zm9v","value":"YmFy","prev_kv":true}`)
	s.call("/v3: range", "POST", "/v3/kv/range", `{"key":"Zm9v"}`)
	s.call("/v3: a key that is not there", "POST", "/v3/kv/range", `{"key":"Zm9vZm9v"}`)
	s.call("/v3: an order", "POST", "/v3/kv/range", `{"key":"bGlzdC8=","range_end":"bGlzdDA=","sort_order":"DESCEND","sort_target":"MOD","limit":2}`)
	s.call("/v3: txn", "POST", "/v3/kv/txn", `{"compare":[{"result":"EQUAL","target":"VALUE","key":"Zm9v","value":"YmFy"}],"success":[{"requestRange":{"key":"Zm9v"}}]}`)
	s.call("/v3: an empty key", "POST", "/v3/kv/put", `{"value":"YmFy"}`)
	s.call("/v3: a revision that is compacted", "POST", "/v3/kv/range", `{"key":"Zm9v","revision":2}`)
	s.call("/v3: a lease", "POST", "/v3/lease/grant", `{"TTL":600,"ID":123456}`)
	s.call("/v3: a lease is looked at", "POST", "/v3/lease/timetolive", `{"ID":123456,"keys":true}`)
	s.call("/v3: a lease is renewed", "POST", "/v3/lease/keepalive", `{"ID":123456}`)
	s.call("/v3: a lease is revoked", "POST", "/v3/lease/revoke", `{"ID":123456}`)
	s.call("/v3: a lease that is not there", "POST", "/v3/lease/revoke", `{"ID":123456}`)
	lock := s.quietly("POST", "/v3/lock/lock", `{"name":"bG9jaw=="}`).ok(s.t)
	s.call("/v3: unlock", "POST", "/v3/lock/unlock", `{"key":"`+unescaped(lock.text(s.t, "key"))+`"}`)
	s.call("/v3: hash", "POST", "/v3/maintenance/hash", `{}`)
	s.call("/v3: hashkv", "POST", "/v3/maintenance/hashkv", `{}`)
	s.call("/v3: status", "POST", "/v3/maintenance/status", `{}`)
	s.call("/v3: members", "POST", "/v3/cluster/member/list", `{"linearizable":true}`)
	s.call("/v3: members, as one knows them", "POST", "/v3/cluster/member/list", `{}`)
	s.call("/v3: downgrade", "POST", "/v3/maintenance/downgrade", `{"action":"VALIDATE","version":"3.0"}`)
	s.call("/v3: auth status", "POST", "/v3/auth/status", `{}`)
	s.v3Watch()
}

// v3Watch reads a watch from the past until it has seen what it waits for; such a watch never ends by itself.
func (s *site) v3Watch() {
	revision := s.quietly("GET", "/v1/kv/foo", "").ok(s.t).text(s.t, "mod_revision")
	s.quietly("DELETE", "/v1/kv/foo", "").ok(s.t)
	ctx, cancel := context.WithTimeout(s.t.Context(), messageWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v3/watch", strings.NewReader(`{"create_request":{"key":"Zm9v","start_revision":`+revision+`,"prev_kv":true}}`))
	if err != nil {
		s.t.Fatal(err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer reply.Body.Close()
	var said []string
	lines := newLines(reply.Body)
	for all := ""; strings.Count(all, "\"mod_revision\"") < 3; all = strings.Join(said, "") { // the put, the deletion and its prev_kv
		line, err := lines.next()
		if err != nil {
			s.t.Fatalf("after %q: %v", said, err)
		}
		said = append(said, leveledJSON(line))
	}
	s.told.note(s.t, "/v3: watch", strings.Join(said, "\n"))
}

// unescaped undoes what text does for queries.
func unescaped(text string) string {
	out, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return out
}
