package query

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Range reads prefix, or from and to, or nothing: everything. Faults of the parameters are kept for Done, as everywhere; the
// error is that the range is reserved as a whole.
func (q *Query) Range() (keyrange.Range, error) {
	prefix, byPrefix := q.Key("prefix")
	from, hasFrom := q.Key("from")
	to, hasTo := q.Key("to")
	if byPrefix && (hasFrom || hasTo) {
		q.Fault("prefix", problem.InvalidParameter, "give a prefix, or from and to, but not both")
		return keyrange.Range{}, nil
	}
	if byPrefix {
		r, err := keyrange.OfPrefix(prefix, q.State)
		return r, atParameter("prefix", err)
	}
	if len(to) > 0 && bytes.Compare(from, to) >= 0 {
		q.Fault("to", problem.InvalidParameter, "from must come before to, which is not in the range itself")
		return keyrange.Range{}, nil
	}
	r, err := keyrange.Between(from, to, q.State)
	r.Named = hasFrom || hasTo
	return r, atParameter("to", err)
}

// atParameter names the parameter at fault, if there is a fault.
func atParameter(name string, err error) error {
	if err == nil {
		return nil
	}
	return problem.From(err).AtParameter(name)
}
