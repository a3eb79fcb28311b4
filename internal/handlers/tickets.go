package handlers

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/ticket"
)

// ticketParameter is the one parameter that the door reads; nobody behind it sees it.
const ticketParameter = "ticket"

// maxTicketPath bounds the path of a ticket, in bytes.
const maxTicketPath = 4096

// issueTicket answers POST /v1/auth/tickets: what stands for the caller in the URL of one GET.
func (a *API) issueTicket(c *call) error {
	if err := c.query.Done(); err != nil {
		return err
	}
	var text string
	if err := c.decode(kvjson.Text("path", &text).Required()); err != nil {
		return err
	}
	path, err := ticketPath(text)
	if err != nil {
		return err
	}
	if c.caller == nil {
		return problem.New(problem.NotSupported, "this gateway asks nobody who they are; no ticket is needed")
	}
	issued, expires, err := a.tickets.Issue(c.ctx(), c.caller.Principal, path, c.r.Header.Get("Origin"))
	if err != nil {
		return err
	}
	c.status = http.StatusCreated
	c.openObject()
	c.textMember("ticket", issued)
	c.textMember("expires_at", expires.UTC().Format(time.RFC3339))
	c.textMember("path", path)
	c.closeObject()
	return nil
}

// ticketPath reads the path that a ticket is for, and gives it as requests are compared with it.
func ticketPath(text string) (string, error) {
	u, err := url.ParseRequestURI(text)
	served := false
	for _, root := range []string{"/v1/", "/v3/", "/v3beta/", "/v3alpha/"} {
		served = served || strings.HasPrefix(text, root)
	}
	if err != nil || !served || strings.ContainsAny(text, "?#") || len(text) > maxTicketPath {
		return "", problem.New(problem.InvalidArgument, "path must be the path of a GET under /v1/ or /v3/, such as /v1/watch, without a query").AtPointer("/path")
	}
	return u.EscapedPath(), nil
}

// ticket gives the ticket in the URL, if the method can have one.
func (c *call) ticket() (text string, given bool, err error) {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return "", false, nil
	}
	for part := range strings.SplitSeq(c.r.URL.RawQuery, "&") {
		if value, ok := strings.CutPrefix(part, ticketParameter+"="); ok {
			if given {
				return "", false, shownTwice()
			}
			text, given = value, true
		}
	}
	return text, given, nil
}

// redeem takes the ticket, and takes it out of the request's URL.
func (a *API) redeem(c *call, text string) (*authz.Caller, error) {
	u := *c.r.URL
	var parts []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if !strings.HasPrefix(part, ticketParameter+"=") {
			parts = append(parts, part)
		}
	}
	u.RawQuery = strings.Join(parts, "&")
	use := ticket.Use{Path: u.EscapedPath(), Query: u.RawQuery, Origin: c.r.Header.Get("Origin")}
	r := *c.r
	r.URL, r.RequestURI = &u, ""
	c.r, c.received = &r, &r
	if c.route.sockets && isEventSource(c.r) {
		use.Resumes = c.r.Header.Get("Last-Event-Id") != ""
		return a.resume(c, text, use)
	}
	p, err := a.tickets.Redeem(c.ctx(), text, use)
	if err != nil {
		return nil, err
	}
	return a.options.Gate.Again(c.ctx(), p)
}

// resume takes the ticket for a stream that can come back with it.
func (a *API) resume(c *call, text string, use ticket.Use) (*authz.Caller, error) {
	hold, err := a.tickets.Stream(c.ctx(), text, use)
	if err != nil {
		return nil, err
	}
	c.ticketHold = hold
	caller, err := a.options.Gate.Again(c.ctx(), hold.Principal)
	if err != nil {
		c.letGo()
		return nil, err
	}
	c.r = c.r.WithContext(hold.Context())
	c.received = c.r
	return caller, nil
}

// letGo gives back the ticket of a stream.
func (c *call) letGo() {
	if c.ticketHold != nil {
		c.ticketHold.Release(c.ctx())
		c.ticketHold = nil
	}
}

// isEventSource tells whether the request asks for Server-Sent Events.
func isEventSource(r *http.Request) bool {
	if r.Method != http.MethodGet || lists(r.Header["Upgrade"], "websocket") {
		return false
	}
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if form, ok := strings.CutPrefix(part, "stream="); ok {
			return form == "sse"
		}
	}
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Accept"], ",")), "text/event-stream")
}
