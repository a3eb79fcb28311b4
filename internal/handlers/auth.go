package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Accounts is what the handlers ask of etcd's authentication, users and roles.
type Accounts interface {
	AuthStatus(ctx context.Context) (etcdclient.AuthStatus, error)
	AuthEnable(ctx context.Context) (wire.Header, error)
	AuthDisable(ctx context.Context) (wire.Header, error)
	Login(ctx context.Context, name, password string) (token string, err error)

	Users(ctx context.Context) ([]string, wire.Header, error)
	UserRoles(ctx context.Context, name string) ([]string, wire.Header, error)
	UserAdd(ctx context.Context, name, password string) (wire.Header, error)
	UserDelete(ctx context.Context, name string) (wire.Header, error)
	UserPassword(ctx context.Context, name, password string) (wire.Header, error)
	UserGrant(ctx context.Context, name, role string) (wire.Header, error)
	UserRevoke(ctx context.Context, name, role string) (wire.Header, error)

	Roles(ctx context.Context) ([]string, wire.Header, error)
	RolePermissions(ctx context.Context, name string) ([]etcdclient.Permission, wire.Header, error)
	RoleAdd(ctx context.Context, name string) (wire.Header, error)
	RoleDelete(ctx context.Context, name string) (wire.Header, error)
	RoleGrant(ctx context.Context, name string, p etcdclient.Permission) (wire.Header, error)
	RoleRevoke(ctx context.Context, name string, key, end []byte) (wire.Header, error)
}

// getAuth answers GET /v1/auth.
func (a *API) getAuth(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	s, err := c.backend.AuthStatus(c.ctx())
	// Before etcd 3.7 the question is refused to those who show no token, which answers it.
	if e, ok := errors.AsType[*etcdclient.Error](err); ok && e.Name == "UserEmpty" {
		s.Enabled, err = true, nil
	}
	if err != nil {
		return err
	}
	c.revision = s.Header.Revision
	c.openObject()
	c.boolMember("enabled", s.Enabled)
	if s.Revision > 0 {
		c.countMember("auth_revision", s.Revision)
	}
	c.closeObject()
	return nil
}

// enableAuth answers POST /v1/auth/enable.
func (a *API) enableAuth(c *call) error { return c.switchAuth(true, c.backend.AuthEnable) }

// disableAuth answers POST /v1/auth/disable.
func (a *API) disableAuth(c *call) error { return c.switchAuth(false, c.backend.AuthDisable) }

func (c *call) switchAuth(on bool, change func(context.Context) (wire.Header, error)) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	if err := c.decodeOptional(); err != nil {
		return err
	}
	header, err := change(c.ctx())
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.boolMember("enabled", on)
	c.closeObject()
	return nil
}

// login answers POST /v1/auth/login: a token of etcd for a user of etcd. Nothing in the store is changed.
func (a *API) login(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	if g := a.options.Gate; g != nil && !slices.Contains(g.Kinds(), authn.KindEtcd) {
		return problem.New(problem.PermissionDenied, "this gateway does not take etcd's users").WithOutcome(problem.NotApplied).
			WithHint("GET /v1/auth/methods tells what it takes")
	}
	var name, password string
	if err := c.decode(kvjson.Text("name", &name).Required(), kvjson.Text("password", &password).Required()); err != nil {
		return err
	}
	token, err := c.backend.Login(c.ctx(), name, password)
	if err != nil {
		return c.notApplied(err)
	}
	c.openObject()
	c.textMember("token", token)
	c.closeObject()
	return nil
}

// changed makes a change of users or roles and answers 204.
func (c *call) changed(header wire.Header, err error) error {
	if err != nil {
		return err
	}
	c.revision, c.status = header.Revision, http.StatusNoContent
	return nil
}

// appendNames appends the answer of a list of users or roles.
func (c *call) appendNames(plural string, names []string) {
	c.openObject()
	c.openArray(plural)
	for _, name := range names {
		c.openObject()
		c.textMember("name", name)
		c.closeInner('}')
	}
	c.closeArray()
	c.closeObject()
}

// checkName refuses the empty name, which etcd takes for a caller without one.
func checkName(name string) error {
	if name == "" {
		return problem.New(problem.InvalidArgument, "the name may not be empty").AtPointer("/name")
	}
	return nil
}
