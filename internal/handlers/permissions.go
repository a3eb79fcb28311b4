package handlers

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// A permission is for one key, for the keys with a prefix, or for those from one to another. It is etcd's own, so that here,
// unlike elsewhere, the gateway's keys are in a range that reaches them: without them a user may not use idempotency keys.

// grantPermission answers PUT /v1/roles/{role}/permissions.
func (a *API) grantPermission(c *call) error {
	role, err := c.named("role")
	if err != nil {
		return err
	}
	var kind string
	var r permissionRange
	if err := c.decode(append(r.fields(), kvjson.Text("type", &kind).OneOf("read", "write", "readwrite").Required())...); err != nil {
		return err
	}
	p := etcdclient.Permission{Read: kind != "write", Write: kind != "read"}
	if p.Key, p.End, err = r.bounds(); err != nil {
		return problem.From(err).AtPointer("")
	}
	return c.changed(c.backend.RoleGrant(c.ctx(), role, p))
}

// revokePermission answers DELETE /v1/roles/{role}/permissions; the range is in the query.
func (a *API) revokePermission(c *call) error {
	role, err := c.nameSegment("role")
	if err != nil {
		return err
	}
	var r permissionRange
	r.key, r.hasKey = c.query.Key("key")
	r.prefix, r.hasPrefix = c.query.Key("prefix")
	r.from, r.hasFrom = c.query.Key("from")
	r.to, r.hasTo = c.query.Key("to")
	if err := c.query.Done(); err != nil {
		return err
	}
	key, end, err := r.bounds()
	if err != nil {
		return err
	}
	return c.changed(c.backend.RoleRevoke(c.ctx(), role, key, end))
}

// permissionRange is the keys of a permission, as they were named.
type permissionRange struct {
	key, prefix, from, to             []byte
	hasKey, hasPrefix, hasFrom, hasTo bool
}

func (r *permissionRange) fields() []kvjson.Field {
	return []kvjson.Field{
		kvjson.Bytes("key", &r.key).Given(&r.hasKey), kvjson.Bytes("prefix", &r.prefix).Given(&r.hasPrefix),
		kvjson.Bytes("from", &r.from).Given(&r.hasFrom), kvjson.Bytes("to", &r.to).Given(&r.hasTo),
	}
}

// bounds gives the range as etcd takes it.
func (r *permissionRange) bounds() (key, end []byte, err error) {
	between := r.hasFrom || r.hasTo
	if count(r.hasKey, r.hasPrefix, between) != 1 {
		return nil, nil, problem.New(problem.InvalidArgument, "give exactly one of key, prefix, and from with or without to")
	}
	if r.hasKey {
		if len(r.key) == 0 {
			return nil, nil, problem.New(problem.InvalidArgument, "the key is empty; every key is the empty prefix")
		}
		return r.key, nil, nil
	}
	var keys keyrange.Range
	if r.hasPrefix {
		keys, err = keyrange.OfPrefix(r.prefix, true)
	} else {
		keys, err = keyrange.Between(r.from, r.to, true)
	}
	return keys.Start, keys.End, err
}

// appendPermission appends a permission, its range named by a prefix where it is that of one.
func (c *call) appendPermission(p etcdclient.Permission, e kvjson.Encoding) {
	kind := "readwrite"
	switch {
	case !p.Write:
		kind = "read"
	case !p.Read:
		kind = "write"
	}
	c.openObject()
	c.textMember("type", kind)
	open := string(p.End) == keyrange.OpenEnd
	switch {
	case len(p.End) == 0:
		c.nameMember("key", p.Key, e)
	case open && string(p.Key) == keyrange.OpenEnd:
		c.nameMember("prefix", nil, e)
	case !open && bytes.Equal(p.End, keyrange.PrefixEnd(p.Key)):
		c.nameMember("prefix", p.Key, e)
	default:
		c.nameMember("from", p.Key, e)
		if !open {
			c.nameMember("to", p.End, e)
		}
	}
	c.closeInner('}')
}

func (c *call) nameMember(name string, b []byte, e kvjson.Encoding) {
	c.body = append(kvjson.AppendName(c.body, name, b, e), ',')
}
