package compat_test

import (
	"net/http"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// What differs from etcd's own gateway by intention, besides the members of errors and what stream_test.go and
// socket_test.go are about. Everything else that is not the same is a fault.
func TestWhatIsMended(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	for _, c := range []struct {
		name         string
		q            request
		theirs, ours int
		part         string
	}{
		{"etcd 3.2's prefix is served", post("/v3alpha/kv/range", `{"key":"YQ=="}`), 404, 200, `"header"`},
		{
			"a request beyond 2 MiB is refused before it is sent, in other words",
			post("/v3/kv/put", `{"key":"YQ==","value":"`+strings.Repeat("A", 3<<20)+`"}`),
			429, 429, `"code":8,"message":"trying to send message larger than max`,
		},
		{
			"a body has a limit",
			post("/v3/kv/put", `{"key":"YQ==","value":"`+strings.Repeat("A", 13<<20)+`"}`),
			429, 413, `"code":8,"message":"the body is larger than the gateway takes"`,
		},
		{"a keepalive that cannot be read is no success", post("/v3/lease/keepalive", `{"ID":"x"}`), 200, 400, `"code":3`},
		{"paths are not cleaned, nor redirected", post("/v3//kv/range", `{"key":"YQ=="}`), 200, 404, `{"error":"Not Found","code":5,"message":"Not Found"}`},
		{"CORS is for listed origins", request{method: http.MethodOptions, path: "/v3/kv/range"}, 200, 204, ""},
		{"another site's page gets nothing", post("/v3/kv/range", `{"key":"YQ=="}`, "Origin: https://evil.example"), 200, 403, `"code":7,`},
		{"headers have a limit", post("/v3/kv/range", `{"key":"YQ=="}`, "X-Large: "+strings.Repeat("x", 100<<10)), 200, 431, `"code":3,`},
	} {
		theirs, ours := ask(t, p.theirs, c.q), ask(t, p.ours, c.q)
		if theirs.status != c.theirs || ours.status != c.ours || !strings.Contains(ours.body, c.part) {
			t.Errorf("%s: etcd %d %.300s; ours %d %.300s", c.name, theirs.status, theirs.body, ours.status, ours.body)
		}
		if ours.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id: %v", c.name, ours.header)
		}
		if len(ours.body) > 0 && ours.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: Content-Type is %q", c.name, ours.header.Get("Content-Type"))
		}
	}
}

// The gateway's own identity is for callers without a token, and for nobody else.
func TestACallersTokenIsNotTheGateways(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	enable(t, etcd.Endpoint())
	g := startOn(t, etcd, compat.Options{}, func(c *etcdclient.Config) { c.Username, c.Password = "root", "toor" })
	token := tokenOf(t, ask(t, g.url, post("/v3/auth/authenticate", `{"name":"user","password":"pass"}`)).body)
	for _, c := range []struct {
		header string
		status int
	}{
		{"X-None: 1", 200},
		{"Authorization: " + token, 403},
		{"Authorization: Bearer " + token, 403},
		{"Grpc-Metadata-Token: " + token, 403},
		{"Authorization: bogus.1", 401},
		{"Authorization: ", 401},
		{"X-None: 1", 200},
	} {
		for _, q := range []request{
			post("/v3/kv/put", `{"key":"YQ==","value":"YQ=="}`, c.header), post("/v3/kv/range", `{"key":"YQ=="}`, c.header),
			post("/v3/kv/txn", `{"success":[{"request_range":{"key":"YQ=="}}]}`, c.header),
		} {
			if a := ask(t, g.url, q); a.status != c.status {
				t.Errorf("%s with %s: got %d %s, want %d", q.path, c.header, a.status, a.body, c.status)
			}
		}
		watch := post("/v3/watch", `{"create_request":{"key":"YQ=="}}`, c.header)
		watch.lines = 1
		if a := ask(t, g.url, watch); strings.Contains(a.body, "cancel_reason") == (c.status == 200) {
			t.Errorf("a watch with %s: got %s", c.header, a.body)
		}
	}
}

// enable turns authentication on: root, and a user who may do nothing.
func enable(t *testing.T, endpoint string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(t.Context(), "root", "toor"); return err },
		func() error { _, err := c.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := c.UserAdd(t.Context(), "user", "pass"); return err },
		func() error { _, err := c.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}
