package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/url"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// newAdminServer serves what operators look at. It asks nobody who they are, so it is for a loopback address or a network
// of its own.
func newAdminServer(c Config, log *slog.Logger, registry *prometheus.Registry, api http.Handler, hub *stream.Hub) *server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)}))
	mux.Handle("GET /livez", api)
	mux.Handle("GET /readyz", api)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/config", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		w.Header().Set("Cache-Control", "no-store")
		_ = c.write(w) // the reader has gone
	})
	watching := streams{hub: hub, base: c.PublicURL}
	mux.HandleFunc("GET /debug/streams", watching.list)
	mux.HandleFunc("GET /debug/streams/{id}", watching.get)
	mux.HandleFunc("DELETE /debug/streams/{id}", watching.end)
	return newServer(log, fromThisSite(c.AllowedHosts, mux))
}

// fromThisSite keeps the pages of other sites out, which a browser on the operator's machine would let in: by a request
// across sites, or under a name of the attacker that resolves to this address.
func fromThisSite(hosts []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.Trim(host, "[]")
		site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
		switch {
		case !strings.EqualFold(host, "localhost") && net.ParseIP(host) == nil && !slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, host) }):
			http.Error(w, "not a name of this listener; list it with --allowed-hosts", http.StatusMisdirectedRequest)
		case site == "cross-site", site == "same-site", site == "" && origin != "" && !isOf(origin, r.Host): // browsers send no site over plain HTTP
			http.Error(w, "not for the pages of other sites", http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isOf tells whether the origin is the host that the request was sent to.
func isOf(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}
