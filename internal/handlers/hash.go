package handlers

import (
	"context"
	"sync"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// memberHash is what a member hashed, or why it did not.
type memberHash struct {
	etcdclient.Member

	hash etcdclient.Hash
	err  error
}

// hash answers GET /v1/maintenance/hash: every member, or one, hashes its keys up to the same revision, so that members
// that hold different data show. of=database hashes the file instead, which differs between members that are well.
func (a *API) hash(c *call) error {
	revision := c.query.Integer("revision", 0, 1, maxInt64)
	database := c.query.Choice("of", "keys", "keys", "database") == "database"
	member := c.memberParameter()
	if database {
		c.query.Refuse("revision", "the database is hashed as it is; leave revision out")
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	hashes, err := c.toHash(c.ctx(), member)
	if err != nil {
		return err
	}
	if c.revision, err = c.revisionNow(c.ctx()); err != nil {
		return err
	}
	if revision == 0 {
		revision = c.revision
	}
	c.hashAll(c.ctx(), hashes, revision, database)
	if err := noHash(hashes); err != nil {
		return err
	}
	c.appendHashes(hashes, revision, database)
	return nil
}

// toHash are the members that are asked: all, or the one.
func (c *call) toHash(ctx context.Context, one *uint64) ([]memberHash, error) {
	members, _, err := c.backend.Members(ctx)
	if err != nil {
		return nil, err
	}
	var out []memberHash
	for _, m := range members {
		if one == nil || m.ID == *one {
			out = append(out, memberHash{Member: m})
		}
	}
	if len(out) == 0 {
		return nil, memberNotFound().AtParameter("member")
	}
	return out, nil
}

// revisionNow asks a quorum for the store revision.
func (c *call) revisionNow(ctx context.Context) (int64, error) {
	answer, err := c.api.store.Range(ctx, &wire.RangeRequest{Key: []byte("health"), CountOnly: true})
	if err != nil {
		return 0, err
	}
	defer answer.Free()
	return answer.Header.Revision, nil
}

func (c *call) hashAll(ctx context.Context, hashes []memberHash, revision int64, database bool) {
	var wg sync.WaitGroup
	for i := range hashes {
		h := &hashes[i]
		wg.Go(func() {
			if database {
				h.hash, h.err = c.backend.HashDatabase(ctx, h.Member)
			} else {
				h.hash, h.err = c.backend.HashKV(ctx, h.Member, revision)
			}
		})
	}
	wg.Wait()
}

// noHash is why no member gave a hash: a compacted revision, say. It is nil when one did.
func noHash(hashes []memberHash) (err error) {
	for i := range hashes {
		if hashes[i].err == nil {
			return nil
		}
		if e := problem.From(hashes[i].err); err == nil || e.Code == problem.Compacted || e.Code == problem.FutureRevision {
			err = hashes[i].err
		}
	}
	return err
}

func (c *call) appendHashes(hashes []memberHash, revision int64, database bool) {
	c.openObject()
	if !database {
		c.intMember("revision", revision)
		c.boolMember("mismatch", mismatch(hashes))
	}
	c.openArray("hashes")
	for i := range hashes {
		h := &hashes[i]
		c.openObject()
		c.idMember("member", h.ID)
		c.textMember("name", h.Name)
		switch {
		case h.err != nil:
			c.textMember("reason", problem.From(h.err).Detail)
		case database:
			c.intMember("hash", int64(h.hash.Hash))
		default:
			c.intMember("hash", int64(h.hash.Hash))
			c.intMember("compact_revision", max(h.hash.CompactRevision, 0))
		}
		c.closeInner('}')
	}
	c.closeArray()
	c.closeObject()
}

// mismatch tells whether two members that hashed the same history got different hashes.
func mismatch(hashes []memberHash) bool {
	seen := make(map[int64]uint32)
	for i := range hashes {
		h := &hashes[i]
		if h.err != nil {
			continue
		}
		if other, ok := seen[h.hash.CompactRevision]; ok && other != h.hash.Hash {
			return true
		}
		seen[h.hash.CompactRevision] = h.hash.Hash
	}
	return false
}
