package handlers

import "github.com/etcdrest/etcdrest/internal/problem"

// puts lists the puts that ask for a lease of their own.
func (t *transaction) puts(list []*txnPut) []*txnPut {
	t.all(func(o *operation) {
		if o.put != nil && o.put.body.ttl > 0 {
			list = append(list, o.put)
		}
	})
	return list
}

// grantAll grants a lease to every put with a ttl. When one cannot be had, those granted so far are revoked.
func (c *call) grantAll(puts []*txnPut) error {
	for i, p := range puts {
		lease, err := c.grant(&p.body)
		if err != nil {
			c.revoke(puts[:i])
			return err
		}
		p.granted, p.request.Lease = lease, lease.ID
	}
	return nil
}

// revoke ends the leases of puts that certainly did not happen.
func (c *call) revoke(puts []*txnPut) {
	for _, p := range puts {
		c.revokeLease(p.granted)
	}
}

// dropLeases is dropLease for a transaction: after a definite not_applied the leases are revoked, else named.
func (c *call) dropLeases(puts []*txnPut, err error) error {
	if len(puts) == 0 {
		return err
	}
	e := problem.From(err)
	if outcome(e) == problem.NotApplied {
		c.revoke(puts)
		return err
	}
	ids := make([]string, 0, len(puts))
	for _, p := range puts {
		ids = append(ids, formatID(p.granted.ID))
	}
	return e.With("leases", ids).WithHint("if the transaction happened, its keys with a ttl go with these leases")
}
