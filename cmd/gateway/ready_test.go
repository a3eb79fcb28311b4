package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// An etcd that refuses the probe's read has answered it, with a quorum; one that does not know the gateway's user has not.
func TestAnEtcdThatDoesNotLetTheGatewayReadIsReady(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	setUpUsers(t, etcd.Endpoint())
	dir := t.TempDir()
	alice := []string{"--endpoints=" + etcd.Endpoint(), "--etcd-user=alice", "--etcd-password-file=" + writeIn(t, dir, "alices", "alicepw")}
	for name, flags := range map[string][]string{"a user who may not read the key health": alice, "no user": alice[:1]} {
		g := start(t, append([]string{"serve"}, flags...)...)
		if a := call(t, nil, http.MethodGet, g.api+"/v1/kv/health", ""); a.status != http.StatusForbidden && a.status != http.StatusUnauthorized {
			t.Fatalf("%s: a read of the key: got %d %s, want a refusal", name, a.status, a.body)
		}
		for _, url := range []string{g.api + "/readyz", g.admin + "/readyz", g.api + "/health"} {
			if a := call(t, nil, http.MethodGet, url, ""); a.status != http.StatusOK {
				t.Errorf("%s: %s: got %d %s, want 200", name, url, a.status, a.body)
			}
		}
	}
	wrong := start(t, "serve", alice[0], alice[1], "--etcd-password-file="+writeIn(t, dir, "wrong", "wrong"), "--dial-timeout=1")
	if a := call(t, nil, http.MethodGet, wrong.api+"/readyz", ""); a.status == http.StatusOK {
		t.Error("with a wrong password: got 200, want a refusal")
	}
	out, err := output(t, append([]string{"doctor"}, alice...)...)
	if line := lineOf(out, "access", "cluster"); err != nil || !strings.Contains(line, "may not read the key health") {
		t.Errorf("doctor: got %v\n%s\nwant no failure", err, out)
	}
}
