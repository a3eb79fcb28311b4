package compat

import (
	"net/http"
	"strings"
)

// canonical gives the request the path that etcd's handlers know. They match the decoded path, as etcd's own gateway does.
func canonical(r *http.Request) *http.Request {
	for _, old := range []string{"/v3beta/", "/v3alpha/"} {
		if rest, ok := strings.CutPrefix(r.URL.Path, old); ok {
			u := *r.URL
			u.Path, u.RawPath = "/v3/"+rest, ""
			again := *r
			again.URL = &u
			return &again
		}
	}
	return r
}

// speed is how soon a call is answered.
type speed uint8

const (
	// prompt calls are answered at once, or something is wrong.
	prompt speed = iota
	// slow calls work through the whole database.
	slow
	// lasts is what goes on until the caller leaves, or until others do.
	lasts
)

const (
	pathWatch     = "/v3/watch"
	pathKeepAlive = "/v3/lease/keepalive"
)

var bidirectional = map[string]bool{pathWatch: true, pathKeepAlive: true}

// pace lists the calls that are not prompt.
var pace = map[string]speed{
	pathWatch:                    lasts,
	pathKeepAlive:                lasts,
	"/v3/lock/lock":              lasts,
	"/v3/election/campaign":      lasts,
	"/v3/election/observe":       lasts,
	"/v3/kv/compaction":          slow,
	"/v3/maintenance/defragment": slow,
	"/v3/maintenance/hash":       slow,
	"/v3/maintenance/hashkv":     slow,
	"/v3/maintenance/snapshot":   slow,
}
