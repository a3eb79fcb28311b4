package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// examineWay asks a gateway for keys that proxies like to rewrite. It writes nothing: a PUT with dry_run names the key
// that it would have written.
func examineWay(ctx context.Context, c Config, all *report) {
	base := strings.TrimSuffix(c.DoctorURL, "/")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()

	answer, err := fetch(ctx, transport, base+"/version")
	switch {
	case err != nil:
		all.add("reach", base, statusFail, "does not answer: %v", err)
		return
	case answer.code != http.StatusOK:
		all.add("reach", base, statusFail, "answers %s to GET /version; is it a gateway?", answer.status)
		return
	}
	all.add("reach", base, statusOK, "answers")
	if !answer.ends.IsZero() {
		all.expiry("certificate", base, answer.ends, time.Now())
	}
	for _, k := range awkwardKeys("etcdrest-doctor-" + rand.Text()) {
		examineKey(ctx, transport, base, k, all)
	}
}

// awkwardKey is a key as it is and as it is written in a path.
type awkwardKey struct{ key, path, shown string }

func awkwardKeys(unique string) []awkwardKey {
	return []awkwardKey{
		{unique + "/a//b", unique + "/a//b", "a//b"},
		{"/a" + unique, "%2Fa" + unique, "%2Fa"},
		{unique + "%2F", unique + "%252F", "%252F"},
	}
}

func examineKey(ctx context.Context, transport http.RoundTripper, base string, k awkwardKey, all *report) {
	const check = "keys"
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, base+"/v1/kv/"+k.path+"?dry_run=true", strings.NewReader(`{"value":""}`))
	if err != nil {
		all.add(check, k.shown, statusFail, "%v", err)
		return
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		all.add(check, k.shown, statusFail, "no answer: %v", err)
		return
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	var got struct{ Key, Code string }
	if err := json.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&got); err != nil {
		all.add(check, k.shown, statusFail, "answered %s, and not as the gateway does", answer.Status)
		return
	}
	const advice = "a proxy rewrites paths: turn that off, or use ?key_encoding=base64url"
	switch {
	case answer.StatusCode >= http.StatusMultipleChoices && got.Code != "":
		all.add(check, k.shown, statusFail, "refused with %s %s", answer.Status, got.Code)
	case answer.StatusCode >= http.StatusMultipleChoices:
		all.add(check, k.shown, statusFail, "answered %s; %s", answer.Status, advice)
	case got.Key != k.key:
		all.add(check, k.shown, statusFail, "arrives as %q instead of %q; %s", got.Key, k.key, advice)
	default:
		all.add(check, k.shown, statusOK, "arrives intact")
	}
}

// fetched is an answer without its body.
type fetched struct {
	code   int
	status string
	date   string
	// ends is when the server's certificate ends; zero without TLS.
	ends time.Time
}

// fetch gets a URL; it follows no redirect.
func fetch(ctx context.Context, transport http.RoundTripper, url string) (fetched, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return fetched{}, err
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return fetched{}, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	f := fetched{code: answer.StatusCode, status: answer.Status, date: answer.Header.Get("Date")}
	if answer.TLS != nil && len(answer.TLS.PeerCertificates) > 0 {
		f.ends = answer.TLS.PeerCertificates[0].NotAfter
	}
	return f, nil
}
