package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// compact answers POST /v1/maintenance/compact: the history up to a revision is forgotten, for everybody.
func (a *API) compact(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var revision int64
	var physical bool
	if err := c.decode(kvjson.Int("revision", &revision).Required(), kvjson.Bool("physical", &physical)); err != nil {
		return err
	}
	if revision < 1 {
		return problem.New(problem.InvalidArgument, "revision must be 1 or greater").AtPointer("/revision")
	}
	header, err := c.store.Compact(c.ctx(), revision, physical)
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.intMember("revision", header.Revision)
	c.intMember("compact_revision", revision)
	c.closeObject()
	return nil
}
