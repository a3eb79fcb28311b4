package handlers

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// route is one line of the routing table.
type route struct {
	method, pattern string
	// operation is the operationId of the contract, and the name under which metrics and logs know the route.
	operation string
	handle    func(a *API, c *call) error
	// keyPrefix is the fixed part of the path in front of a key; empty when the route takes no key.
	keyPrefix string
	// writes marks routes that change something: their problems carry an outcome.
	writes bool
	// follows answers a repeat from its idempotency record alone; the route takes an Idempotency-Key if it is set.
	follows func(c *call, r *record) error
	// resumes says that a repeat goes on with what an unfinished request has reserved (reservation.go).
	resumes bool
	// turn is what has happened when a caller of the route has got what only one has at a time, as the audit log names it.
	turn string
	// secret marks routes whose body holds a password.
	secret bool
	// open marks routes that may be asked under any Host and from any origin: health and pages to look at.
	open bool
	// long marks routes that live as long as they make progress: they bound each of their steps by the default time-out,
	// and only timeout= bounds the whole.
	long bool
	// live marks routes whose answer goes on, which bound their time by themselves.
	live bool
	// sockets marks routes that can be WebSockets whose peers are told there what is wrong with them.
	sockets bool
	// verb is what the caller must be granted, on some key at least; which keys it is granted on is judged by the store that
	// the call works on. It is 0 where that is the whole question.
	verb authz.Verb
	// unserved marks what is answered where there is no route.
	unserved bool
	// login marks routes that serve callers who cannot say yet who they are.
	login bool
	// compat marks the routes of etcd's own JSON gateway: they take every method and any query, bound their time by
	// themselves, and their errors are in etcd's form.
	compat bool
}

// anyMethod is the method of a route that judges methods by itself.
const anyMethod = "*"

// The routing table. HEAD comes with every GET, OPTIONS with every path.
func table() []route {
	return []route{
		{method: "GET", pattern: "/v1/kv/*", operation: "getKey", handle: (*API).getKey, keyPrefix: "/v1/kv/"},
		{method: "PUT", pattern: "/v1/kv/*", operation: "putKey", handle: (*API).putKey, keyPrefix: "/v1/kv/", writes: true, follows: (*call).followsPut},
		{method: "PATCH", pattern: "/v1/kv/*", operation: "patchKey", handle: (*API).patchKey, keyPrefix: "/v1/kv/", writes: true, follows: (*call).followsPatch},
		{method: "DELETE", pattern: "/v1/kv/*", operation: "deleteKey", handle: (*API).deleteKey, keyPrefix: "/v1/kv/", writes: true, follows: (*call).followsDelete},
		{method: "GET", pattern: "/v1/raw/*", operation: "getRaw", handle: (*API).getRaw, keyPrefix: "/v1/raw/"},
		{method: "PUT", pattern: "/v1/raw/*", operation: "putRaw", handle: (*API).putRaw, keyPrefix: "/v1/raw/", writes: true, follows: (*call).followsPut},
		{method: "DELETE", pattern: "/v1/raw/*", operation: "deleteRaw", handle: (*API).deleteKey, keyPrefix: "/v1/raw/", writes: true, follows: (*call).followsDelete},
		{method: "GET", pattern: "/v1/kv", operation: "listKeys", handle: (*API).listKeys},
		{method: "DELETE", pattern: "/v1/kv", operation: "deleteKeys", handle: (*API).deleteKeys, writes: true, follows: (*call).followsDeleteKeys},
		{method: "GET", pattern: "/v1/history/*", operation: "getHistory", handle: (*API).getHistory, keyPrefix: "/v1/history/"},
		{method: "POST", pattern: "/v1/txn", operation: "txn", handle: (*API).txn, writes: true, follows: (*call).followsTxn},
		{method: "GET", pattern: "/v1/export", operation: "exportKeys", handle: (*API).exportKeys, long: true},
		{method: "POST", pattern: "/v1/import", operation: "importKeys", handle: (*API).importKeys, writes: true, long: true},
		{method: "GET", pattern: "/v1/search", operation: "searchKeys", handle: (*API).searchKeys, long: true},
		{method: "GET", pattern: "/v1/watch", operation: "watch", handle: (*API).watch, live: true, sockets: true},
		{method: "GET", pattern: "/v1/watch/poll", operation: "pollEvents", handle: (*API).pollEvents, live: true},
		{method: "POST", pattern: "/v1/leases", operation: "grantLease", handle: (*API).grantLease, writes: true, follows: (*call).followsLease, resumes: true, verb: authz.Lease},
		{method: "GET", pattern: "/v1/leases", operation: "listLeases", handle: (*API).listLeases, verb: authz.Lease},
		{method: "POST", pattern: "/v1/leases/keepalive", operation: "keepLeases", handle: (*API).keepLeases, writes: true, verb: authz.Lease},
		{method: "GET", pattern: "/v1/leases/{id}", operation: "getLease", handle: (*API).getLease, verb: authz.Lease},
		{method: "DELETE", pattern: "/v1/leases/{id}", operation: "endLease", handle: (*API).endLease, writes: true, verb: authz.Lease},
		{method: "POST", pattern: "/v1/leases/{id}/keepalive", operation: "keepLease", handle: (*API).keepLease, writes: true, verb: authz.Lease},
		{method: "POST", pattern: "/v1/locks/{name}", operation: "acquireLock", handle: (*API).acquireLock, keyPrefix: "/v1/locks/", writes: true, turn: "acquired", follows: (*call).followsPlace, resumes: true, verb: authz.Lock},
		{method: "GET", pattern: "/v1/locks/{name}", operation: "getLock", handle: (*API).getLock, keyPrefix: "/v1/locks/", verb: authz.Lock},
		{method: "DELETE", pattern: "/v1/locks/{name}", operation: "releaseLock", handle: (*API).releaseLock, keyPrefix: "/v1/locks/", writes: true, verb: authz.Lock},
		{method: "POST", pattern: "/v1/elections/{name}", operation: "campaign", handle: (*API).campaign, keyPrefix: "/v1/elections/", writes: true, turn: "elected", follows: (*call).followsPlace, resumes: true, verb: authz.Lock},
		{method: "GET", pattern: "/v1/elections/{name}", operation: "getElection", handle: (*API).getElection, keyPrefix: "/v1/elections/", verb: authz.Lock},
		{method: "PUT", pattern: "/v1/elections/{name}", operation: "proclaim", handle: (*API).proclaim, keyPrefix: "/v1/elections/", writes: true, verb: authz.Lock},
		{method: "DELETE", pattern: "/v1/elections/{name}", operation: "resign", handle: (*API).resign, keyPrefix: "/v1/elections/", writes: true, verb: authz.Lock},
		{method: "POST", pattern: "/v1/maintenance/compact", operation: "compact", handle: (*API).compact, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/maintenance/epoch", operation: "renewEpoch", handle: (*API).renewEpoch, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/maintenance/defragment", operation: "defragment", handle: (*API).defragment, writes: true, long: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/maintenance/downgrade", operation: "downgrade", handle: (*API).downgrade, writes: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/maintenance/hash", operation: "hashMembers", handle: (*API).hash, verb: authz.Admin},
		{method: "GET", pattern: "/v1/maintenance/snapshot", operation: "getSnapshot", handle: (*API).snapshot, long: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/cluster", operation: "getCluster", handle: (*API).getCluster, verb: authz.Admin},
		{method: "POST", pattern: "/v1/cluster/members", operation: "addMember", handle: (*API).addMember, writes: true, follows: (*call).followsOnceOnly, verb: authz.Admin},
		{method: "PUT", pattern: "/v1/cluster/members/{id}", operation: "updateMember", handle: (*API).updateMember, writes: true, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/cluster/members/{id}", operation: "removeMember", handle: (*API).removeMember, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/cluster/members/{id}/promote", operation: "promoteMember", handle: (*API).promoteMember, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/cluster/leader", operation: "moveLeader", handle: (*API).moveLeader, writes: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/cluster/alarms", operation: "listAlarms", handle: (*API).listAlarms, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/cluster/alarms", operation: "disarmAlarms", handle: (*API).disarm, writes: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/auth", operation: "getAuth", handle: (*API).getAuth, verb: authz.Admin},
		{method: "GET", pattern: "/v1/auth/methods", operation: "listAuthMethods", handle: (*API).authMethods, login: true},
		{method: "GET", pattern: "/v1/auth/whoami", operation: "whoami", handle: (*API).whoami},
		{method: "POST", pattern: "/v1/auth/enable", operation: "enableAuth", handle: (*API).enableAuth, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/auth/disable", operation: "disableAuth", handle: (*API).disableAuth, writes: true, verb: authz.Admin},
		{method: "POST", pattern: "/v1/auth/login", operation: "login", handle: (*API).login, writes: true, login: true},
		{method: "POST", pattern: "/v1/auth/tickets", operation: "issueTicket", handle: (*API).issueTicket, writes: true},
		{method: "GET", pattern: "/v1/users", operation: "listUsers", handle: (*API).listUsers, verb: authz.Admin},
		{method: "POST", pattern: "/v1/users", operation: "addUser", handle: (*API).addUser, writes: true, follows: (*call).followsOnceOnly, secret: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/users/{name}", operation: "getUser", handle: (*API).getUser, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/users/{name}", operation: "deleteUser", handle: (*API).deleteUser, writes: true, verb: authz.Admin},
		{method: "PUT", pattern: "/v1/users/{name}/password", operation: "setPassword", handle: (*API).setPassword, writes: true, verb: authz.Admin},
		{method: "PUT", pattern: "/v1/users/{name}/roles/{role}", operation: "grantRole", handle: (*API).grantRole, writes: true, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/users/{name}/roles/{role}", operation: "revokeRole", handle: (*API).revokeRole, writes: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/roles", operation: "listRoles", handle: (*API).listRoles, verb: authz.Admin},
		{method: "POST", pattern: "/v1/roles", operation: "addRole", handle: (*API).addRole, writes: true, follows: (*call).followsOnceOnly, verb: authz.Admin},
		{method: "GET", pattern: "/v1/roles/{role}", operation: "getRole", handle: (*API).getRole, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/roles/{role}", operation: "deleteRole", handle: (*API).deleteRole, writes: true, verb: authz.Admin},
		{method: "PUT", pattern: "/v1/roles/{role}/permissions", operation: "grantPermission", handle: (*API).grantPermission, writes: true, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/roles/{role}/permissions", operation: "revokePermission", handle: (*API).revokePermission, writes: true, verb: authz.Admin},
		{method: "GET", pattern: "/v1/gateway", operation: "getGateway", handle: (*API).gateway, verb: authz.Admin},
		{method: "GET", pattern: "/v1/gateway/streams", operation: "listStreams", handle: (*API).listStreams, verb: authz.Admin},
		{method: "GET", pattern: "/v1/gateway/streams/{id}", operation: "getStream", handle: (*API).getStream, verb: authz.Admin},
		{method: "DELETE", pattern: "/v1/gateway/streams/{id}", operation: "endStream", handle: (*API).endStream, writes: true, verb: authz.Admin},

		{method: anyMethod, pattern: "/v3/*", operation: "v3", handle: (*API).v3, compat: true},
		{method: anyMethod, pattern: "/v3beta/*", operation: "v3", handle: (*API).v3, compat: true},
		{method: anyMethod, pattern: "/v3alpha/*", operation: "v3", handle: (*API).v3, compat: true},

		{method: "GET", pattern: "/version", operation: "getVersion", handle: (*API).version, login: true},
		{method: "GET", pattern: "/health", operation: "getHealth", handle: (*API).health, open: true},
		{method: "GET", pattern: "/livez", operation: "getLivez", handle: (*API).livez, open: true},
		{method: "GET", pattern: "/readyz", operation: "getReadyz", handle: (*API).readyz, open: true},
		{method: "GET", pattern: "/", operation: "getIndex", handle: (*API).index, open: true},
		{method: "GET", pattern: "/openapi.yaml", operation: "getOpenapiYaml", handle: (*API).openapiYAML, open: true},
		{method: "GET", pattern: "/openapi.json", operation: "getOpenapiJson", handle: (*API).openapiJSON, open: true},
		{method: "GET", pattern: "/asyncapi.yaml", operation: "getAsyncapiYaml", handle: (*API).asyncapiYAML, open: true},
		{method: "GET", pattern: "/docs", operation: "getDocs", handle: (*API).docs, open: true},
		{method: "GET", pattern: "/docs/*", operation: "getDocsFile", handle: (*API).docs, open: true},
		{method: "GET", pattern: "/problems", operation: "listProblems", handle: (*API).problems, open: true},
		{method: "GET", pattern: "/problems/{code}", operation: "getProblem", handle: (*API).problemPage, open: true},
	}
}

// mount builds the router from the table. Allow headers come from the same table, so they cannot disagree with it.
func (a *API) mount() {
	a.routes = table()
	a.allowed = make(map[string]string)
	methods := make(map[string][]string)
	r := chi.NewRouter()
	for i := range a.routes {
		rt := &a.routes[i]
		if rt.method == anyMethod {
			methods[rt.pattern] = []string{http.MethodGet, http.MethodPost} // GET is for WebSockets
			r.Handle(rt.pattern, a.serve(rt))
			continue
		}
		methods[rt.pattern] = append(methods[rt.pattern], rt.method)
		r.Method(rt.method, rt.pattern, a.serve(rt))
		if rt.method == http.MethodGet {
			methods[rt.pattern] = append(methods[rt.pattern], http.MethodHead)
			r.Method(http.MethodHead, rt.pattern, a.serve(rt))
		}
	}
	for pattern, list := range methods {
		list = append(list, http.MethodOptions)
		slices.Sort(list)
		a.allowed[pattern] = strings.Join(list, ", ")
		rt := &route{method: http.MethodOptions, pattern: pattern, operation: "options", handle: (*API).preflight, open: true}
		r.Method(http.MethodOptions, pattern, a.serve(rt))
	}
	r.MethodNotAllowed(a.serve(&route{operation: "method_not_allowed", unserved: true, handle: (*API).methodNotAllowed}))
	r.NotFound(a.serve(&route{operation: "route_not_found", unserved: true, handle: (*API).notFound}))
	a.router = r
}

// allow gives the methods of the path asked for, "" when there is none.
func (a *API) allow(r *http.Request) string {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete} {
		if pattern := a.router.Find(chi.NewRouteContext(), method, path); pattern != "" {
			return a.allowed[pattern]
		}
	}
	return ""
}

func (a *API) preflight(c *call) error {
	c.w.Header().Set("Allow", a.allowed[c.route.pattern])
	c.status = http.StatusNoContent
	return nil
}

func (a *API) methodNotAllowed(c *call) error {
	allow := a.allow(c.r)
	c.w.Header().Set("Allow", allow)
	return problem.New(problem.MethodNotAllowed, "this path takes %s", allow)
}

func (a *API) notFound(c *call) error {
	e := problem.New(problem.RouteNotFound, "nothing is served at this path")
	if near := a.nearestPath(c.r.URL.Path); near != "" {
		e = e.WithHint("the nearest path is %s; GET /openapi.yaml lists all", near)
	}
	return e
}

// nearestPath names the route whose fixed part the path comes closest to.
func (a *API) nearestPath(path string) string {
	var known []string
	for _, rt := range a.routes {
		if rt.compat && a.options.Compat == nil {
			continue
		}
		known = append(known, strings.TrimSuffix(rt.pattern, "/*"))
	}
	if near := kvjson.Nearest(strings.TrimSuffix(path, "/"), known); near != "" {
		return near
	}
	for _, p := range known { // a known first part with a wrong rest
		if len(p) > 1 && strings.HasPrefix(path, p+"/") {
			return p
		}
	}
	return ""
}
