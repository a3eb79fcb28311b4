package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// When somebody's turn comes, nobody writes anything: it is a line all the same.
func TestTheAuditLogTellsWhoseTurnHasCome(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	g := dev(t, "--audit-log="+file)
	turn := func(id string) (line auditLine, told bool) {
		t.Helper()
		for _, l := range of(auditLines(t, file), id) {
			if l.Event != "" {
				line, told = l, true
			}
		}
		return line, told
	}
	for _, q := range []struct{ path, body, event string }{
		{"/v1/locks/l", `{"ttl":60,"wait":30}`, "acquired"}, {"/v1/elections/e", `{"ttl":60,"wait":30,"value":"` + secretValue + `"}`, "elected"},
	} {
		first := call(t, nil, http.MethodPost, g.api+q.path, q.body, "X-Request-Id", q.event+"-first")
		var owner struct{ Lease string }
		if err := json.Unmarshal([]byte(first.body), &owner); err != nil || first.status != http.StatusCreated {
			t.Fatalf("%s: got %d %s", q.path, first.status, first.body)
		}
		if line, told := turn(q.event + "-first"); !told || line.Event != q.event || line.Lease != owner.Lease {
			t.Errorf("%s: got %+v, want that it was %s", q.path, line, q.event)
		}
		second := make(chan answer, 1)
		go func() {
			a, _ := try(t, nil, http.MethodPost, g.api+q.path, q.body, "X-Request-Id", q.event+"-second")
			second <- a
		}()
		waitUntil(t, "the second waits", func() bool { return len(of(auditLines(t, file), q.event+"-second")) == 2 })
		if line, told := turn(q.event + "-second"); told {
			t.Errorf("%s: while it waits: got %+v, want no such line", q.path, line)
		}
		call(t, nil, http.MethodDelete, g.api+q.path+"?lease="+owner.Lease, "", "X-Request-Id", q.event+"-release")
		if a := <-second; a.status != http.StatusCreated {
			t.Fatalf("%s: got %d %s", q.path, a.status, a.body)
		}
		line, told := turn(q.event + "-second")
		if !told || line.Event != q.event || line.Outcome != "applied" || line.RPC != "" || line.Details["fencing_token"] == "" ||
			!strings.HasSuffix(line.Details["key"], "/"+line.Lease) || line.Revision == 0 {
			t.Errorf("%s: got %+v, want who has it now", q.path, line)
		}
		if released := of(auditLines(t, file), q.event+"-release"); len(released) == 0 || len(released[0].Ops) != 1 || released[0].Ops[0].Op != "delete" {
			t.Errorf("%s: got %+v for the release, want a deletion", q.path, released)
		}
		if a := call(t, nil, http.MethodPost, g.api+q.path, `{"ttl":60`+strings.TrimPrefix(strings.Replace(q.body, `,"wait":30`, "", 1), `{"ttl":60`), "X-Request-Id", q.event+"-third"); a.status != http.StatusConflict {
			t.Errorf("%s: got %d, want 409", q.path, a.status)
		}
		if line, told := turn(q.event + "-third"); told {
			t.Errorf("%s: who was refused: got %+v", q.path, line)
		}
	}
	wantNoSecrets(t, file)
}

// A lease of a socket is its caller's, and not the gateway's own.
func TestALeaseOfASocketIsInTheAuditLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "audit")
	g := dev(t, "--audit-log="+file)
	c, _, err := websocket.Dial(t.Context(), g.api+"/v1/watch", &websocket.DialOptions{ //nolint:bodyclose // a socket has none
		Subprotocols: []string{"etcdrest.v1"}, HTTPHeader: http.Header{"X-Request-Id": {"socket"}},
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(`{"op":"lease","id":"s","ttl":60}`)); err != nil {
		t.Fatal(err)
	}
	_, m, err := c.Read(t.Context())
	if err != nil || !strings.Contains(string(m), `"type":"lease"`) {
		t.Fatalf("got %s, %v", m, err)
	}
	lines := of(auditLines(t, file), "socket")
	if len(lines) != 1 || lines[0].RPC != "Lease/LeaseGrant" || lines[0].TTL != 60 || lines[0].Remote == "" || !strings.Contains(string(m), lines[0].Lease) {
		t.Errorf("got %+v, want the lease of %s", lines, m)
	}
}
