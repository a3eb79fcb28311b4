package handlers

import (
	"strconv"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/kvjson"
)

// authMethods answers GET /v1/auth/methods: how callers can be known here. It needs no login.
func (a *API) authMethods(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	c.openObject()
	c.openArray("methods")
	kinds := []authn.Kind{authn.KindNone}
	if a.options.Gate != nil {
		kinds = a.options.Gate.Kinds()
	}
	for _, kind := range kinds {
		c.openObject()
		c.textMember("kind", string(kind))
		c.closeInner('}')
	}
	c.closeArray()
	keeps := a.keepsState(c)
	c.boolMember("idempotency", keeps)
	c.boolMember("tickets", keeps && a.options.Gate != nil)
	c.closeObject()
	return nil
}

// keepsState tells whether the gateway can keep what it needs to remember in etcd: an epoch without its random part is one
// that could not be written.
func (a *API) keepsState(c *call) bool {
	epoch, err := a.epoch.Current(c.ctx())
	return err == nil && strings.Contains(epoch, ".")
}

// whoami answers GET /v1/auth/whoami: who the caller is to the gateway, and what he may do.
func (a *API) whoami(c *call) error {
	c.query.Encoding()
	if err := c.query.Done(); err != nil {
		return err
	}
	c.openObject()
	if c.caller == nil {
		c.textMember("kind", string(authn.KindNone))
		c.boolMember("namespaced", false)
		c.grantsMember([]authz.Grant{{Verbs: authz.All}})
		c.closeObject()
		return nil
	}
	p := c.caller.Principal
	c.textMember("kind", string(p.Kind))
	if p.Name != "" {
		c.textMember("name", p.Name)
	}
	if p.Issuer != "" {
		c.textMember("issuer", p.Issuer)
	}
	if !p.Expires.IsZero() {
		c.textMember("expires_at", p.Expires.UTC().Format(time.RFC3339))
	}
	c.boolMember("namespaced", len(c.caller.Namespace) > 0)
	c.grantsMember(c.caller.Grants())
	c.limitsMember(c.caller.Limits)
	c.leftMember(c.caller.Usage().Left())
	c.closeObject()
	return nil
}

// grantsMember appends what is granted; the prefixes are those that the caller names his keys by.
func (c *call) grantsMember(grants []authz.Grant) {
	c.openArray("grants")
	for _, g := range grants {
		c.openObject()
		c.textsMember("verbs", g.Verbs.Words())
		c.body = append(kvjson.AppendName(c.body, "prefix", g.Prefix, c.query.Encoding()), ',')
		c.closeInner('}')
	}
	c.closeArray()
}

// limitsMember appends the limits that there are.
func (c *call) limitsMember(l authz.Limits) {
	c.name("limits")
	c.openObject()
	if l.RequestsPerSecond > 0 {
		c.name("requests_per_second")
		c.body = append(strconv.AppendFloat(c.body, l.RequestsPerSecond, 'g', -1, 64), ',')
	}
	for _, one := range []struct {
		name string
		n    int64
	}{
		{"burst", int64(l.Burst)},
		{"concurrent", int64(l.Concurrent)},
		{"streams", int64(l.Streams)},
		{"watches", int64(l.Watches)},
		{"keys_per_request", l.KeysPerRequest},
		{"bytes_in_flight", l.BytesInFlight},
	} {
		if one.n > 0 {
			c.intMember(one.name, one.n)
		}
	}
	c.closeInner('}')
}

// leftMember appends what is left of the limits that there are, this call taken off; nothing where there is no limit.
func (c *call) leftMember(l authz.Left) {
	if l == (authz.Left{Requests: -1, Concurrent: -1, Streams: -1, Watches: -1, Bytes: -1}) {
		return
	}
	c.name("left")
	c.openObject()
	for _, one := range []struct {
		name string
		n    int64
	}{
		{"requests", l.Requests},
		{"concurrent", l.Concurrent},
		{"streams", l.Streams},
		{"watches", l.Watches},
		{"bytes_in_flight", l.Bytes},
	} {
		if one.n >= 0 {
			c.intMember(one.name, one.n)
		}
	}
	c.closeInner('}')
}
