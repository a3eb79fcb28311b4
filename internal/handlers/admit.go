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
	shown, err := c.credentials()
	ticket, ticketed := "", false
	if err == nil {
		ticket, ticketed, err = c.ticket()
	}
	if err == nil && ticketed && shown.Authorization != "" {
		err = shownTwice()
	}
	if err != nil {
		return a.turnAway(c, err, false)
	}
	var caller *authz.Caller
	if ticketed {
		caller, err = a.redeem(c, ticket)
	} else {
		caller, err = a.options.Gate.Admit(c.ctx(), shown)
	}
	if err != nil {
		return a.turnAway(c, err, !ticketed && shown.Authorization == "")
	}
	c.become(caller)
	if err := c.count(); err != nil {
		return a.turnAway(c, err, false)
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

// credentials are what the request shows, in one way.
func (c *call) credentials() (authn.Credentials, error) {
	at, _ := netip.ParseAddrPort(c.r.RemoteAddr) // a listener that is no IP's has none
	shown := authn.Credentials{TLS: c.r.TLS, Remote: at.Addr()}
	all := c.r.Header["Authorization"]
	if c.route.sockets && isSocket(c.r) {
		offered, err := offeredTokens(c.r.Header)
		if err != nil {
			return shown, err
		}
		all = append(offered, all...)
	}
	if len(all) > 1 {
		return shown, shownTwice()
	}
	if len(all) == 1 {
		shown.Authorization = all[0]
	} else if c.route.compat && isUpgrade(c.r) {
		shown.Authorization = authn.Offered(c.r.Header)
	}
	return shown, nil
}

func shownTwice() *problem.Error {
	return problem.New(problem.Unauthenticated, "the request shows credentials more than once").AtParameter("Authorization")
}

// turnAway answers a caller who cannot be let in. Those whose scripts would see nothing of a status are told by the stream.
func (a *API) turnAway(c *call, err error, anonymous bool) error {
	e := problem.From(err)
	passes := c.route.sockets && isEventSource(c.r) && e.Code.Info().Retryable // any status would be final for an EventSource
	if !passes && (!c.route.sockets || !isSocket(c.r)) {
		return a.challenge(c, err)
	}
	refusal := &authz.Refusal{Err: err, Anonymous: anonymous && e.Code == problem.Unauthenticated}
	c.r = c.r.WithContext(authz.WithRefusal(c.r.Context(), refusal))
	c.received = c.r
	return nil
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
