package handlers

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// segment is the name that one segment of the path spells, for the route's {place}: percent-decoded once, whether or not
// the router decoded the path before. A slash in it is %2F.
func (c *call) segment(place string) (string, error) {
	at := slices.Index(strings.Split(c.route.pattern, "/"), "{"+place+"}")
	parts := strings.Split(c.r.URL.EscapedPath(), "/")
	if at < 0 || at >= len(parts) {
		return "", problem.New(problem.Internal, "the path has no such segment")
	}
	text, err := url.PathUnescape(parts[at])
	if err != nil {
		return "", problem.New(problem.InvalidParameter, "the path has a bad percent escape").AtParameter(place)
	}
	if text == "" {
		return "", problem.New(problem.RouteNotFound, "nothing is served at this path: a name is missing in it")
	}
	return text, nil
}

// nameSegment is a segment that names a user or a role of etcd, under the request's key encoding.
func (c *call) nameSegment(place string) (string, error) {
	text, err := c.segment(place)
	if err != nil {
		return "", err
	}
	name, err := c.query.DecodeKey(place, text)
	if err != nil {
		return "", err
	}
	if len(name) == 0 || !utf8.Valid(name) {
		return "", problem.New(problem.InvalidParameter, "%s must be text in UTF-8, and not empty", place).AtParameter(place)
	}
	return string(name), nil
}

// memberSegment is a segment that is the id of a member.
func (c *call) memberSegment() (uint64, error) {
	text, err := c.segment("id")
	if err != nil {
		return 0, err
	}
	return memberID("id", text)
}

// memberID reads an id of a member; parameter is where it was given.
func memberID(parameter, text string) (uint64, error) {
	id, err := kvjson.ParseID(text)
	if err != nil {
		return 0, problem.New(problem.InvalidParameter, "%s must be 1 to 16 hex digits", parameter).AtParameter(parameter)
	}
	return uint64(id), nil //nolint:gosec // the bits are the id
}

// memberParameter reads the parameter member, which names one of the members; nil when it is absent.
func (c *call) memberParameter() *uint64 {
	text, given := c.query.Text("member")
	if !given {
		return nil
	}
	id, err := memberID("member", text)
	if err != nil {
		c.query.Fault("member", problem.InvalidParameter, "%s", problem.From(err).Detail)
	}
	return &id
}

// decodeOptional reads a body that may be left out.
func (c *call) decodeOptional(fields ...kvjson.Field) error {
	if c.r.ContentLength == 0 {
		return nil
	}
	return c.decode(fields...)
}
