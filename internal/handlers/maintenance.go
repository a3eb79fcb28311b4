package handlers

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
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

// Maintenance is what the handlers ask of the members' databases.
type Maintenance interface {
	Defragment(ctx context.Context, m etcdclient.Member) error
	HashKV(ctx context.Context, m etcdclient.Member, revision int64) (etcdclient.Hash, error)
	HashDatabase(ctx context.Context, m etcdclient.Member) (etcdclient.Hash, error)
	// Snapshot opens a snapshot of the member, or of any; it lasts as long as ctx.
	Snapshot(ctx context.Context, m *etcdclient.Member) (*etcdclient.Snapshot, error)
	Downgrade(ctx context.Context, action etcdclient.DowngradeAction, version string) (string, wire.Header, error)
}

// downgrade answers POST /v1/maintenance/downgrade: whether it can be done, begin it, or end it.
func (a *API) downgrade(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var word, version string
	var given bool
	err := c.decode(kvjson.Text("action", &word).OneOf("validate", "enable", "cancel").Required(), kvjson.Text("version", &version).Given(&given))
	if err != nil {
		return err
	}
	if cancel := word == "cancel"; cancel == given {
		detail := "name the version to downgrade to, such as 3.6"
		if cancel {
			detail = "what is cancelled is the downgrade under way: leave version out"
		}
		return problem.New(problem.InvalidArgument, "%s", detail).AtPointer("/version")
	}
	action := map[string]etcdclient.DowngradeAction{
		"validate": etcdclient.DowngradeValidate, "enable": etcdclient.DowngradeEnable, "cancel": etcdclient.DowngradeCancel,
	}[word]
	present, header, err := c.backend.Downgrade(c.ctx(), action, version)
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.textMember("version", present)
	c.closeObject()
	return nil
}
