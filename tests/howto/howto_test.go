// Package howto_test holds the how-tos of who may call, and of browsers, to what they show.
package howto_test

import (
	"path/filepath"
	"regexp"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
	"github.com/etcdrest/etcdrest/tests/tour"
)

func TestMain(m *testing.M) { harness.Main(m) }

// port is one that a page uses; none of them means anything to the reader.
var port = regexp.MustCompile(`\b(?:2379|8379|8380|8479|9000)\b`)

// TestHowTos runs each page from its own text against the built gateway, on free ports in place of those it shows.
func TestHowTos(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"oidc", "static-keys", "mtls", "etcd-users", "browsers"} {
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			name := "docs/how-to/" + page + ".md"
			free := map[string]string{"8379": tour.FreePort(t), "8380": tour.FreePort(t)}
			text := port.ReplaceAllStringFunc(tour.Document(t, name), func(shown string) string {
				if free[shown] == "" {
					free[shown] = tour.FreePort(t)
				}
				return free[shown]
			})
			for _, fault := range tour.Run(
				t, text, "PATH="+filepath.Dir(harness.Built().Gateway)+":$PATH",
				"ETCDREST_LISTEN=127.0.0.1:"+free["8379"], "ETCDREST_ADMIN_LISTEN=127.0.0.1:"+free["8380"],
			) {
				t.Errorf("%s:%s", name, fault)
			}
		})
	}
}
