package versions_test

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"time"
)

// messageWithin is how long one message may take on a busy machine.
const messageWithin = 20 * time.Second

// users is etcd's own users and roles, with its authentication off and then on.
func (s *site) users() {
	s.call("authentication is off", "GET", "/v1/auth", "")
	s.call("no login while authentication is off", "POST", "/v1/auth/login", `{"name":"root","password":"secret"}`)
	s.call("a user", "POST", "/v1/users", `{"name":"root","password":"secret"}`)
	s.call("a user without a password", "POST", "/v1/users", `{"name":"cert","no_password":true}`)
	s.call("a user that exists", "POST", "/v1/users", `{"name":"root","password":"secret"}`)
	s.call("another password", "PUT", "/v1/users/root/password", `{"password":"secret2"}`)
	s.call("authentication needs the role root", "POST", "/v1/auth/enable", "")
	for _, role := range []string{"root", "reader"} {
		s.call("the role "+role, "POST", "/v1/roles", `{"name":"`+role+`"}`)
	}
	s.call("a permission", "PUT", "/v1/roles/reader/permissions", `{"type":"read","prefix":"app/"}`)
	s.call("a permission of one key", "PUT", "/v1/roles/reader/permissions", `{"type":"read","key":"health"}`) // without it a gateway is not ready
	s.call("a role and its permissions", "GET", "/v1/roles/reader", "")
	s.call("a role is granted", "PUT", "/v1/users/root/roles/root", "")
	s.call("a role that is not there is granted", "PUT", "/v1/users/root/roles/none", "")
	s.quietly("POST", "/v1/users", `{"name":"alice","password":"a"}`).ok(s.t)
	s.quietly("PUT", "/v1/users/alice/roles/reader", "").ok(s.t)
	s.call("the users", "GET", "/v1/users", "")
	s.call("the roles", "GET", "/v1/roles", "")
	s.call("a user and its roles", "GET", "/v1/users/alice", "")
	// The hash is that of "secret".
	s.call("/v3: a user by a hash of the password", "POST", "/v3/auth/user/add", `{"name":"hashed","hashedPassword":"JDJhJDA0JExEeDNML3pwZ0kwZVpELlcuU2lxN09vR0JMcERWNDljVGJPaUw1YVNDM09aM1kxZXNzcUJH"}`)
	s.call("/v3: a password by its hash", "POST", "/v3/auth/user/changepw", `{"name":"hashed","hashedPassword":"JDJhJDA0JExEeDNML3pwZ0kwZVpELlcuU2lxN09vR0JMcERWNDljVGJPaUw1YVNDM09aM1kxZXNzcUJH"}`)
	s.call("/v3: the users there are", "POST", "/v3/auth/user/list", `{}`)
	s.call("authentication is enabled", "POST", "/v1/auth/enable", "")
	s.call("authentication is on, to a gateway without a user", "GET", "/v1/auth", "")
	s.call("a read without a user", "GET", "/v1/kv/app/name", "")
	s.call("a watch without a user", "GET", "/v1/watch?stream=ndjson&prefix=app/&timeout=1", "")
	s.call("a wrong password", "POST", "/v1/auth/login", `{"name":"alice","password":"b"}`)
	s.as("alice", "a")
	s.call("alice reads what she may", "GET", "/v1/kv/app/name", "")
	s.call("alice reads what she may not", "GET", "/v1/kv/orders/1", "")
	s.call("alice writes what she may only read", "PUT", "/v1/kv/app/name", `{"value":"x"}`)
	s.call("alice watches what she may", "GET", "/v1/watch?stream=ndjson&prefix=app/&snapshot=true&keys_only=true&timeout=1", "")
	s.call("alice watches what she may not", "GET", "/v1/watch?stream=ndjson&prefix=orders/&timeout=1", "")
	s.call("alice changes users", "POST", "/v1/users", `{"name":"bob","password":"b"}`)
	s.as("root", "secret2")
	s.call("authentication is on", "GET", "/v1/auth", "")
	s.call("root reads", "GET", "/v1/kv?prefix=app/", "")
	s.call("root writes", "PUT", "/v1/kv/app/name", `{"value":"again"}`)
	s.call("root watches", "GET", "/v1/watch?stream=ndjson&prefix=orders/&snapshot=true&timeout=1", "")
	s.call("root takes a role", "DELETE", "/v1/users/alice/roles/reader", "")
	s.call("root looks for a lease", "GET", "/v1/leases/7b", "")
	s.call("root looks at the cluster", "GET", "/v1/cluster", "")
	s.call("a user by a hash logs in", "POST", "/v1/auth/login", `{"name":"hashed","password":"secret"}`)
	s.call("a user by a hash does not log in without a password", "POST", "/v3/auth/authenticate", `{"name":"hashed"}`)
	s.call("authentication is disabled", "POST", "/v1/auth/disable", "")
	s.call("authentication is off again", "GET", "/v1/auth", "")
}

// as starts a gateway that speaks to etcd as that user; it is the one that is asked from now on.
func (s *site) as(user, password string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.gateway("--etcd-user", user, "--etcd-password-file", file)
}

// lines reads a body line by line.
type lines struct{ r *bufio.Reader }

func newLines(body io.Reader) lines { return lines{bufio.NewReader(body)} }

func (l lines) next() (string, error) { return l.r.ReadString('\n') }
