package loopback_test

import (
	"net"
	"testing"

	"github.com/etcdrest/etcdrest/internal/loopback"
)

func TestTheAddressIsFreeAndBelowThoseThatSystemsGive(t *testing.T) {
	t.Parallel()
	given := map[string]bool{}
	for range 20 {
		address, err := loopback.LastingAddress(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatalf("it is not free: %v", err)
		}
		t.Cleanup(func() { _ = l.Close() })
		if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() || a.Port < 1024 || a.Port >= 32768 {
			t.Errorf("got %s; want a port of loopback that no system gives by itself", address)
		}
		if given[address] {
			t.Errorf("%s was given twice, while it was taken", address)
		}
		given[address] = true
	}
}
