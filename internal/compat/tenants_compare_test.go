package compat_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// both sends a request to both stores, and gives the documents of the two answers, which are the same. A request that is
// made for each store is a function.
func (x *tenant) both(method string, path, body func(side int) string, headers ...string) (status int, docs [2][]any) {
	x.t.Helper()
	var answers [2]answer
	for side, url := range x.urls {
		q := request{method: method, path: path(side), body: body(side), headers: headers}
		if side == 0 {
			q.headers = append(slices.Clone(headers), by(x.name))
		}
		answers[side] = ask(x.t, url, q)
	}
	what := fmt.Sprintf("%s: %s %s %s", x.at, method, path(0), body(0))
	x.keepsSecrets(what, answers[0])
	if answers[0].status != answers[1].status {
		x.t.Fatalf("%s:\nshared %d %s\nalone  %d %s", what, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
	}
	if answers[0].status == http.StatusBadRequest { // of several faults in one request another may be named
		return http.StatusBadRequest, docs
	}
	for side := range docs {
		docs[side] = documents(x.t.Fatalf, answers[side].body)
	}
	if diff := x.differ("", docs[0], docs[1]); diff != "" {
		x.t.Fatalf("%s: %s\nshared %d %s\nalone  %d %s", what, diff, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
	}
	if status = answers[0].status; status < 300 {
		x.remember(docs)
	}
	return status, docs
}

// v3 is both for a call of /v3, with the same text for both.
func (x *tenant) v3(path, body string) (status int, docs [2][]any) {
	x.t.Helper()
	return x.both(http.MethodPost, text(path), text(body))
}

// text is the same for both stores.
func text(s string) func(int) string { return func(int) string { return s } }

// keepsSecrets looks for what nobody may show to the tenant.
func (x *tenant) keepsSecrets(what string, a answer) {
	x.t.Helper()
	told := fmt.Sprint(a.body, a.header, a.trailer)
	for _, secret := range x.secrets {
		if strings.Contains(told, secret) {
			x.t.Fatalf("%s: the answer shows %q: %v %s", what, secret, a.header, a.body)
		}
	}
}

// documents reads the JSON documents of an answer.
func documents(fatalf func(string, ...any), body string) (docs []any) {
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	for {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			fatalf("not JSON: %v: %s", err, body)
		}
		docs = append(docs, doc)
	}
}

// remember takes note of the revision that both answers are of.
func (x *tenant) remember(docs [2][]any) {
	var at twin
	for side, all := range docs {
		if len(all) == 0 {
			return
		}
		first, _ := all[0].(map[string]any)
		header, ok := first["header"].(map[string]any)
		if !ok {
			return
		}
		at[side] = fmt.Sprint(header["revision"])
	}
	x.moments = append(x.moments, at)
}

// differ says where two answers differ that are to be the same, but for revisions, ids and times.
func (x *tenant) differ(name string, shared, alone any) string {
	switch s := shared.(type) {
	case map[string]any:
		a, ok := alone.(map[string]any)
		if !ok || !slices.Equal(slices.Sorted(maps.Keys(s)), slices.Sorted(maps.Keys(a))) {
			return fmt.Sprintf("%s: %v; want %v", name, shared, alone)
		}
		for _, k := range slices.Sorted(maps.Keys(s)) {
			if diff := x.differ(k, s[k], a[k]); diff != "" {
				return diff
			}
		}
		return ""
	case []any:
		a, ok := alone.([]any)
		if !ok || len(s) != len(a) {
			return fmt.Sprintf("%s: %v; want %v", name, shared, alone)
		}
		if name == "leases" || name == "keys" { // of a lease
			return x.differSets(name, s, a)
		}
		for i := range s {
			if diff := x.differ(name, s[i], a[i]); diff != "" {
				return diff
			}
		}
		return ""
	}
	if !x.equal(name, fmt.Sprint(shared), fmt.Sprint(alone)) {
		return fmt.Sprintf("%s: %v; want %v", name, shared, alone)
	}
	return ""
}

// differSets compares lists in whose order etcd has no say.
func (x *tenant) differSets(name string, shared, alone []any) string {
	var members [2][]string
	for i := range shared {
		members[0], members[1] = append(members[0], fmt.Sprint(x.translated(shared[i]))), append(members[1], fmt.Sprint(alone[i]))
	}
	slices.Sort(members[0])
	slices.Sort(members[1])
	if !slices.Equal(members[0], members[1]) {
		return fmt.Sprintf("%s: %v; want %v", name, members[0], members[1])
	}
	return ""
}

func (x *tenant) translated(member any) any {
	doc, ok := member.(map[string]any)
	if !ok {
		return x.translate(fmt.Sprint(member))
	}
	out := make(map[string]any, len(doc))
	for k, v := range doc {
		out[k] = x.translated(v)
	}
	return out
}

// equal compares two values of a member.
func (x *tenant) equal(name, shared, alone string) bool {
	switch name {
	case "cluster_id", "member_id", "raft_term", "request_id", "epoch", "cursor", "next_cursor", "grpc_message":
		return true
	case "revision", "create_revision", "mod_revision", "fencing_token", "rev", "compact_revision", "etag":
		known, ok := x.revisions[shared]
		x.revisions[shared] = alone
		return !ok || known == alone
	case "TTL", "grantedTTL", "ttl", "granted_ttl", "remaining":
		s, _ := strconv.Atoi(shared)
		a, _ := strconv.Atoi(alone)
		return s == a || s > 0 && a > 0 && max(s-a, a-s) < 30
	case "detail":
		digits := strings.NewReplacer("0", "", "1", "", "2", "", "3", "", "4", "", "5", "", "6", "", "7", "", "8", "", "9", "")
		return digits.Replace(shared) == digits.Replace(alone)
	}
	return x.translate(shared) == alone
}

// translate puts the ids of leases in the tenant's own store in the place of those in the shared one, in keys too.
func (x *tenant) translate(s string) string {
	if b, err := base64.StdEncoding.DecodeString(s); err == nil && len(b) > 0 {
		if inner := x.translateText(string(b)); inner != string(b) {
			return base64.StdEncoding.EncodeToString([]byte(inner))
		}
	}
	return x.translateText(s)
}

func (x *tenant) translateText(s string) string {
	for _, l := range slices.Concat(x.leases, x.ended) {
		s = strings.ReplaceAll(s, l.decimal[0], l.decimal[1])
		s = strings.ReplaceAll(s, l.hex[0], l.hex[1])
		s = strings.ReplaceAll(s, l.short[0], l.short[1])
	}
	return s
}
