package attack_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// principal asks the gateway with a credential. Every answer is searched for what must stay hidden from it, unless it was part
// of what was asked.
type principal struct {
	site   *site
	token  string
	hidden []string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// do sends a request with the principal's token and more headers ("Name: value").
func (p *principal) do(t testing.TB, method, target, body string, headers ...string) answer {
	t.Helper()
	a := ask(t, p.site.gateway.API, method, target, body, append(headers, "Authorization: Bearer "+p.token)...)
	said, _ := url.PathUnescape(target)
	p.search(t, method+" "+target+" "+body, said+body, a)
	return a
}

// search looks for what must stay hidden. The caller's own words may come back to it.
func (p *principal) search(t testing.TB, what, said string, a answer) {
	t.Helper()
	text := a.body + " " + toJSON(a.header)
	for _, secret := range p.hidden {
		if strings.Contains(text, secret) && !strings.Contains(said, secret) {
			t.Errorf("%s: the answer shows %q: %d %s %v", what, secret, a.status, a.body, a.header)
		}
	}
}

//nolint:gochecknoglobals // one client for all tests: it keeps enough connections
var client = &http.Client{
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 128, DisableCompression: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own, of this machine
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask sends one request, whose target is taken as it is written.
func ask(t testing.TB, api, method, target, body string, headers ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	a, err := send(ctx, api, method, target, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

func send(ctx context.Context, api, method, target, body string, headers ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, api+target, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	began := time.Now()
	got, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	content, err := io.ReadAll(got.Body)
	return answer{status: got.StatusCode, header: got.Header, body: string(content), took: time.Since(began)}, err
}

// want demands one of the statuses.
func (a answer) want(t testing.TB, what string, statuses ...int) answer {
	t.Helper()
	if !slices.Contains(statuses, a.status) {
		t.Errorf("%s: got %d %s; want %v", what, a.status, a.body, statuses)
	}
	return a
}

// json reads the body.
func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return doc
}

// code is that of a problem; "" for anything else.
func (a answer) code() string {
	var doc struct{ Code string }
	_ = json.Unmarshal([]byte(a.body), &doc)
	return doc.Code
}
