package stream_test

import (
	"net/http"
	"slices"
	"testing"
)

// A handshake that is not valid is a problem document with the status that fits.
func TestHandshakesThatAreNotValid(t *testing.T) {
	t.Parallel()
	g := start(t)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket"}
	g.get(t, "/v1/watch", append(upgrade, "Sec-WebSocket-Version: 13")...).problem(t, 400, "invalid_argument")
	g.get(t, "/v1/watch", append(upgrade, "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short")...).problem(t, 400, "invalid_argument")
	wrong := g.get(t, "/v1/watch", append(upgrade, "Sec-WebSocket-Version: 12", key)...)
	wrong.problem(t, 400, "invalid_argument")
	if got := wrong.header.Get("Sec-WebSocket-Version"); got != "13" {
		t.Errorf("the version that is taken: got %q (RFC 6455, 4.4)", got)
	}
	valid := append(slices.Clone(upgrade), "Sec-WebSocket-Version: 13", key)
	g.get(t, "/v1/watch?perfix=a", valid...).problem(t, 400, "unknown_parameter")
	g.get(t, "/v1/watch?heartbeat=1", valid...).problem(t, 400, "unknown_parameter")
	g.get(t, "/v1/watch?key=a&prefix=b", valid...).problem(t, 400, "invalid_parameter")
	g.get(t, "/v1/watch?key=a", append(valid, "Origin: https://elsewhere.example")...).problem(t, 403, "cross_site")
	if a := g.do(t, http.MethodHead, "/v1/watch", valid...); a.status != http.StatusBadRequest {
		t.Errorf("HEAD: got %d", a.status)
	}
	if n := len(g.hub.Streams()); n != 0 {
		t.Errorf("%d streams are left", n)
	}
}
