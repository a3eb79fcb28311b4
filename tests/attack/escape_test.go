package attack_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// What is bob's: a name that alice guesses, what lies behind it, and his values, of which she must see nothing.
const (
	secretKey   = "vault-91c4"
	secretTail  = "inner-4b1d"
	secretValue = "treasure-d00d"
)

// furnish gives bob keys around every place that alice could reach for, and the operator some beside all tenants. It gives
// what must be unchanged in the end.
func furnish(t *testing.T, s *site) (alices, bobs *principal, look func() string) {
	t.Helper()
	bobs, alices = s.tenant(bob), s.tenant(alice, secretTail, secretValue)
	operator := s.as(op)
	for _, key := range []string{secretKey, secretKey + "/" + secretTail, "%01" + secretTail, "~" + secretTail, "%FF" + secretTail, "shared"} {
		bobs.do(t, "PUT", "/v1/kv/"+key, `{"value":"`+secretValue+`"}`).want(t, "bob puts "+key, 201)
	}
	for _, key := range []string{"a" + secretTail, "zone-7f3", zone, zone + "%2F", zone + "%2Falice", zone + "%2Falice0" + secretTail, zone + "0", "zzz" + secretTail} {
		operator.do(t, "PUT", "/v1/kv/"+key, `{"value":"`+secretValue+`"}`).want(t, "the operator puts "+key, 201)
	}
	plant(t, alices)
	look = func() string {
		var kept []string
		list, _ := operator.do(t, "GET", "/v1/kv?limit=10000", "").want(t, "list", 200).json(t)["kvs"].([]any)
		for _, one := range list {
			kv, _ := one.(map[string]any)
			key, _ := kv["key"].(string)
			if encoded, ok := kv["key_base64"].(string); ok {
				bytes, _ := base64.StdEncoding.DecodeString(encoded)
				key = string(bytes)
			}
			if !strings.HasPrefix(key, zone+"/alice/") {
				kept = append(kept, fmt.Sprintf("%q %v", key, kv["mod_revision"]))
			}
		}
		return strings.Join(kept, "\n")
	}
	return alices, bobs, look
}

// plant gives alice her four keys.
func plant(t *testing.T, alices *principal) {
	t.Helper()
	for _, key := range []string{"k/1", "k/2", "k/3", "shared"} {
		alices.do(t, "PUT", "/v1/kv/"+key, `{"value":"mine"}`).want(t, "alice puts "+key, 200, 201)
	}
}

// edges are ends of ranges that reach out of a namespace in a gateway that only puts its prefix in front: percent-encoded.
//
//nolint:gochecknoglobals // a constant table
var edges = []string{
	"", "%00", "%00%00", "%01", "%FF", "%FF%FF%FF%FF", "%2F", "..", "../", "..%2Fbob%2F", "../../", zone + "/bob/", zone + "%2Fbob%2F", "0", "~", "a", "k/", "k/2",
	"\u00ff", "%C0%AF", "%2e%2e%2f", secretKey,
}

// TestRangesStayInTheirNamespace asks for, and deletes, ranges with every kind of end.
func TestRangesStayInTheirNamespace(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, look := furnish(t, s)
	before := look()
	var ranges []string
	for _, a := range edges {
		ranges = append(ranges, "prefix="+a, "from="+a, "to="+a)
		for _, b := range edges {
			ranges = append(ranges, "from="+a+"&to="+b)
		}
		encoded, _ := url.PathUnescape(a)
		ranges = append(ranges, "key_encoding=base64url&prefix="+raw64(encoded), "key_encoding=base64url&from="+raw64(encoded), "key="+a+"&key=k%2F1")
	}
	answered, deleted := map[int]int{}, 0
	for _, r := range ranges {
		for _, path := range []string{"/v1/kv?count=true&", "/v1/kv?count_only=true&", "/v1/kv?delimiter=/&", "/v1/export?"} {
			a := alices.do(t, "GET", path+r, "")
			answered[a.status]++
			if n := number(a, "count"); n > 4 {
				t.Errorf("GET %s%s counts %v keys; alice has 4", path, r, n)
			}
		}
	}
	for _, r := range ranges {
		a := alices.do(t, "DELETE", "/v1/kv?all=true&"+r, "")
		if n := number(a, "deleted"); n > 4 {
			t.Errorf("DELETE /v1/kv?%s deleted %v keys; alice has 4", r, n)
		} else if n > 0 {
			deleted++
			plant(t, alices)
		}
	}
	for _, key := range edges {
		for _, path := range []string{"/v1/kv/", "/v1/raw/", "/v1/history/", "/v1/locks/", "/v1/elections/"} {
			alices.do(t, "GET", path+key, "")
			alices.do(t, "DELETE", path+key, "")
		}
	}
	for _, search := range []string{"contains=" + secretValue[:6], "contains=" + secretKey, "in=key&contains=v", "in=key&contains=/"} {
		for _, r := range []string{"", "&from=%00", "&prefix=", "&from=%00&to=%FF"} {
			alices.do(t, "GET", "/v1/search?"+search+r, "")
		}
	}
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	bobs.do(t, "GET", "/v1/kv/"+secretKey, "").want(t, "bob reads his own", 200)
	if answered[200] < 1000 || deleted < 100 {
		t.Errorf("the ranges were answered with %v, and %d deleted something; most should be good ones", answered, deleted)
	}
}

// number is that of a member of a good answer; 0 without one.
func number(a answer, member string) (n float64) {
	_, rest, _ := strings.Cut(a.body, `"`+member+`":`)
	if a.status == 200 {
		_, _ = fmt.Sscan(rest, &n)
	}
	return n
}

// TestTransactionsStayInTheirNamespace puts foreign keys, ranges and leases wherever a transaction takes them.
func TestTransactionsStayInTheirNamespace(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, look := furnish(t, s)
	lease, _ := bobs.do(t, "POST", "/v1/leases", `{"ttl":600}`).want(t, "bob's lease", 201).json(t)["id"].(string)
	bobs.do(t, "PUT", "/v1/kv/leased", `{"value":"1","lease":"`+lease+`"}`).want(t, "bob puts", 201)
	before := look()
	tries := 0
	for _, inner := range operations(lease) {
		for _, body := range nestings(inner) {
			a := alices.do(t, "POST", "/v1/txn", body)
			tries++
			if a.status >= 500 {
				t.Errorf("%s: got %d %s", body, a.status, a.body)
			}
			if strings.Contains(body, lease) && a.status == 200 {
				t.Errorf("%s: bob's lease was taken: %s", body, a.body)
			}
		}
	}
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	// A compare that would tell whether bob's key exists looks at alice's own.
	for _, key := range []string{secretKey, zone + "/bob/" + secretKey, "../bob/" + secretKey} {
		doc := alices.do(t, "POST", "/v1/txn", `{"if":[{"key":"`+key+`","exists":true}]}`).want(t, "a compare", 200).json(t)
		if doc["succeeded"] != false {
			t.Errorf("alice sees that %s exists: %v", key, doc)
		}
	}
	t.Logf("%d transactions", tries)
}

// operations are one of each, about what is bob's.
func operations(lease string) []string {
	var all []string
	for _, edge := range []string{"", "\\u0000", "\\u0001", "/", "..", "../bob/", zone + "/bob/", secretKey, "~", "0"} {
		all = append(all,
			`{"get":{"key":"`+edge+`"}}`, `{"get":{"prefix":"`+edge+`"}}`, `{"get":{"from":"`+edge+`"}}`, `{"get":{"from":"a","to":"`+edge+`"}}`,
			`{"delete":{"prefix":"`+edge+`","prev_kv":true}}`, `{"delete":{"from":"`+edge+`","prev_kv":true}}`, `{"delete":{"key":"`+edge+`"}}`,
		)
	}
	for _, bytes := range []string{"AA==", "/w==", "//8=", "AP8="} {
		all = append(all, `{"get":{"from_base64":"`+bytes+`"}}`, `{"get":{"prefix_base64":"`+bytes+`"}}`, `{"get":{"from_base64":"AQ==","to_base64":"`+bytes+`"}}`,
			`{"delete":{"from_base64":"`+bytes+`","prev_kv":true}}`)
	}
	return append(all, `{"put":{"key":"x","value":"1","lease":"`+lease+`"}}`, `{"put":{"key":"x","value":"1","lease":"`+strings.ToUpper(lease)+`"}}`)
}

// nestings put an operation into each branch, taken and not, at three depths.
func nestings(operation string) []string {
	const never = `"if":[{"key":"absent","exists":true}],`
	all := []string{`{"then":[` + operation + `]}`, `{` + never + `"else":[` + operation + `]}`, `{` + never + `"then":[` + operation + `]}`}
	for range 2 {
		for _, inner := range slices.Clone(all) {
			all = append(all, `{"then":[{"txn":`+inner+`}]}`)
		}
	}
	return append(all, `{`+never+`"else":[{"txn":{`+never+`"else":[`+operation+`]}}]}`)
}

// TestLeasesLocksAndPlacesOfAnotherAreNotThere is F5 and F6: what belongs to another tenant looks as if it were not there.
func TestLeasesLocksAndPlacesOfAnotherAreNotThere(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, look := furnish(t, s)
	lease, _ := bobs.do(t, "POST", "/v1/leases", `{"ttl":600}`).want(t, "bob's lease", 201).json(t)["id"].(string)
	held := bobs.do(t, "POST", "/v1/locks/guarded", `{"ttl":600}`).want(t, "bob's lock", 200, 201).json(t)
	won := bobs.do(t, "POST", "/v1/elections/chosen", `{"ttl":600,"value":"`+secretValue+`"}`).want(t, "bob's election", 200, 201).json(t)
	alices.hidden = append(alices.hidden, spellings(lease, fmt.Sprint(held["lease"]), fmt.Sprint(won["lease"]))...)
	before := look()
	absent := "7fffffffffffff01"
	same := func(what string, of, other answer) {
		t.Helper()
		if of.status != other.status || of.code() != other.code() {
			t.Errorf("%s: got %d %s for bob's and %d %s for nobody's", what, of.status, of.body, other.status, other.body)
		}
	}
	for _, call := range [][3]string{
		{"GET", "/v1/leases/%s", ""},
		{"GET", "/v1/leases/%s?keys=true", ""},
		{"DELETE", "/v1/leases/%s", ""},
		{"POST", "/v1/leases/%s/keepalive", ""},
		{"PUT", "/v1/kv/x?lease=%s", `{"value":"1","lease":"%s"}`},
		{"POST", "/v1/locks/mine", `{"lease":"%s"}`},
		{"POST", "/v1/elections/mine", `{"lease":"%s","value":"1"}`},
		{"POST", "/v1/leases/keepalive", `{"ids":["%s"]}`},
		{"DELETE", "/v1/locks/guarded?lease=%s", ""},
		{"DELETE", "/v1/elections/chosen?lease=%s", ""},
	} {
		of := func(id string) answer {
			return alices.do(t, call[0], strings.ReplaceAll(call[1], "%s", id), strings.ReplaceAll(call[2], "%s", id))
		}
		same(call[0]+" "+call[1], of(lease), of(absent))
	}
	for _, place := range []map[string]any{held, won} {
		for _, path := range []string{"/v1/locks/", "/v1/elections/"} {
			for _, query := range []string{"", "?key=" + url.QueryEscape(fmt.Sprint(place["key"])), "?lease=" + fmt.Sprint(place["lease"])} {
				for _, name := range []string{"guarded", "chosen", "..%2Fbob%2Fguarded", zone + "%2Fbob%2Fchosen"} {
					alices.do(t, "GET", path+name, "").want(t, "GET "+path+name, 200, 404)
					alices.do(t, "DELETE", path+name+query, "")
				}
			}
		}
	}
	for _, id := range []string{lease, "1", "ffffffffffffffff"} {
		alices.do(t, "POST", "/v1/leases", `{"ttl":60,"id":"`+id+`"}`).want(t, "a lease of a chosen id", 400, 403, 409)
	}
	doc := alices.do(t, "GET", "/v1/leases", "").want(t, "leases", 200).json(t)
	if list, _ := doc["leases"].([]any); len(list) != 0 {
		t.Errorf("alice lists %v; she has no lease", list)
	}
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	bobs.do(t, "POST", "/v1/leases/"+lease+"/keepalive", "").want(t, "bob keeps his lease", 200)
	bobs.do(t, "GET", "/v1/locks/guarded", "").want(t, "bob's lock", 200)
}

// TestCursorsAndKeysOfAnotherGiveNothing: what alice could have found in bob's logs is of no use to her.
func TestCursorsAndKeysOfAnotherGiveNothing(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, bobs, look := furnish(t, s)
	for _, query := range []string{"limit=1", "limit=1&prefix=" + secretKey, "limit=1&from=a", "limit=1&delimiter=/"} {
		cursor, _ := bobs.do(t, "GET", "/v1/kv?"+query, "").want(t, "list", 200).json(t)["cursor"].(string)
		if cursor == "" {
			t.Fatalf("no cursor in %s", bobs.do(t, "GET", "/v1/kv?"+query, "").body)
		}
		for _, theirs := range []string{"limit=1", query, "limit=1000"} {
			// The key in a cursor is one that its bearer knows already.
			alices.do(t, "GET", "/v1/kv?"+theirs+"&cursor="+cursor, "")
		}
	}
	before := look()
	const once = "Idempotency-Key: one-and-the-same"
	for _, call := range [][3]string{
		{"PUT", "/v1/kv/once", `{"value":"1"}`},
		{"DELETE", "/v1/kv/shared", ""},
		{"POST", "/v1/txn", `{"then":[{"put":{"key":"txn","value":"1"}}]}`},
		{"POST", "/v1/leases", `{"ttl":60}`},
		{"POST", "/v1/locks/once", `{"ttl":60}`},
	} {
		key := once + call[0] + strings.ReplaceAll(call[1], "/", "-")
		first := bobs.do(t, call[0], call[1], call[2], key).want(t, "bob's", 200, 201)
		second := alices.do(t, call[0], call[1], call[2], key).want(t, "alice's", 200, 201)
		if second.header.Get("Idempotency-Replayed") != "" || first.body == second.body {
			t.Errorf("%s %s: alice is answered as bob was: %s %v", call[0], call[1], second.body, second.header)
		}
		if again := bobs.do(t, call[0], call[1], call[2], key); again.header.Get("Idempotency-Replayed") == "" {
			t.Errorf("%s %s: bob's repeat is not known: %d %s", call[0], call[1], again.status, again.body)
		}
	}
	if before == look() {
		t.Error("bob has written nothing")
	}
}

// TestWhatHasNoNamespaceNeedsAdmin is F7 with everything that the contract and /v3 have.
func TestWhatHasNoNamespaceNeedsAdmin(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, _, look := furnish(t, s)
	before := look()
	for _, r := range routesOf(t, s) {
		whole := false
		for _, part := range []string{"/v1/maintenance", "/v1/cluster", "/v1/users", "/v1/roles", "/v1/gateway", "/v1/auth/enable", "/v1/auth/disable"} {
			whole = whole || strings.HasPrefix(r.path, part)
		}
		for _, part := range []string{"/maintenance/snapshot", "/maintenance/hash", "/auth/enable", "/auth/user", "/auth/role", "compaction"} {
			whole = whole || strings.HasPrefix(r.path, "/v3") && strings.Contains(r.path, part)
		}
		if !whole && r.path != "/v1/auth" {
			continue
		}
		body := ""
		if r.method != "GET" && r.method != "HEAD" {
			body = "{}"
		}
		alices.do(t, r.method, r.at("1"), body).want(t, r.method+" "+r.path, 403)
	}
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	for _, path := range []string{"/v1/kv?state=true", "/v1/kv/%00etcdrest%2Fepoch?state=true", "/v1/kv?from=%00&state=true", "/v1/export?state=true"} {
		alices.do(t, "GET", path, "").want(t, path, 403)
	}
}

// TestImportsStayInTheirNamespace: what an operator exports holds whole keys, and a tenant who brings them gets them in his own.
func TestImportsStayInTheirNamespace(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	alices, _, look := furnish(t, s)
	before := look()
	export := s.as(op).do(t, "GET", "/v1/export", "").want(t, "export", 200)
	alices.hidden = nil // she brings it all herself
	a := alices.do(t, "POST", "/v1/import", export.body, "Content-Type: application/x-ndjson")
	a.want(t, "import", 200, 400, 403, 409, 422)
	if after := look(); after != before {
		t.Errorf("keys that are not alice's changed: before\n%s\nafter\n%s", before, after)
	}
	list := alices.do(t, "GET", "/v1/kv?prefix="+zone+"/bob/", "").want(t, "list", 200)
	if a.status == 200 && !strings.Contains(list.body, secretKey) {
		t.Errorf("the import says %s, but alice's own namespace has no copy: %s", a.body, list.body)
	}
}
