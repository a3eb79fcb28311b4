package handlers

import (
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
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

// cursorText reads the cursor of a search or a history; it may not be empty.
func (q *params) cursorText() string {
	text, given := q.Text("cursor")
	if given && text == "" {
		q.Fault("cursor", problem.InvalidCursor, "the cursor is empty; leave it out for the first page")
	}
	return text
}

// lease reads the lease that the call is about.
func (q *params) lease() (id int64, given bool) {
	text, given := q.Text("lease")
	if !given {
		return 0, false
	}
	id, err := kvjson.ParseID(text)
	if err != nil || id == 0 {
		q.Fault("lease", problem.InvalidParameter, "lease must be 1 to 16 hex digits, not all 0")
	}
	return id, true
}

// newScan prepares a walk over [key, end) at a revision that the store has reached.
func (c *call) newScan(key, end []byte, revision int64, how consistency) *scan.Scan {
	r := wire.RangeRequest{Key: key, End: end, Revision: revision, Serializable: how.serializable}
	return scan.New(c.store, r, c.api.options.RequestTimeout)
}
