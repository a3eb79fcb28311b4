package compat_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// within is how long a watch may go on whose right was taken back.
const within = 6 * time.Second

// etcd judges a watch when it begins, and never again. Here a role that is taken back ends it: whoever's identity it is under, and whether
// it shares a feed or has a stream of its own.
func TestATakenRoleEndsWatchesOfV3(t *testing.T) {
	t.Parallel()
	plain, root := guarded(t, 300)
	gated := startWith(t, plain.etcd, compat.Options{}, setup{gate: usersOfEtcd(t, authn.New(authn.NewEtcd()))}, func(c *etcdclient.Config) { c.Username, c.Password = "root", "toor" })
	basic := "Basic " + b64("app:app")
	token := tokenOf(t, ask(t, plain.url, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
	sockets := map[string]*websocket.Conn{
		"the gateway's identity":       dial(t, plain.url, "/v3/watch", nil),
		"a token of etcd's":            dial(t, plain.url, "/v3/watch", nil, "Authorization: "+token),
		"a caller who is etcd's user":  dial(t, gated.url, "/v3/watch", nil, "Authorization: "+basic),
		"a caller with a token of his": dial(t, gated.url, "/v3/watch", nil, "Authorization: "+token),
	}
	for who, socket := range sockets {
		for id, create := range []string{
			createRequest("q/", "q0", `,"watch_id":"10"`), createRequest("q/", "q0", `,"watch_id":"11","fragment":true`),
			createRequest("p/", "p0", `,"watch_id":"20"`), createRequest("p/1", "", `,"watch_id":"21","progress_notify":true,"prev_kv":true`),
		} {
			say(t, socket, create)
			if m := hear(t, socket); !strings.Contains(m, `"created":true`) || strings.Contains(m, "canceled") {
				t.Fatalf("%s: watch %d: got %s", who, id, m)
			}
		}
	}
	if _, err := root.RoleRevokePermission(t.Context(), "app", "p/", clientv3.GetPrefixRangeEnd("p/")); err != nil {
		t.Fatal(err)
	}
	taken := time.Now()
	for who, socket := range sockets {
		ended := map[string]bool{"20": false, "21": false}
		for range ended {
			m := hear(t, socket)
			for id := range ended {
				ended[id] = ended[id] || strings.Contains(m, `"watch_id":"`+id+`"`) && strings.Contains(m, `"canceled":true`) && strings.Contains(m, "permission denied")
			}
		}
		if d := time.Since(taken); !ended["20"] || !ended["21"] || d > within+2*time.Second { // the machine may be busy
			t.Errorf("%s: after %v the ends of both watches were told: %v; want that within %v", who, d, ended, within)
		}
	}
	write(t, root, "p/1", "not for them")
	write(t, root, "q/1", "for them")
	for who, socket := range sockets {
		for range 2 {
			if m := hear(t, socket); !strings.Contains(m, b64("for them")) {
				t.Errorf("%s: the other watches: got %s", who, m)
			}
		}
	}
}

// An election is observed by a watch of etcd's own, which ends like any other: with a leader and without.
func TestATakenRoleEndsObserversOfV3(t *testing.T) {
	t.Parallel()
	plain, root := guarded(t, 300)
	gated := startBehind(t, plain.etcd, usersOfEtcd(t, authn.New(authn.NewEtcd())))
	token := tokenOf(t, ask(t, plain.url, post("/v3/auth/authenticate", `{"name":"app","password":"app"}`)).body)
	write(t, root, "p/e/1", "boss")
	write(t, root, "q/e/1", "boss")
	observe := func(name string) string { return `{"name":"` + b64(name) + `"}` }
	leaderless := make(chan string)
	observers := []struct {
		who  string
		in   *gateway
		show []string
		led  *lineStream
		stay *lineStream
	}{
		{who: "the gateway's user", in: plain},
		{who: "a token", in: plain, show: []string{"Authorization: " + token}},
		{who: "a password, asked", in: gated, show: []string{"Authorization: Basic " + b64("app:app")}},
		{who: "a token, asked", in: gated, show: []string{"Authorization: " + token}},
	}
	for n := range observers {
		o := &observers[n]
		o.stay = open(t, http.MethodPost, o.in.url+"/v3/election/observe", observe("q/e"), o.show...)
		o.led = open(t, http.MethodPost, o.in.url+"/v3/election/observe", observe("p/e"), o.show...)
		for _, s := range []*lineStream{o.stay, o.led} {
			s.wants(b64("boss"))
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.in.url+"/v3/election/observe", strings.NewReader(observe("p/none")))
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range o.show {
			_, value, _ := strings.Cut(h, ": ")
			r.Header.Set("Authorization", value)
		}
		go func() {
			told := o.who + " of no leader: "
			response, err := browser.Do(r)
			if err != nil {
				leaderless <- told + err.Error()
				return
			}
			defer response.Body.Close()
			text, _ := io.ReadAll(response.Body)
			leaderless <- fmt.Sprintf("%s%d %s", told, response.StatusCode, text)
		}()
	}
	eventually(t, "everybody observes", func() bool { return plain.compat.Observers()+gated.compat.Observers() == 3*len(observers) })
	if _, err := root.RoleRevokePermission(t.Context(), "app", "p/", clientv3.GetPrefixRangeEnd("p/")); err != nil {
		t.Fatal(err)
	}
	for n := range observers {
		observers[n].led.wants("etcdserver: permission denied")
		// etcd ends with nothing the one to whom it has not come yet.
		if m := <-leaderless; !strings.Contains(m, "etcdserver: permission denied") && !strings.HasSuffix(m, ": 200 ") {
			t.Errorf("%s; want that it is denied", m)
		}
	}
	write(t, root, "q/e/1", "the same boss")
	for n := range observers {
		observers[n].stay.wants(b64("the same boss"))
	}
}
