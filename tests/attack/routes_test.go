package attack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// open are the paths that anybody may ask; all others of the contract need credentials.
//
//nolint:gochecknoglobals // a constant table
var open = []string{
	"/", "/version", "/health", "/livez", "/readyz", "/openapi.yaml", "/openapi.json", "/asyncapi.yaml", "/docs", "/docs/{file}",
	"/problems", "/problems/{code}", "/v1/auth/methods", "/v1/auth/login",
}

// TestEveryRouteAsksWhoCalls holds every route and method of the contract, and of /v3, against every kind of bad
// credential: 401 with what would be accepted, nothing asked of etcd, and no difference between a key that exists and
// one that does not.
func TestEveryRouteAsksWhoCalls(t *testing.T) {
	t.Parallel()
	s := startSite(t)
	s.as(op).do(t, "PUT", "/v1/kv/there", `{"value":"1"}`).want(t, "put", 201)
	s.as(op).do(t, "PUT", "/v1/kv/"+zone+"%2Falice%2Fthere", `{"value":"1"}`).want(t, "put", 201)
	routes := routesOf(t, s)
	if len(routes) < 60 {
		t.Fatalf("the contract has %d routes that need credentials; it was not read right", len(routes))
	}
	before := s.calls(t)
	for _, r := range routes {
		for name, headers := range badCredentials(s) {
			for _, upgrade := range upgrades(r) {
				what := fmt.Sprintf("%s %s with %s", r.method, r.path, name)
				there := s.refused(t, what, r, "there", append(upgrade, headers...))
				absent := s.refused(t, what, r, "gone", append(upgrade, headers...))
				if there != absent {
					t.Errorf("%s: the answers tell whether there is a key:\n%s\n%s", what, there, absent)
				}
			}
		}
	}
	if after := s.calls(t); after != before {
		t.Errorf("etcd was asked: %v, before %v", after, before)
	}
	s.as(op).do(t, "GET", "/v1/kv/there", "").want(t, "a good token", 200)
	if after := s.calls(t); after == before {
		t.Error("a read is not among the calls that are counted")
	}
}

// route is one way to ask.
type route struct{ method, path string }

// at fills the path's parameters.
func (r route) at(name string) string {
	path := r.path
	for strings.Contains(path, "{") {
		from, to := strings.IndexByte(path, '{'), strings.IndexByte(path, '}')
		path = path[:from] + name + path[to+1:]
	}
	return path
}

// routesOf reads the contract that the gateway serves, and adds etcd's own API.
func routesOf(t *testing.T, s *site) []route {
	t.Helper()
	var contract struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(ask(t, s.gateway.API, "GET", "/openapi.json", "").body), &contract); err != nil {
		t.Fatal(err)
	}
	var routes []route
	for path, methods := range contract.Paths {
		if slices.Contains(open, path) {
			continue
		}
		for method := range methods {
			if method != "parameters" && method != "summary" && method != "description" {
				routes = append(routes, route{strings.ToUpper(method), path})
			}
		}
	}
	for _, path := range []string{
		"kv/range", "kv/put", "kv/deleterange", "kv/txn", "kv/compaction", "watch", "lease/grant", "kv/lease/revoke", "lease/keepalive", "lease/leases",
		"lock/lock", "lock/unlock", "election/campaign", "election/observe", "maintenance/status", "maintenance/snapshot", "maintenance/hash",
		"cluster/member/list", "auth/enable", "auth/user/list", "auth/role/add", "nothing/here",
	} {
		routes = append(routes, route{"POST", "/v3/" + path}, route{"POST", "/v3beta/" + path})
	}
	return append(routes, route{"GET", "/v3/watch"})
}

// upgrades are the headers that make another transport of the same route.
func upgrades(r route) [][]string {
	all := [][]string{nil}
	if strings.HasSuffix(r.path, "/watch") && r.method == "GET" {
		socket := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
		all = append(all, socket, []string{"Accept: text/event-stream"}, []string{"Accept: application/x-ndjson"})
	}
	return all
}

// badCredentials are headers that name nobody.
func badCredentials(s *site) map[string][]string {
	good := s.issuer.token(op, nil)
	bearer := func(token string) []string { return []string{"Authorization: Bearer " + token} }
	return map[string][]string{
		"nothing":              nil,
		"an empty bearer":      bearer(""),
		"a word":               bearer("x"),
		"another scheme":       {"Authorization: Negotiate " + good},
		"a password":           {"Authorization: Basic cm9vdDpyb290"},
		"a token in a cookie":  {"Cookie: token=" + good},
		"two headers":          {"Authorization: Bearer " + good, "Authorization: Bearer " + good},
		"another's signature":  bearer(forge("ES256", s.issuer.attacker, `{"alg":"ES256","kid":"ec"}`, toJSON(claimsOf(op, nil)))),
		"no signature":         bearer(raw64(`{"alg":"none"}`) + "." + raw64(toJSON(claimsOf(op, nil))) + "."),
		"a token of the past":  bearer(s.issuer.token(op, map[string]any{"exp": time.Now().Unix() - 60})),
		"another's audience":   bearer(s.issuer.token(op, map[string]any{"aud": "others"})),
		"headers of a proxy":   {"X-Forwarded-User: op", "X-Forwarded-For: 127.0.0.1", "X-Remote-User: root", "Forwarded: for=127.0.0.1"},
		"an etcd token":        {"Authorization: aaaaaaaa.7"},
		"grpc's own metadata":  {"Grpc-Metadata-Authorization: Bearer " + good, "Token: " + good},
		"a token in two parts": bearer(good[:len(good)/2] + " " + good[len(good)/2:]),
	}
}

// refused demands a 401 and gives the answer without what differs anyway.
func (s *site) refused(t *testing.T, what string, r route, name string, headers []string) string {
	t.Helper()
	body := ""
	if r.method != "GET" && r.method != "HEAD" {
		body = `{"key":"` + raw64(name) + `"}`
	}
	a := ask(t, s.gateway.API, r.method, r.at(name), body, append(headers, "X-Request-Id: same")...)
	if a.status != 401 || a.header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s: got %d %s %v; want 401 and WWW-Authenticate", what, a.status, a.body, a.header)
	}
	for _, changing := range []string{"Date", "Server-Timing"} {
		a.header.Del(changing)
	}
	return fmt.Sprint(a.status, a.body, a.header)
}

// calls counts what has gone to etcd on behalf of callers; the gateway's own probes are not counted.
func (s *site) calls(t *testing.T) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := harness.Metric(ctx, s.gateway.Admin, "etcdrest_etcd_attempts_total")
	if err != nil {
		t.Fatal(err)
	}
	return n
}
