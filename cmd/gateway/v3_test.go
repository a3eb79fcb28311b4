package main

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// /v3 is behind the same door: counted, timed where it makes sense, in the access log, and told when the gateway stops.
func TestV3IsPartOfTheProgram(t *testing.T) {
	t.Parallel()
	g := dev(t, "--access-log=stderr", "--shutdown-grace=20s")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if a := call(t, client, http.MethodPost, g.api+"/v3/kv/put", `{"key":"YQ==","value":"YQ=="}`); a.status != http.StatusOK {
		t.Fatalf("put: got %d %s", a.status, a.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.api+"/v3/watch", strings.NewReader(`{"create_request":{"key":"YQ=="}}`))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	watch := bufio.NewScanner(answer.Body)
	if !scanTo(watch, `"created":true`) {
		t.Fatalf("watch: got %q", watch.Text())
	}
	socket, _, err := websocket.Dial(t.Context(), g.api+"/v3/watch", &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // a socket has none
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.CloseNow() }()
	if err := socket.Write(t.Context(), websocket.MessageText, []byte(`{"create_request":{"key":"YQ=="}}`)); err != nil {
		t.Fatal(err)
	}
	if _, m, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(m), `"created":true`) {
		t.Fatalf("socket: got %q, %v", m, err)
	}
	follow(t, g.api+"/v1/watch?key=a")
	if a := call(t, client, http.MethodGet, g.api+"/v1/gateway", ""); !strings.Contains(a.body, `"watches":3,"feeds":1`) {
		t.Errorf("a native watch and two of /v3 of one key: got %s, want one feed", a.body)
	}
	if n := metric(t, g, `etcdrest_http_request_duration_seconds_count{method="POST",route="/v3/*"}`); n != 1 {
		t.Errorf("timed: got %v, want the put alone", n)
	}

	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	if !scanTo(watch, `"message":"the gateway is stopping"`) || scanTo(watch, "result") {
		t.Errorf("watch: got %q at its end", watch.Text())
	}
	if _, m, err := socket.Read(t.Context()); err != nil || !strings.Contains(string(m), "the gateway is stopping") {
		t.Errorf("socket: got %q, %v", m, err)
	}
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("socket: got %v, want 1001", err)
	}
	if err := <-stopped; err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("stopping: got %v after %v", err, time.Since(began))
	}
	g.log.waitFor(t, `"method":"GET","route":"/v3/*","operation":"v3","status":101`)
	g.log.waitFor(t, `"method":"POST","route":"/v3/*","operation":"v3","status":200`)
	if strings.Contains(g.log.String(), "requests were cut") {
		t.Error("something was cut")
	}
}
