package versions_test

import "fmt"

// leases is keys that go away by themselves.
func (s *site) leases() {
	s.call("a key with a time to live", "PUT", "/v1/kv/nodes/a", `{"value":"alive","ttl":600}`)
	s.call("a lease is granted", "POST", "/v1/leases", `{"ttl":600,"id":"7b"}`)
	s.call("a lease of that id exists", "POST", "/v1/leases", `{"ttl":600,"id":"7b"}`)
	s.call("a key is put on a lease", "PUT", "/v1/kv/nodes/b", `{"value":"alive","lease":"7b"}`)
	s.call("a lease is looked at", "GET", "/v1/leases/7b?keys", "")
	s.call("a lease is renewed", "POST", "/v1/leases/7b/keepalive", "")
	s.call("several leases are renewed", "POST", "/v1/leases/keepalive", `{"ids":["7b","7c"]}`)
	s.call("a value is kept on its lease", "PUT", "/v1/kv/nodes/b", `{"value":"well","ignore_lease":true}`)
	s.call("a key on a lease that is not there", "PUT", "/v1/kv/nodes/c", `{"value":"x","lease":"7c"}`)
	s.call("a lease ends", "DELETE", "/v1/leases/7b", "")
	s.call("its key has ended with it", "GET", "/v1/kv/nodes/b", "")
	for _, call := range [][2]string{{"GET", ""}, {"DELETE", ""}, {"POST", "/keepalive"}} {
		s.call(fmt.Sprintf("a lease that is not there: %s%s", call[0], call[1]), call[0], "/v1/leases/7b"+call[1], "")
	}
	for _, time := range []string{"first", "second"} {
		s.call("a lease that can be asked for again, the "+time+" time", "POST", "/v1/leases", `{"ttl":600,"id":"7d"}`, "Idempotency-Key: 7d")
	}
	s.call("too long a lease", "POST", "/v1/leases", `{"ttl":9000000001}`)
}

// locks is locks and elections.
func (s *site) locks() {
	lock := s.call("a lock", "POST", "/v1/locks/nightly", `{"ttl":600}`)
	s.call("a lock that is held", "POST", "/v1/locks/nightly", `{"ttl":600}`)
	s.call("who holds a lock", "GET", "/v1/locks/nightly", "")
	held := "?if_lock=" + lock.text(s.t, "owner_key") + "&fencing_token=" + lock.text(s.t, "fencing_token")
	s.call("a write of the owner", "PUT", "/v1/kv/report"+held, `{"value":"done"}`)
	s.call("a lock is released", "DELETE", "/v1/locks/nightly?lease="+lock.text(s.t, "lease"), "")
	s.call("a write of the former owner", "PUT", "/v1/kv/report"+held, `{"value":"again"}`)
	election := s.call("a campaign", "POST", "/v1/elections/workers", `{"value":"10.0.0.7","ttl":600}`)
	lease := election.text(s.t, "lease")
	s.call("who leads", "GET", "/v1/elections/workers", "")
	s.call("a proclamation", "PUT", "/v1/elections/workers", `{"value":"10.0.0.8","lease":"`+lease+`"}`)
	s.call("a campaign that comes too late", "POST", "/v1/elections/workers", `{"value":"10.0.0.9","ttl":600,"wait":1}`)
	s.call("a resignation", "DELETE", "/v1/elections/workers?lease="+lease, "")
	s.call("nobody leads", "GET", "/v1/elections/workers", "")
}
