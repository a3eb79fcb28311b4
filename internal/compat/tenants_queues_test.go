package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// someLease is a lease that there is, nil when there is none.
func (x *tenant) someLease() *lease {
	if len(x.leases) == 0 {
		return nil
	}
	return x.leases[x.r.IntN(len(x.leases))]
}

// learn takes note of a lease.
func (x *tenant) learn(ids twin) *lease {
	l := &lease{decimal: ids}
	for side, id := range ids {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			x.t.Fatalf("%s: a lease's id: %v", x.at, err)
		}
		l.hex[side], l.short[side] = fmt.Sprintf("%016x", n), strconv.FormatInt(n, 16)
	}
	x.leases = append(x.leases, l)
	return l
}

// each sends a request whose answers hold what the two stores are yet to be known by, and reads a member of both.
func (x *tenant) each(path string, body func(int) string, read func(doc map[string]any) string) (found twin) {
	x.t.Helper()
	for side, address := range x.urls {
		q := post(path, body(side))
		if side == 0 {
			q.headers = []string{by(x.name)}
		}
		a := ask(x.t, address, q)
		if side == 0 {
			x.keepsSecrets(x.at, a)
		}
		docs := documents(x.t.Fatalf, a.body)
		if a.status >= 300 || len(docs) != 1 {
			x.t.Fatalf("%s: %s %s: %d %s", x.at, path, body(side), a.status, a.body)
		}
		found[side] = read(docs[0].(map[string]any))
	}
	return found
}

func (x *tenant) grant() {
	if x.flag() {
		x.learn(x.each("/v1/leases", text(`{"ttl":6000}`), func(doc map[string]any) string {
			id, err := strconv.ParseInt(fmt.Sprint(doc["id"]), 16, 64)
			if err != nil {
				x.t.Fatal(err)
			}
			return strconv.FormatInt(id, 10)
		}))
		return
	}
	x.learn(x.each("/v3/lease/grant", text(`{"TTL":"6000"}`), func(doc map[string]any) string { return fmt.Sprint(doc["ID"]) }))
}

func (x *tenant) revoke() {
	l := x.someLease()
	if l == nil {
		return
	}
	x.leases = slices.DeleteFunc(x.leases, func(o *lease) bool { return o == l })
	x.ended = append(x.ended, l)
	for name, h := range x.holds {
		if h.lease == l {
			delete(x.holds, name)
		}
	}
	if x.flag() {
		x.both(http.MethodDelete, func(side int) string { return "/v1/leases/" + l.hex[side] }, text(""))
		return
	}
	path := x.of("/v3/lease/revoke", "/v3/kv/lease/revoke", "/v3beta/lease/revoke")
	x.both(http.MethodPost, text(path), func(side int) string { return fmt.Sprintf(`{"ID":%q}`, l.decimal[side]) })
}

// lookAtLease asks for a lease that there is, that was, or that is somebody else's: there is none in a store of one's own.
func (x *tenant) lookAtLease() {
	id, hex := twin{"119", "119"}, twin{"0000000000000077", "0000000000000077"}
	if known := slices.Concat(x.leases, x.ended); len(known) > 0 && !x.rarely() {
		l := known[x.r.IntN(len(known))]
		id, hex = l.decimal, l.hex
	}
	named := func(side int) string { return fmt.Sprintf(`{"ID":%q,"keys":true}`, id[side]) }
	switch x.r.IntN(7) {
	case 0:
		x.v3(x.of("/v3/lease/leases", "/v3/kv/lease/leases"), `{}`)
	case 1:
		x.both(http.MethodGet, text("/v1/leases"), text(""))
	case 2:
		x.both(http.MethodGet, func(side int) string { return "/v1/leases/" + hex[side] + "?keys=true" }, text(""))
	case 3:
		x.both(http.MethodPost, func(side int) string { return "/v1/leases/" + hex[side] + "/keepalive" }, text(""))
	case 4:
		x.both(http.MethodPost, text("/v3/lease/keepalive"), named)
	default:
		x.both(http.MethodPost, text(x.of("/v3/lease/timetolive", "/v3/kv/lease/timetolive")), named)
	}
}

// lock takes a lock that is free, or that its lease has, so that nobody waits.
func (x *tenant) lock() {
	name := x.of("l1", "l2", "l\xff")
	var l *lease
	if h := x.holds[name]; h != nil {
		l = h.lease
	} else if !x.rarely() {
		l = x.someLease()
	}
	ids := twin{"0", "0"} // etcd makes one
	if l != nil {
		ids = l.decimal
	}
	proof := x.each("/v3/lock/lock", func(side int) string { return fmt.Sprintf(`{"name":%q,"lease":%q}`, b64(name), ids[side]) },
		func(doc map[string]any) string { return fmt.Sprint(doc["key"]) })
	if l == nil {
		l = x.leaseOf(proof, name)
	}
	x.holds[name] = &hold{lease: l, proof: proof}
}

// leaseOf reads the lease from the keys of a lock: etcd made it.
func (x *tenant) leaseOf(keys twin, name string) *lease {
	var ids twin
	for side, key := range keys {
		b, err := base64.StdEncoding.DecodeString(key)
		rest, ok := strings.CutPrefix(string(b), name+"/")
		id, wrong := strconv.ParseInt(rest, 16, 64)
		if err != nil || !ok || wrong != nil {
			x.t.Fatalf("%s: the key of the lock %q is %q", x.at, name, b)
		}
		ids[side] = strconv.FormatInt(id, 10)
	}
	return x.learn(ids)
}

func (x *tenant) unlock() {
	name := x.of("l1", "l2", "l\xff")
	keys := twin{b64("a/77"), b64("a/77")}
	if h := x.holds[name]; h != nil {
		keys = h.proof
		delete(x.holds, name)
	} else if x.rarely() {
		keys = twin{}
	}
	x.both(http.MethodPost, text("/v3/lock/unlock"), func(side int) string { return fmt.Sprintf(`{"key":%q}`, keys[side]) })
}

// nativeLock looks at a lock, or tries to have one that is not there without waiting.
func (x *tenant) nativeLock() {
	name := x.of("l1", "l2", "n1")
	l := x.someLease()
	switch {
	case l != nil && name == "n1" && x.flag():
		x.both(http.MethodDelete, func(side int) string { return "/v1/locks/n1?lease=" + l.hex[side] }, text(""))
	case l != nil && name == "n1":
		x.both(http.MethodPost, text("/v1/locks/n1"), func(side int) string { return fmt.Sprintf(`{"lease":%q}`, l.hex[side]) })
	default:
		x.both(http.MethodGet, text("/v1/locks/"+name), text(""))
	}
}

// campaign stands in an election that nobody, or its lease, leads.
func (x *tenant) campaign() {
	name := x.of("e1", "e\xff\xff")
	l := x.someLease()
	if h := x.holds[name]; h != nil {
		l = h.lease
	}
	if l == nil {
		return
	}
	proof := x.each("/v3/election/campaign", func(side int) string {
		return fmt.Sprintf(`{"name":%q,"lease":%q,"value":%q}`, b64(name), l.decimal[side], b64(x.mark))
	}, func(doc map[string]any) string {
		leader, err := json.Marshal(doc["leader"])
		if err != nil {
			x.t.Fatal(err)
		}
		return string(leader)
	})
	var leaders [2]any
	for side := range leaders {
		leaders[side] = documents(x.t.Fatalf, proof[side])[0]
	}
	if diff := x.differ("leader", leaders[0], leaders[1]); diff != "" {
		x.t.Fatalf("%s: campaign for %q: %s", x.at, name, diff)
	}
	x.holds[name] = &hold{lease: l, proof: proof}
}

// election asks who leads, or speaks or resigns as the leader.
func (x *tenant) election() {
	name := x.of("e1", "e\xff\xff", "e2")
	h, l := x.holds[name], x.someLease()
	leader := func(side int) string {
		if h == nil { // and l is a lease, see below
			return fmt.Sprintf(`{"name":%q,"key":%q,"rev":"1","lease":%q}`, b64(name), b64("a"), l.decimal[side])
		}
		return h.proof[side]
	}
	n := x.r.IntN(4)
	if l == nil {
		n = 3
	}
	switch n {
	case 0:
		x.both(http.MethodPost, text("/v3/election/proclaim"), func(side int) string {
			return fmt.Sprintf(`{"leader":%s,"value":%q}`, leader(side), b64(x.mark+"2"))
		})
	case 1:
		delete(x.holds, name)
		x.both(http.MethodPost, text("/v3/election/resign"), func(side int) string { return fmt.Sprintf(`{"leader":%s}`, leader(side)) })
	default:
		x.v3("/v3/election/leader", fmt.Sprintf(`{"name":%q}`, b64(name)))
	}
}

// admin tries what is about the whole cluster, and is refused.
func (x *tenant) admin() {
	path := x.of("/v3/kv/compaction", "/v3/maintenance/snapshot", "/v3/maintenance/alarm", "/v3/cluster/member/list", "/v3/auth/user/list",
		"/v1/maintenance/compact", "/v1/cluster/members", "/v1/auth/enable")
	a := ask(x.t, x.urls[0], post(path, `{"revision":"1"}`, by(x.name)))
	x.keepsSecrets(x.at, a)
	if a.status != http.StatusForbidden {
		x.t.Fatalf("%s: %s: got %d %s, want 403", x.at, path, a.status, a.body)
	}
}
