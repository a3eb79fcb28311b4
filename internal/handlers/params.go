package handlers

import (
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/query"
)

// params are the parameters of a call's query, with those that more than one resource takes.
type params struct{ query.Query }

// keyRange reads prefix, or from and to, or nothing: everything. Reads take state too, which lets the reserved keys in.
func (c *call) keyRange() (keyrange.Range, error) {
	if !c.isWrite() {
		c.query.State = c.query.Boolean("state")
	}
	return c.query.Range()
}
