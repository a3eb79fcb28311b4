package handlers_test

import (
	"bytes"
	"encoding/base64"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// names lists the names in an answer's member.
func names(doc map[string]any, plural string) (out []string) {
	for _, item := range doc[plural].([]any) {
		out = append(out, item.(map[string]any)["name"].(string))
	}
	return out
}

func TestUsersAreAddedAndRemoved(t *testing.T) {
	t.Parallel()
	g := start(t)
	for name, location := range map[string]string{"alice": "alice", "a/b c%2F": "a%2Fb%20c%252F"} {
		a := g.do(t, "POST", "/v1/users", `{"name":"`+name+`","password":"secret"}`).want(t, 201)
		if a.header.Get("Location") != "/v1/users/"+location || a.json(t)["name"] != name || a.header.Get("Etcd-Revision") == "" {
			t.Errorf("%s: got %s at %q", name, a.body, a.header.Get("Location"))
		}
		if doc := g.do(t, "GET", "/v1/users/"+location, "").want(t, 200).json(t); doc["name"] != name || len(doc["roles"].([]any)) != 0 {
			t.Errorf("%s: got %v", name, doc)
		}
		inBase64 := base64.RawURLEncoding.EncodeToString([]byte(name))
		if doc := g.do(t, "GET", "/v1/users/"+inBase64+"?key_encoding=base64url", "").want(t, 200).json(t); doc["name"] != name {
			t.Errorf("%s in base64url: got %v", name, doc)
		}
	}
	g.do(t, "POST", "/v1/users", `{"name":"cert","no_password":true}`).want(t, 201)
	theirs, err := g.oracle.UserList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ours := names(g.do(t, "GET", "/v1/users", "").want(t, 200).json(t), "users")
	if diff := cmp.Diff(theirs.Users, ours); diff != "" || len(ours) != 3 {
		t.Errorf("users (-official +ours):\n%s", diff)
	}
	if doc := g.do(t, "POST", "/v1/users", `{"name":"alice","password":"x"}`).problem(t, 409, "already_exists"); doc["outcome"] != "not_applied" {
		t.Errorf("a second alice: got %v", doc)
	}
	g.do(t, "DELETE", "/v1/users/a%2Fb%20c%252F", "").want(t, 204)
	for _, call := range [][3]string{
		{"GET", "/v1/users/bob"},
		{"DELETE", "/v1/users/a%2Fb%20c%252F"},
		{"PUT", "/v1/users/bob/password", `{"password":"x"}`},
		{"PUT", "/v1/users/bob/roles/r"},
		{"DELETE", "/v1/users/bob/roles/r"},
	} {
		if doc := g.do(t, call[0], call[1], call[2]).problem(t, 404, "user_not_found"); call[0] != "GET" && doc["outcome"] != "not_applied" {
			t.Errorf("%s %s: got %v, want not_applied", call[0], call[1], doc)
		}
	}
	for _, body := range []string{
		`{"name":"x"}`, `{"name":"x","password":"p","no_password":true}`, `{"name":"x","password":""}`, `{"name":"","password":"p"}`,
		`{"name":"x","no_password":false}`, `{"name":"x","password":"` + strings.Repeat("p", 73) + `"}`,
	} {
		g.do(t, "POST", "/v1/users", body).problem(t, 400, "invalid_argument")
	}
	g.do(t, "PUT", "/v1/users/alice/password", `{"password":""}`).problem(t, 400, "invalid_argument")
	g.do(t, "GET", "/v1/users/%ff", "").problem(t, 400, "invalid_parameter")
	g.do(t, "GET", "/v1/users/", "").problem(t, 404, "route_not_found")
}

func TestRolesHavePermissionsAsEtcdKeepsThem(t *testing.T) {
	t.Parallel()
	g := start(t)
	if a := g.do(t, "POST", "/v1/roles", `{"name":"r/w"}`).want(t, 201); a.header.Get("Location") != "/v1/roles/r%2Fw" {
		t.Errorf("Location: got %q", a.header.Get("Location"))
	}
	g.do(t, "POST", "/v1/roles", `{"name":"r/w"}`).problem(t, 409, "already_exists")
	g.do(t, "POST", "/v1/roles", `{"name":""}`).problem(t, 400, "invalid_argument")
	const path = "/v1/roles/r%2Fw/permissions"
	grants := []struct{ body, query, key, end, shown string }{
		{`{"type":"read","key":"k"}`, "key=k", "k", "", `{"type":"read","key":"k"}`},
		{`{"type":"write","prefix":"app/"}`, "prefix=app/", "app/", "app0", `{"type":"write","prefix":"app/"}`},
		{`{"type":"readwrite","prefix":""}`, "prefix=", "\x00", "\x00", `{"type":"readwrite","prefix":""}`},
		{`{"type":"read","from":"b","to":"x"}`, "from=b&to=x", "b", "x", `{"type":"read","from":"b","to":"x"}`},
		{`{"type":"read","from":"c"}`, "from=c", "c", "\x00", `{"type":"read","from":"c"}`},
		{`{"type":"read","to":"d"}`, "to=d", "\x00", "d", `{"type":"read","from":"\u0000","to":"d"}`},
		{`{"type":"read","prefix_base64":"/w=="}`, "prefix=%FF", "\xff", "\x00", `{"type":"read","from_base64":"/w=="}`},
		{`{"type":"read","key_base64":"gA=="}`, "key=%80", "\x80", "", `{"type":"read","key_base64":"gA=="}`},
	}
	for _, tt := range grants {
		g.do(t, "PUT", path, tt.body).want(t, 204)
		theirs, err := g.oracle.RoleGet(t.Context(), "r/w")
		if err != nil {
			t.Fatal(err)
		}
		p := theirs.Perm[0]
		if len(theirs.Perm) != 1 || string(p.Key) != tt.key || string(p.RangeEnd) != tt.end {
			t.Errorf("%s: the official client sees %q to %q, want %q to %q", tt.body, p.Key, p.RangeEnd, tt.key, tt.end)
		}
		want := `{"name":"r/w","permissions":[` + tt.shown + "]}\n"
		if got := string(g.do(t, "GET", "/v1/roles/r%2Fw", "").want(t, 200).body); got != want {
			t.Errorf("%s: got %s, want %s", tt.body, got, want)
		}
		g.do(t, "DELETE", path+"?"+tt.query, "").want(t, 204)
		if doc := g.do(t, "DELETE", path+"?"+tt.query, "").problem(t, 404, "permission_not_found"); doc["outcome"] != "not_applied" {
			t.Errorf("%s taken twice: got %v", tt.body, doc)
		}
	}
	g.do(t, "PUT", path, `{"type":"read","key":"k"}`).want(t, 204)
	g.do(t, "PUT", path, `{"type":"write","key":"k"}`).want(t, 204)
	if doc := g.do(t, "GET", "/v1/roles/r%2Fw?encoding=base64", "").want(t, 200).json(t); len(doc["permissions"].([]any)) != 1 ||
		doc["permissions"].([]any)[0].(map[string]any)["type"] != "write" {
		t.Errorf("granted twice: got %v, want the second", doc)
	}
	for _, body := range []string{
		`{"type":"read"}`, `{"type":"all","key":"k"}`, `{"type":"read","key":""}`, `{"type":"read","key":"k","prefix":"k"}`,
		`{"type":"read","prefix":"k","from":"a"}`, `{"type":"read","from":"b","to":"a"}`,
	} {
		g.do(t, "PUT", path, body).problem(t, 400, "invalid_argument")
	}
	g.do(t, "DELETE", path, "").problem(t, 400, "invalid_argument")
	for _, call := range [][3]string{
		{"GET", "/v1/roles/none"},
		{"DELETE", "/v1/roles/none"},
		{"PUT", "/v1/roles/none/permissions", `{"type":"read","key":"k"}`},
		{"DELETE", "/v1/roles/none/permissions?key=k"},
	} {
		g.do(t, call[0], call[1], call[2]).problem(t, 404, "role_not_found")
	}

	g.do(t, "POST", "/v1/users", `{"name":"alice","password":"secret"}`).want(t, 201)
	g.do(t, "PUT", "/v1/users/alice/roles/none", "").problem(t, 404, "role_not_found")
	for range 2 {
		g.do(t, "PUT", "/v1/users/alice/roles/r%2Fw", "").want(t, 204)
	}
	theirs, err := g.oracle.UserGet(t.Context(), "alice")
	if err != nil || !slices.Equal(theirs.Roles, []string{"r/w"}) {
		t.Errorf("the official client sees %v, %v", theirs, err)
	}
	if doc := g.do(t, "GET", "/v1/users/alice", "").want(t, 200).json(t); doc["roles"].([]any)[0] != "r/w" {
		t.Errorf("alice: got %v", doc)
	}
	g.do(t, "DELETE", "/v1/users/alice/roles/r%2Fw", "").want(t, 204)
	for path, code := range map[string]string{
		"/v1/users/alice/roles/r%2Fw": "role_not_found", "/v1/users/alice/roles/none": "role_not_found", "/v1/users/none/roles/r%2Fw": "user_not_found",
		path + "?key=none": "permission_not_found", path + "?from=k": "permission_not_found",
	} {
		if doc := g.do(t, "DELETE", path, "").problem(t, 404, code); doc["outcome"] != "not_applied" {
			t.Errorf("DELETE %s: got %v, want not_applied", path, doc)
		}
	}
	g.do(t, "DELETE", "/v1/roles/r%2Fw", "").want(t, 204)
	if left := names(g.do(t, "GET", "/v1/roles", "").want(t, 200).json(t), "roles"); len(left) != 0 {
		t.Errorf("roles: got %v, want none", left)
	}
}

// TestAuthenticationIsTurnedOnAndOff: by a gateway that is root, with one beside it that is nobody.
func TestAuthenticationIsTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	const roots, alices = "roots-own-password", "alices-own-password"
	etcd := embedetcd.StartForTest(t)
	var log bytes.Buffer
	logged := func(o *handlers.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	root := startOver(t, etcd, etcd.Endpoint(), func(*etcdclient.Client) handlers.Backend {
		c, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}, Username: "root", Password: roots})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}, logged)
	nobody := startOn(t, etcd)

	if doc := root.do(t, "GET", "/v1/auth", "").want(t, 200).json(t); doc["enabled"] != false {
		t.Errorf("before: got %v", doc)
	}
	root.do(t, "POST", "/v1/auth/login", `{"name":"root","password":"`+roots+`"}`).problem(t, 409, "auth_not_enabled")
	if doc := root.do(t, "POST", "/v1/auth/enable", "").problem(t, 409, "failed_precondition"); doc["outcome"] != "not_applied" {
		t.Errorf("without root: got %v", doc)
	}
	root.do(t, "POST", "/v1/users", `{"name":"root","password":"`+roots+`"}`).want(t, 201)
	root.do(t, "POST", "/v1/roles", `{"name":"root"}`).want(t, 201)
	root.do(t, "PUT", "/v1/users/root/roles/root", "").want(t, 204)
	root.do(t, "POST", "/v1/users", `{"name":"alice","password":"`+alices+`"}`).want(t, 201)
	for range 2 {
		root.do(t, "POST", "/v1/auth/enable", "{}").want(t, 200)
	}
	for name, g := range map[string]*gateway{"root": root, "nobody": nobody} {
		if doc := g.do(t, "GET", "/v1/auth", "").want(t, 200).json(t); doc["enabled"] != true {
			t.Errorf("%s sees %v", name, doc)
		}
		for user, password := range map[string]string{"root": roots, "alice": alices} {
			if doc := g.do(t, "POST", "/v1/auth/login", `{"name":"`+user+`","password":"`+password+`"}`).want(t, 200).json(t); doc["token"] == "" {
				t.Errorf("login of %s at %s: got %v", user, name, doc)
			}
		}
		for _, wrong := range []string{`"alice","password":"` + roots, `"bob","password":"` + alices, `"alice","password":"`} {
			a := g.do(t, "POST", "/v1/auth/login", `{"name":`+wrong+`"}`)
			if doc := a.problem(t, 401, "unauthenticated"); doc["outcome"] != "not_applied" {
				t.Errorf("login with %s: got %v", wrong, doc)
			}
			if strings.Contains(string(a.body), "-own-") {
				t.Errorf("the answer has a password in it: %s", a.body)
			}
		}
	}
	nobody.do(t, "GET", "/v1/users", "").problem(t, 401, "unauthenticated")
	nobody.do(t, "POST", "/v1/auth/disable", "").problem(t, 401, "unauthenticated")
	root.do(t, "DELETE", "/v1/users/root", "").problem(t, 409, "failed_precondition")

	root.do(t, "PUT", "/v1/users/alice/password", `{"password":"another-own-password"}`).want(t, 204)
	root.do(t, "POST", "/v1/auth/login", `{"name":"alice","password":"`+alices+`"}`).problem(t, 401, "unauthenticated")
	root.do(t, "POST", "/v1/auth/login", `{"name":"alice","password":"another-own-password"}`).want(t, 200)

	root.do(t, "POST", "/v1/auth/disable", "").want(t, 200)
	nobody.do(t, "GET", "/v1/users", "").want(t, 200)
	if strings.Contains(log.String(), "-own-password") {
		t.Errorf("the log has a password in it: %s", log.String())
	}
}
