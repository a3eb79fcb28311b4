package handlers

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
)

const (
	// subprotocol is what clients offer that expect to be told on the socket what is wrong.
	subprotocol = "etcdrest.v1"
	// bearerPrefix begins a further entry of theirs, the one place where a browser's script can put a token: it is never
	// sent back.
	bearerPrefix = "bearer."
)

// isSocket tells whether the request asks for a WebSocket and offers the subprotocol.
func isSocket(r *http.Request) bool {
	return isUpgrade(r) && lists(r.Header["Sec-Websocket-Protocol"], subprotocol)
}

// isUpgrade tells whether the request asks for a WebSocket.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && lists(r.Header["Upgrade"], "websocket") && lists(r.Header["Connection"], "upgrade")
}

// lists tells whether a header's list has the entry, in any case.
func lists(lines []string, entry string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), entry) {
				return true
			}
		}
	}
	return false
}

// offeredTokens gives what the entries bearer.<base64url> stand for, as Authorization would have it.
func offeredTokens(h http.Header) ([]string, error) {
	var all []string
	for _, line := range h["Sec-Websocket-Protocol"] {
		for item := range strings.SplitSeq(line, ",") {
			spelled, ok := strings.CutPrefix(strings.TrimSpace(item), bearerPrefix)
			if !ok {
				continue
			}
			token, err := base64.RawURLEncoding.Strict().DecodeString(spelled)
			if err != nil || len(token) == 0 {
				return nil, problem.New(problem.Unauthenticated, "the subprotocol bearer.… must hold the token in unpadded base64url").
					AtParameter("Sec-WebSocket-Protocol")
			}
			all = append(all, "Bearer "+string(token))
		}
	}
	return all, nil
}
