// Package handlers is the REST side of the gateway: one routing table, one file per resource, and one place that writes.
//
// A request's life is a straight line: API.ServeHTTP makes a call, gives it an id and a deadline and guards it; the route
// (routes.go) names the handler; the handler reads the path, the query and the body strictly, asks the Store, and appends
// its answer to the call; finish writes the answer or the problem. Handlers return an error or nothing and never write.
package handlers

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/epoch"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/ticket"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Store is what the handlers need of etcd; *etcdclient.Client and its namespaced form satisfy it. Errors are
// *etcdclient.Error, or wrap a context error.
type Store interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error)
	Put(ctx context.Context, r *wire.PutRequest) (*wire.PutResponse, error)
	DeleteRange(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error)
	Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
	Compact(ctx context.Context, revision int64, physical bool) (wire.Header, error)
	LeaseGrant(ctx context.Context, ttl, id int64) (etcdclient.Lease, error)
	LeaseRevoke(ctx context.Context, id int64) (wire.Header, error)
	LeaseTimeToLive(ctx context.Context, id int64, keys bool) (etcdclient.LeaseStatus, error)
	Leases(ctx context.Context) ([]int64, wire.Header, error)
	LeaseKeepAliveOnce(ctx context.Context, id int64) (ttl int64, err error)
	KeepAlive(lease, ttl int64, k etcdclient.Keeper) *etcdclient.KeepAlive
	// Changed returns nil as soon as a key of the range has changed at the revision from or later.
	Changed(ctx context.Context, key, end []byte, from int64) error
	// Log gives take every change of a key at the revisions from to to, or tells where the log begins when from is compacted.
	Log(ctx context.Context, key []byte, from, to int64, take func(wire.Event)) (compacted int64, err error)
}

// Backend is a client of one etcd cluster. What is not of the Store is outside any namespace.
type Backend interface {
	Store
	Cluster
	Maintenance
	Accounts
}

// Gate lets callers in; *authz.Gate satisfies it.
type Gate interface {
	Admit(ctx context.Context, c authn.Credentials) (*authz.Caller, error)
	// Again judges somebody who is known already.
	Again(ctx context.Context, p *authn.Principal) (*authz.Caller, error)
	// Kinds are the ways to be known, in the order in which they are tried.
	Kinds() []authn.Kind
	// Challenges are the values of WWW-Authenticate.
	Challenges() []string
}

// Observer takes one finished request for the metrics; route is the pattern of the routing table, never the path. The time
// is 0 where it is the caller who chose how long to stay (streams, waits) and so says nothing.
type Observer interface {
	Observe(route, method string, status int, d time.Duration, bytes int64)
}

// Options say how the API behaves. The zero value works: the defaults are named with each field.
type Options struct {
	// PublicURL is where callers reach the gateway when that is not the listener's own address (behind a proxy): scheme,
	// host and an optional path. It is the base of problem types, Location and the contract's servers.
	PublicURL string
	// AllowedHosts are names that a Host header may hold besides localhost and IP literals. Empty allows only those, and
	// the host of PublicURL.
	AllowedHosts []string
	// AllowedOrigins are the exact origins (scheme://host[:port]) whose pages may call the API from a browser.
	AllowedOrigins []string
	// MaxBodyBytes bounds a JSON body (default 12 MiB), MaxValueBytes a raw body and every decoded value (default 2 MiB).
	MaxBodyBytes  int64
	MaxValueBytes int64
	// MaxRequests bounds the requests under way, besides streams (default 2,000), MaxBytes the bytes of their bodies
	// together (default 512 MiB): further ones are refused at once.
	MaxRequests, MaxBytes int64
	// RequestTimeout bounds a call that names no timeout= of its own (default 30 s).
	RequestTimeout time.Duration
	// Gate tells who calls and what he may do (default: nobody is asked, and everybody may do everything).
	Gate Gate
	// Watches serves the routes that watch (default: they answer not_supported).
	Watches Watches
	// Compat serves /v3, /v3beta and /v3alpha (default: nothing is there).
	Compat Compat
	// Epoch is shared with those who serve the watches (default: one of the API's own).
	Epoch *epoch.Keeper
	// Version is what /version calls the gateway (default "devel").
	Version string
	// Logger takes the cause of internal errors (default: discarded).
	Logger *slog.Logger
	// Recorder keeps notes of every request (default: none are made).
	Recorder Recorder
	// Observer takes every finished request (default: none).
	Observer Observer
}

// The bounds that API.md promises.
const (
	defaultMaxBodyBytes   = 12 << 20
	defaultMaxValueBytes  = 2 << 20
	defaultRequestTimeout = 30 * time.Second
	defaultMaxRequests    = 2000
	defaultMaxBytes       = 512 << 20
)

// API serves the native API. It is safe for concurrent use; make it with New.
type API struct {
	// store and backend are etcd as the gateway itself; calls have those of their callers.
	store   Store
	backend Backend
	options Options
	router  chi.Router
	routes  []route
	allowed map[string]string // pattern -> its Allow header
	hosts   hostPolicy
	origins originPolicy
	epoch   *epoch.Keeper
	records *records
	tickets *ticket.Keeper
	sizes   rangeSizes

	// scanning has room for the one scan of etcd's log that may run.
	scanning chan struct{}
	draining atomic.Bool
	// requests are under way, and bytes of their bodies held.
	requests, bytes atomic.Int64
	refusals        pacer
	// stopping ends when the gateway drains; calls that wait end with it.
	stopping context.Context //nolint:containedctx // the life of the API itself, not of a call
	stop     context.CancelFunc
}

// New makes the API over a client. Every fault of the options is reported at once.
func New(backend Backend, o Options) (*API, error) {
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = defaultMaxBodyBytes
	}
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = defaultMaxValueBytes
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = defaultMaxRequests
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = defaultRequestTimeout
	}
	if o.Version == "" {
		o.Version = "devel"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	var public *url.URL
	var faults []error
	if o.PublicURL != "" {
		var err error
		if public, err = parsePublicURL(o.PublicURL); err != nil {
			faults = append(faults, err)
		}
	}
	hosts, err := newHostPolicy(o.AllowedHosts, public)
	faults = append(faults, err)
	origins, err := newOriginPolicy(o.AllowedOrigins, public)
	faults = append(faults, err)
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	a := &API{scanning: make(chan struct{}, 1), store: backend, backend: backend, options: o, hosts: hosts, origins: origins}
	if a.epoch = o.Epoch; a.epoch == nil {
		a.epoch = epoch.New(backend)
	}
	a.store = observed{Store: backend, epoch: a.epoch}
	a.records = newRecords(backend)
	a.tickets = ticket.New(backend)
	a.stopping, a.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the API ends by Drain, not with a caller
	a.mount()
	return a, nil
}

// Drain turns readiness off and ends the calls that wait; others are still served. It is the first step of stopping.
func (a *API) Drain() {
	a.draining.Store(true)
	a.stop()
}

// Routes lists the routing table as method and pattern, for the test that holds it against the contract.
func (a *API) Routes() []Route {
	out := make([]Route, 0, len(a.routes))
	for _, r := range a.routes {
		out = append(out, Route{Method: r.method, Pattern: r.pattern, Operation: r.operation, Writes: r.writes})
	}
	return out
}

// Route is one line of the routing table.
type Route struct {
	Method, Pattern string
	// Operation is the operationId of the contract.
	Operation string
	// Writes says that it can change something.
	Writes bool
}
