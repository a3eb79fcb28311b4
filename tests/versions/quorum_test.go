package versions_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/contract"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// TestNoVersionSaysThatThereIsAQuorumWhenThereIsNone: etcd 3.4 lists the members that one of them knows, whatever it is asked for, and
// says of a call whose time ran out that it does not know what happened.
func TestNoVersionSaysThatThereIsAQuorumWhenThereIsNone(t *testing.T) {
	t.Parallel()
	cluster := harness.Version("3.4").StartCluster(t, 3)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s := &site{
		t: t, url: harness.StartGateway(t, "serve", "--endpoints", cluster.Endpoints()).API,
		client: &http.Client{Transport: contract.New(t).Transport(transport), Timeout: patience},
	}
	view := func() (v struct{ Quorum, Healthy bool }) {
		a := s.quietly("GET", "/v1/cluster", "").ok(t)
		if err := json.NewDecoder(bytes.NewReader(a.body)).Decode(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := view(); !v.Quorum || !v.Healthy {
		t.Errorf("three of three members: got %+v", v)
	}
	for _, m := range cluster.Members[1:] {
		if err := m.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if v := view(); v.Quorum || v.Healthy {
		t.Errorf("one of three members: got %+v, want no quorum", v)
	}
	if a := s.quietly("GET", "/v1/kv/a?timeout=2", ""); a.status != 503 && a.status != 504 {
		t.Errorf("a read without a quorum: got %d %s", a.status, a.body)
	}
	a := s.quietly("PUT", "/v1/kv/a?timeout=2", `{"value":"b"}`)
	if a.status != 503 && a.status != 504 || !strings.Contains(string(a.body), `"outcome":"`) {
		t.Errorf("a write without a quorum: got %d %s", a.status, a.body)
	}
}
