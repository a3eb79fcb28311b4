package handlers

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/etcdrest/etcdrest/api"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// index answers GET /: browsers are led to the API reference, everything else gets a short list of what there is.
func (a *API) index(c *call) error {
	h := c.w.Header()
	h.Add("Vary", "Accept")
	if prefersHTML(c.r.Header) {
		set(h, "Location", a.base()+"/docs")
		c.status = http.StatusSeeOther
		return nil
	}
	c.openObject()
	for _, link := range [][2]string{
		{"api", "/v1/kv"},
		{"docs", "/docs"},
		{"openapi", "/openapi.yaml"},
		{"asyncapi", "/asyncapi.yaml"},
		{"problems", "/problems"},
		{"version", "/version"},
		{"health", "/health"},
		{"livez", "/livez"},
		{"readyz", "/readyz"},
	} {
		c.textMember(link[0], a.base()+link[1])
	}
	c.closeObject()
	return nil
}

// prefersHTML tells browsers from everything else: only they name text/html.
func prefersHTML(h http.Header) bool { return strings.Contains(h.Get("Accept"), "text/html") }

func (a *API) openapiYAML(c *call) error {
	c.contentType = "application/yaml"
	c.body = append(c.body, api.YAML(a.options.PublicURL)...)
	return nil
}

func (a *API) openapiJSON(c *call) error {
	c.body = append(c.body, api.JSON(a.options.PublicURL)...)
	return nil
}

func (a *API) asyncapiYAML(c *call) error {
	c.contentType = "application/yaml"
	c.body = append(c.body, api.AsyncYAML(a.options.PublicURL)...)
	return nil
}

// docs serves the API reference's page and files.
func (a *API) docs(c *call) error {
	name := chi.URLParam(c.r, "*")
	file, contentType, ok := api.DocsFile(name)
	if !ok {
		return problem.New(problem.RouteNotFound, "the API reference has no such file")
	}
	h := c.w.Header()
	set(h, "Content-Security-Policy", api.DocsPolicy)
	set(h, "X-Content-Type-Options", "nosniff")
	set(h, "Cache-Control", "no-cache")
	c.contentType = contentType
	c.body = append(c.body, file...)
	return nil
}

// problems answers GET /problems: the table of codes.
func (a *API) problems(c *call) error {
	c.w.Header().Add("Vary", "Accept")
	return a.page(c, api.ProblemIndexHTML, api.ProblemIndexJSON)
}

// problemPage answers GET /problems/{code}, where the type of every problem leads.
func (a *API) problemPage(c *call) error {
	c.w.Header().Add("Vary", "Accept")
	info, ok := problem.Lookup(chi.URLParam(c.r, "code"))
	if !ok {
		return problem.New(problem.RouteNotFound, "there is no such problem code").WithHint("GET /problems lists all")
	}
	return a.page(c,
		func(base string) ([]byte, error) { return api.ProblemHTML(base, info) },
		func() ([]byte, error) { return api.ProblemJSON(info) })
}

// page answers with HTML for browsers and JSON for everything else.
func (a *API) page(c *call, html func(base string) ([]byte, error), json func() ([]byte, error)) error {
	var text []byte
	var err error
	if prefersHTML(c.r.Header) {
		set(c.w.Header(), "Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		c.contentType = "text/html; charset=utf-8"
		text, err = html(a.base())
	} else {
		text, err = json()
	}
	c.body = append(c.body, text...)
	return err
}
