package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

// TestStreamsObeyTheFile (scorecard E13, E19): a policy that is read again ends a running stream, and neither tokens nor
// tickets are in the log or in what operators are shown.
func TestStreamsObeyTheFile(t *testing.T) { //nolint:paralleltest // SIGHUP is for the whole process
	dir := t.TempDir()
	const both = "\n  - when: {name: [ada, root]}\n    grants: [{verbs: all}]\n"
	file := doorFile(t, dir, both)
	g := start(t, "dev", "--config="+file, "--log-level=debug")
	ada, root := bearer(t, jwt.MapClaims{"sub": "ada"}), bearer(t, jwt.MapClaims{"sub": "root"})
	token := strings.TrimPrefix(ada, "Bearer ")

	var bought struct{ Ticket string }
	a := ask(t, "POST", g.api+"/v1/auth/tickets", `{"path":"/v1/watch"}`, ada)
	if a.status != http.StatusCreated || json.Unmarshal([]byte(a.body), &bought) != nil {
		t.Fatalf("no ticket: %d %s", a.status, a.body)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.api+"/v1/watch?key=k&ticket="+bought.Ticket, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	events, err := http.DefaultClient.Do(request)
	if err != nil || events.StatusCode != http.StatusOK {
		t.Fatalf("the ticket: %v %v", events, err)
	}
	defer events.Body.Close()
	socket, _, err := websocket.Dial(t.Context(), strings.Replace(g.api, "http", "ws", 1)+"/v1/watch?key=k", &websocket.DialOptions{ //nolint:bodyclose // the socket has it
		Subprotocols: []string{"etcdrest.v1", "bearer." + base64.RawURLEncoding.EncodeToString([]byte(token))},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.CloseNow() }()
	if _, message, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(message), "created") {
		t.Fatalf("the socket: %s %v", message, err)
	}
	streams := ask(t, "GET", g.api+"/v1/gateway/streams", "", root)
	if !strings.Contains(streams.body, `"principal":"ada"`) {
		t.Errorf("the streams are shown as %s", streams.body)
	}
	shown := streams.body + ask(t, "GET", g.admin+"/debug/streams", "", "").body + ask(t, "GET", g.admin+"/metrics", "", "").body

	writeIn(t, filepath.Dir(file), filepath.Base(file), strings.Replace(mustRead(t, file), "[ada, root]", "[root]", 1))
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for said := ""; !strings.Contains(said, "permission_denied"); {
		_, message, err := socket.Read(t.Context())
		if err != nil {
			t.Fatalf("the socket ended with %v after %s", err, said)
		}
		said = string(message)
	}
	for lines := bufio.NewScanner(events.Body); lines.Scan(); {
		if strings.Contains(lines.Text(), "permission_denied") {
			break
		}
	}
	if d := time.Since(began); d > 5*time.Second { // the promise is one; the machine may be busy
		t.Errorf("the streams ended after %v", d)
	}
	if err := g.stop(); err != nil {
		t.Error(err)
	}
	shown += g.log.String()
	if !strings.Contains(shown, "/v1/watch") {
		t.Error("the log has no requests, so this finds nothing")
	}
	for what, secret := range map[string]string{"the token": token, "the token as it travels": base64.RawURLEncoding.EncodeToString([]byte(token)), "the ticket": bought.Ticket, "the secret": doorSecret} {
		if strings.Contains(shown, secret) {
			at := strings.Index(shown, secret)
			t.Errorf("%s is shown or logged: …%s", what, shown[max(at-200, 0):at])
		}
	}
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
