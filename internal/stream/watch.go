package stream

import (
	"net/http"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
)

// The transports, as operators see them.
const (
	overWebSocket = "websocket"
	overSSE       = "sse"
	overNDJSON    = "ndjson"
	overPoll      = "poll"
)

// Watch serves GET /v1/watch over the transport that the request asks for, for as long as the watch lasts. An error means
// that nothing has been written yet; its request id is the answer's X-Request-Id, which must have been set.
func (h *Hub) Watch(w http.ResponseWriter, r *http.Request, q *query.Query) error {
	if isUpgrade(r.Header) {
		return h.serveSocket(w, r, q)
	}
	transport, err := transportOf(r.Header, q)
	if err != nil {
		return err
	}
	request, err := requestOf(q)
	if err != nil {
		return err
	}
	if err := q.Done(); err != nil {
		return err
	}
	if bookmark := r.Header.Get("Last-Event-ID"); bookmark != "" && transport == overSSE {
		if err := request.after(bookmark); err != nil {
			return err
		}
	}
	return h.serveLines(w, r, request, transport)
}

// isUpgrade tells whether a WebSocket is asked for. Another protocol (h2c, which curl offers) is to be ignored (RFC 9110, 7.8).
func isUpgrade(h http.Header) bool {
	return hasToken(h["Upgrade"], "websocket") && hasToken(h["Connection"], "upgrade")
}

// hasToken tells whether a list of a header has the token, in any case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// transportOf chooses between the two streams of lines: by stream=, else by what the request accepts.
func transportOf(h http.Header, q *query.Query) (string, error) {
	switch q.Choice("stream", "", overSSE, overNDJSON) {
	case overSSE:
		return overSSE, nil
	case overNDJSON:
		return overNDJSON, nil
	}
	accepted := strings.ToLower(strings.Join(h["Accept"], ","))
	switch {
	case strings.Contains(accepted, "text/event-stream"):
		return overSSE, nil
	case accepted == "", strings.Contains(accepted, "*/*"), strings.Contains(accepted, "application/*"),
		strings.Contains(accepted, "application/x-ndjson"), strings.Contains(accepted, "application/json"):
		return overNDJSON, nil
	}
	return "", problem.New(problem.NotAcceptable, "a watch is text/event-stream, application/x-ndjson, or a WebSocket")
}
