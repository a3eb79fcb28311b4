package handlers

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
)

// listRoles answers GET /v1/roles.
func (a *API) listRoles(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	names, header, err := c.backend.Roles(c.ctx())
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.appendNames("roles", names)
	return nil
}

// addRole answers POST /v1/roles.
func (a *API) addRole(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var name string
	if err := c.decode(kvjson.Text("name", &name).Required()); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	return c.onceOnly(func() error {
		header, err := c.backend.RoleAdd(c.ctx(), name)
		if err != nil {
			return err
		}
		c.created("/v1/roles/", name, header)
		return nil
	})
}

// getRole answers GET /v1/roles/{role}.
func (a *API) getRole(c *call) error {
	name, err := c.nameSegment("role")
	if err != nil {
		return err
	}
	encoding := c.query.Encoding()
	if err := c.query.Done(); err != nil {
		return err
	}
	permissions, header, err := c.backend.RolePermissions(c.ctx(), name)
	if err != nil {
		return err
	}
	c.revision = header.Revision
	c.openObject()
	c.textMember("name", name)
	c.openArray("permissions")
	for _, p := range permissions {
		c.appendPermission(p, encoding)
	}
	c.closeArray()
	c.closeObject()
	return nil
}

// deleteRole answers DELETE /v1/roles/{role}.
func (a *API) deleteRole(c *call) error {
	name, err := c.named("role")
	if err != nil {
		return err
	}
	return c.changed(c.backend.RoleDelete(c.ctx(), name))
}
