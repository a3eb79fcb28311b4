package handlers

import (
	"context"
	"net/http"
	"net/url"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// listUsers answers GET /v1/users.
func (a *API) listUsers(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	names, header, err := c.backend.Users(c.ctx())
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.appendNames("users", names)
	return nil
}

// addUser answers POST /v1/users.
func (a *API) addUser(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var name, password string
	var has, without bool
	err := c.decode(kvjson.Text("name", &name).Required(), kvjson.Text("password", &password).Given(&has), kvjson.Bool("no_password", &without))
	if err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	if has == without {
		return problem.New(problem.InvalidArgument, "give either password, or no_password true").AtPointer("/password")
	}
	if has {
		if err := checkPassword(password); err != nil {
			return err
		}
	}
	return c.onceOnly(func() error {
		header, err := c.backend.UserAdd(c.ctx(), name, password)
		if err != nil {
			return err
		}
		c.created("/v1/users/", name, header)
		return nil
	})
}

// created answers 201 with the name of the new thing and where it is.
func (c *call) created(folder, name string, header wire.Header) {
	set(c.w.Header(), "Location", c.api.base()+folder+url.PathEscape(name))
	c.status, c.revision = http.StatusCreated, header.Revision
	c.openObject()
	c.textMember("name", name)
	c.closeObject()
}

// checkPassword refuses what etcd would take wrongly or refuse without a reason: an empty password leaves the user without
// one, and bcrypt hashes no more than 72 bytes.
func checkPassword(password string) error {
	switch {
	case password == "":
		return problem.New(problem.InvalidArgument, "the password may not be empty").AtPointer("/password")
	case len(password) > etcdclient.MaxPasswordBytes:
		return problem.New(problem.InvalidArgument, "the password may have at most %d bytes", etcdclient.MaxPasswordBytes).AtPointer("/password")
	}
	return nil
}

// getUser answers GET /v1/users/{name}.
func (a *API) getUser(c *call) error {
	name, err := c.named("name")
	if err != nil {
		return err
	}
	roles, header, err := c.backend.UserRoles(c.ctx(), name)
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.textMember("name", name)
	c.textsMember("roles", roles)
	c.closeObject()
	return nil
}

// named reads the one name in the path of a call without parameters.
func (c *call) named(place string) (string, error) {
	name, err := c.nameSegment(place)
	if err != nil {
		return "", err
	}
	return name, c.query.Done()
}

// deleteUser answers DELETE /v1/users/{name}.
func (a *API) deleteUser(c *call) error {
	name, err := c.named("name")
	if err != nil {
		return err
	}
	return c.changed(c.backend.UserDelete(c.ctx(), name))
}

// setPassword answers PUT /v1/users/{name}/password.
func (a *API) setPassword(c *call) error {
	name, err := c.named("name")
	if err != nil {
		return err
	}
	var password string
	if err := c.decode(kvjson.Text("password", &password).Required()); err != nil {
		return err
	}
	if err := checkPassword(password); err != nil {
		return err
	}
	return c.changed(c.backend.UserPassword(c.ctx(), name, password))
}

// grantRole answers PUT /v1/users/{name}/roles/{role}.
func (a *API) grantRole(c *call) error { return c.userRole(c.backend.UserGrant) }

// revokeRole answers DELETE /v1/users/{name}/roles/{role}.
func (a *API) revokeRole(c *call) error { return c.userRole(c.backend.UserRevoke) }

func (c *call) userRole(change func(ctx context.Context, name, role string) (wire.Header, error)) error {
	name, err := c.nameSegment("name")
	if err != nil {
		return err
	}
	role, err := c.named("role")
	if err != nil {
		return err
	}
	if err := c.decodeOptional(); err != nil {
		return err
	}
	return c.changed(change(c.ctx(), name, role))
}
