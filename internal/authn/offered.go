package authn

import (
	"net/http"
	"strings"
)

// Offered is the Authorization that a WebSocket of /v3 brings as its subprotocols, empty for none: "Bearer, <token>", as
// grpc-websocket-proxy takes it. It is the one place where a browser's script can put a token.
func Offered(h http.Header) string {
	kind, token, _ := strings.Cut(strings.Join(h["Sec-Websocket-Protocol"], ","), ",")
	if strings.TrimSpace(kind) != "Bearer" || strings.TrimSpace(token) == "" {
		return ""
	}
	return "Bearer " + strings.TrimSpace(token)
}
