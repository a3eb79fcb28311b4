package handlers

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// maxHeaderBytes bounds the request line and the headers together. It is below the bound of the server itself, whose
// refusal is plain text.
const maxHeaderBytes = 96 << 10

// guard refuses what must not reach a handler: huge headers, a foreign Host (DNS rebinding) and another site's page. Vary is
// there always, so that caches keep the answers to pages of different origins apart.
func (a *API) guard(c *call) error {
	c.w.Header()["Vary"] = []string{"Origin"}
	if headerBytes(c.r) > maxHeaderBytes {
		return problem.New(problem.HeaderTooLarge, "the request line and the headers may have at most %d bytes together", maxHeaderBytes).
			With("limit", maxHeaderBytes)
	}
	if !c.route.open && !a.hosts.allows(c.r.Host) {
		return problem.New(problem.MisdirectedHost, "this gateway does not answer to that Host").
			WithHint("list the name with --allowed-hosts, or set --public-url").AtParameter("Host")
	}
	return a.origins.guard(c)
}

func headerBytes(r *http.Request) int {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// hostPolicy decides which Host headers are ours: localhost, IP literals, the public URL's host and the listed names.
type hostPolicy struct{ names map[string]bool }

func newHostPolicy(allowed []string, public *url.URL) (hostPolicy, error) {
	p := hostPolicy{names: map[string]bool{"localhost": true}}
	if public != nil {
		p.names[strings.ToLower(public.Hostname())] = true
	}
	var faults []error
	for _, name := range allowed {
		if name == "" || strings.ContainsAny(name, "/*@ ") || (strings.Contains(name, ":") && net.ParseIP(name) == nil) {
			faults = append(faults, fmt.Errorf("allowed host %q: use a plain name without scheme, port or wildcard", name))
			continue
		}
		p.names[strings.ToLower(name)] = true
	}
	return p, errors.Join(faults...)
}

// allows judges a Host header without its port.
func (p hostPolicy) allows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	return net.ParseIP(name) != nil || p.names[strings.TrimSuffix(strings.ToLower(name), ".")]
}

// originPolicy decides which pages may call: those of our own origin, and those of listed origins, which get CORS.
type originPolicy struct{ listed map[string]bool }

func newOriginPolicy(allowed []string, public *url.URL) (originPolicy, error) {
	p := originPolicy{listed: make(map[string]bool)}
	if public != nil {
		p.listed[strings.ToLower(public.Scheme+"://"+public.Host)] = true
	}
	var faults []error
	for _, origin := range allowed {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			faults = append(faults, fmt.Errorf("allowed origin %q: use scheme://host or scheme://host:port, exactly as browsers send it", origin))
			continue
		}
		p.listed[strings.ToLower(origin)] = true
	}
	return p, errors.Join(faults...)
}

// guard refuses requests that a browser sends for another site's page, reads too, unless its origin is listed. Listed
// origins get CORS headers, on errors as well.
func (p originPolicy) guard(c *call) error {
	origin := c.r.Header.Get("Origin")
	if len(c.r.Header["Origin"]) > 1 { // no browser sends two, and nobody could say which one counts
		origin = "null"
	}
	if origin != "" && p.listed[strings.ToLower(origin)] {
		p.cors(c, origin)
		return nil
	}
	if c.route.open && c.route.method != http.MethodOptions {
		return nil
	}
	switch site := c.r.Header.Get("Sec-Fetch-Site"); site {
	case "same-origin", "none":
		return nil
	case "":
		if origin == "" || sameOrigin(c.r, origin) {
			return nil
		}
	}
	return problem.New(problem.CrossSite, "a page of another origin may not call this gateway").
		WithHint("list the page's origin with --allowed-origins").AtParameter("Origin")
}

// sameOrigin compares the Origin's host with the Host that the request was sent to. An Origin is a scheme and a host, and no more.
func sameOrigin(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) && strings.EqualFold(origin, u.Scheme+"://"+u.Host)
}

// exposed are the answer headers that a listed page's script may read.
const exposed = "ETag, Etcd-Revision, Etcd-Key, Etcd-Create-Revision, Etcd-Mod-Revision, Etcd-Version, Etcd-Lease, " +
	"Idempotency-Replayed, Location, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, X-Request-Id"

func (p originPolicy) cors(c *call, origin string) {
	h := c.w.Header()
	set(h, "Access-Control-Allow-Origin", origin)
	set(h, "Access-Control-Expose-Headers", exposed)
	if c.r.Method == http.MethodOptions {
		set(h, "Access-Control-Allow-Methods", c.api.allowed[c.route.pattern])
		set(h, "Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-Id")
		set(h, "Access-Control-Max-Age", "600")
	}
}

// parsePublicURL reads the URL under which callers reach the gateway.
func parsePublicURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("public URL %q: use http(s)://host[:port][/path], without query", text)
	}
	if strings.HasSuffix(u.Path, "/") {
		return nil, fmt.Errorf("public URL %q: leave out the slash at the end", text)
	}
	return u, nil
}
