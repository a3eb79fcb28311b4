package handlers

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// admit finds out who calls and what he may do, before anything else is read of the request. What concerns the keys is
// judged by the store that the call works on from then on (authz.Store).
func (a *API) admit(c *call) error {
	if a.options.Gate == nil || c.route.open || c.route.login || c.route.unserved || a.logsIn(c) {
		return nil
	}
	if len(c.r.Header["Authorization"]) > 1 {
		return a.challenge(c, problem.New(problem.Unauthenticated, "the request has more than one Authorization header").AtParameter("Authorization"))
	}
	shown := credentials(c.r)
	if c.route.compat && shown.Authorization == "" {
		shown.Authorization = offeredToken(c.r.Header)
	}
	caller, err := a.options.Gate.Admit(c.ctx(), shown)
	if err != nil {
		return a.challenge(c, err)
	}
	c.become(caller)
	if err := c.count(); err != nil {
		return err
	}
	if c.route.verb != 0 {
		return caller.Has(c.route.verb)
	}
	return nil
}

// become has the call work as its caller.
func (c *call) become(caller *authz.Caller) {
	c.caller = caller
	c.notes.SetPrincipal(caller.Principal.Name)
	c.backend = caller.Client()
	store := caller.Store()
	if c.route.verb == authz.Lock {
		store = store.For(authz.Lock)
	}
	c.store = observed{Store: store, epoch: c.api.epoch}
	c.r = c.r.WithContext(authz.With(c.r.Context(), caller))
	c.received = c.r
}

// logsIn tells whether the call is etcd's own way of becoming known, for callers whom etcd knows.
func (a *API) logsIn(c *call) bool {
	if !c.route.compat || !slices.Contains(a.options.Gate.Kinds(), authn.KindEtcd) {
		return false
	}
	switch c.r.URL.Path {
	case "/v3/auth/authenticate", "/v3beta/auth/authenticate", "/v3alpha/auth/authenticate":
		return true
	}
	return false
}

// offeredToken is the Authorization that a WebSocket of /v3 brings as its subprotocol: "Bearer, <token>".
func offeredToken(h http.Header) string {
	kind, token, _ := strings.Cut(strings.Join(h["Sec-Websocket-Protocol"], ","), ",")
	if strings.TrimSpace(kind) != "Bearer" || strings.TrimSpace(token) == "" {
		return ""
	}
	return "Bearer " + strings.TrimSpace(token)
}

// credentials are what the request shows.
func credentials(r *http.Request) authn.Credentials {
	at, _ := netip.ParseAddrPort(r.RemoteAddr) // a listener that is no IP's has none
	return authn.Credentials{Authorization: r.Header.Get("Authorization"), TLS: r.TLS, Remote: at.Addr()}
}

// challenge says with a refusal what would be accepted. A page's script is not sent Basic: its browser would ask its user
// for a password, and then send that with every request.
func (a *API) challenge(c *call, err error) error {
	e := problem.From(err)
	if e.Code.Info().Status != http.StatusUnauthorized {
		return err
	}
	scripted := c.r.Header.Get("Sec-Fetch-Mode") != "" || c.r.Header.Get("Origin") != ""
	var accepted []string
	for _, value := range a.options.Gate.Challenges() {
		if !scripted || !isBasic(value) {
			accepted = append(accepted, value)
		}
	}
	if len(accepted) > 0 {
		set(c.w.Header(), "Www-Authenticate", strings.Join(accepted, ", "))
	}
	return err
}

func isBasic(challenge string) bool { return len(challenge) >= 5 && challenge[:5] == "Basic" }

// mayRead tells whether the caller may see what is at the key.
func (c *call) mayRead(key []byte) bool { return c.caller == nil || c.caller.May(authz.Read, key, nil) }

// needsAdmin refuses a caller who may not look after the cluster.
func (c *call) needsAdmin() error {
	if c.caller == nil {
		return nil
	}
	return c.caller.Has(authz.Admin)
}
