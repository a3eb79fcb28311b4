// Package readme_test holds the README to what it shows.
package readme_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
	"github.com/etcdrest/etcdrest/tests/tour"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestReadmeTour runs the README's tour against `gateway dev`, on free ports in place of the default ones.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	gateway := harness.StartGateway(t, "dev", "--data-dir", t.TempDir())
	text := strings.NewReplacer(
		":8379", ":"+port(t, gateway.API),
		":8380", ":"+port(t, gateway.Admin),
	).Replace(tour.Document(t, "README.md"))
	for _, fault := range tour.Run(t, text) {
		t.Errorf("README.md:%s", fault)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		t.Fatalf("got the address %q (%v), want a URL with a port", address, err)
	}
	return u.Port()
}
